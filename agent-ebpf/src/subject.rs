//! Who asks: the running task's session, or another task's.

use agent_common::id::Tag;

use crate::{
    kernel::{self, Task, peek},
    maps::TAGS,
    offset,
};

/// The running task's tag; `None`, after one load, for nearly everybody on the host.
#[inline(always)]
pub fn current() -> Option<&'static Tag> {
    of(kernel::current())
}

/// A task's tag.
#[inline(always)]
pub fn of(task: Task) -> Option<&'static Tag> {
    if !kernel::has_storage(task) {
        return None;
    }
    // SAFETY: a task's storage lives as long as the task, which a hook's argument or `current` keeps.
    unsafe { TAGS.get(task).as_ref() }
}

/// Gives a task the tag; `false` when the kernel is out of memory.
#[inline(always)]
pub fn tag(task: Task, tag: &Tag) -> bool {
    let mut copy = *tag;
    !TAGS.get_or_create(task, &raw mut copy).is_null()
}

/// Elements of a task's storage that are looked through for ours: one for each map that any program on
/// the host keeps with it.
const ELEMENTS: usize = 16;

/// Whether the task at an address belongs to the running task's session.
///
/// The address is only a number to the verifier, so the map can't be asked: the task's storage is read
/// as the kernel lays it out, and the element is known by the map that the running task's own tag is in.
#[inline(never)]
pub fn is_own_session(other: u64, tag: &Tag) -> bool {
    if other == 0 {
        return false;
    }
    let mine = core::ptr::from_ref(tag) as u64;
    let map = element(kernel::current().0 as u64, |data, _| data == mine).1;
    if map == 0 {
        return false;
    }
    let (data, _) = element(other, |_, smap| smap == map);
    data != 0 && peek::<u64>(data) == tag.session.0
}

/// The address of the data and of the map of the first element that `wanted` picks.
#[inline(always)]
fn element(task: u64, wanted: impl Fn(u64, u64) -> bool) -> (u64, u64) {
    let storage: u64 = peek(task + u64::from(offset!(task_bpf_storage)));
    if storage == 0 {
        return (0, 0);
    }
    let mut node: u64 = peek(storage + u64::from(offset!(storage_list)));
    let mut tries = 0;
    while node != 0 && tries < ELEMENTS {
        let whole = node - u64::from(offset!(storage_elem_snode));
        let sdata = whole + u64::from(offset!(storage_elem_sdata));
        let smap: u64 = peek(sdata + u64::from(offset!(storage_data_smap)));
        let data = sdata + u64::from(offset!(storage_data_data));
        if wanted(data, smap) {
            return (data, smap);
        }
        // `snode` is an hlist node: its first word is the next one.
        node = peek(node);
        tries += 1;
    }
    (0, 0)
}
