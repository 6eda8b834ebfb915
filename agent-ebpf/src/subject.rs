//! Who asks: the running task's session, or another task's.

use agent_common::id::{SessionId, Slot, Tag};

use aya_ebpf::helpers::generated::bpf_get_current_pid_tgid;

use crate::{
    kernel::{self, Task, peek},
    maps::{TAGS, TAGS_BY_PROCESS, TAGS_BY_TASK},
    member, offset,
};

/// The running task's tag; `None`, after one load, for nearly everybody on the host.
#[inline(always)]
pub fn current() -> Option<Tag> {
    if is_surely_untagged() { None } else { look_up() }
}

/// As [`current`], for who saw already that the task [may have a tag](is_surely_untagged).
#[inline(always)]
pub fn look_up() -> Option<Tag> {
    at_a_glance().or_else(|| {
        // Not so that the verifier knows it: see `shared!`.
        if offset!(storage_is_lost) | kernel::unknown_zero() != 0 {
            return current_by_address().copied();
        }
        // SAFETY: a task's storage lives as long as the task.
        unsafe { TAGS.get(kernel::current()).as_ref() }.copied()
    })
}

/// The running task's tag by plain loads, without the helper's 99 instructions: where it is the first that a program
/// keeps with the task, as it is where no other program keeps anything; else `None`.
#[inline(always)]
pub fn at_a_glance() -> Option<Tag> {
    if offset!(storage_is_plain) == 0 {
        return None;
    }
    let (map, session, slot) = kernel::first_storage(kernel::current())?;
    let tag = Tag { session: SessionId(session), slot: Slot(slot as u32), reserved: 0 };
    (map == TAGS.address()).then_some(tag)
}

/// Whether the running task has no tag, as far as one load tells.
#[inline(always)]
pub fn is_surely_untagged() -> bool {
    member!(u64, kernel::current().0, task_hint) == 0
}

/// Whether this kernel can lose a task's storage.
#[inline(always)]
fn is_storage_lost() -> bool {
    offset!(storage_is_lost) != 0
}

/// The running task's tag where tags are kept by address. The daemon can only write to a task's storage: what
/// it wrote there is moved before the task that has it can fork, since forking is what loses it.
#[inline(never)]
fn current_by_address() -> Option<&'static Tag> {
    let task = kernel::current();
    let address = task.0 as u64;
    // SAFETY: an entry lives as long as its task.
    if let Some(tag) = unsafe { TAGS_BY_TASK.get(address) } {
        note_process(tag);
        return Some(tag);
    }
    let tag = move_tag(task)?;
    note_process(tag);
    Some(tag)
}

/// Moves the tag that the daemon wrote to a task's storage to where the task can't lose it. When memory is short it
/// stays where it is: the task has it in any case, and the daemon starts no session like that.
#[inline(always)]
fn move_tag(task: Task) -> Option<&'static Tag> {
    if !kernel::has_storage(task) {
        return None;
    }
    let address = task.0 as u64;
    // SAFETY: a task's storage lives as long as the task, which the callers keep.
    let stored: &'static Tag = unsafe { TAGS.get(task).as_ref()? };
    if TAGS_BY_TASK.insert(address, *stored, 0).is_err() {
        return Some(stored);
    }
    TAGS.remove(task);
    // SAFETY: an entry lives as long as its task.
    unsafe { TAGS_BY_TASK.get(address) }
}

/// Tells the daemon of the running process.
#[inline(always)]
fn note_process(tag: &Tag) {
    // SAFETY: the helper has no precondition.
    let process = (unsafe { bpf_get_current_pid_tgid() } >> 32) as u32;
    // SAFETY: an entry lives as long as its process.
    let known = unsafe { TAGS_BY_PROCESS.get(process) };
    if known.is_none_or(|known| known.session != tag.session) {
        // When memory is short, the daemon has all processes noted itself, and refuses if that fails too.
        let _ = TAGS_BY_PROCESS.insert(process, tag, 0);
    }
}

/// A task's tag.
#[inline(always)]
pub fn of(task: Task) -> Option<&'static Tag> {
    if is_storage_lost() {
        // SAFETY: an entry lives as long as its task, which a hook's argument keeps.
        return unsafe { TAGS_BY_TASK.get(task.0 as u64) };
    }
    if !kernel::has_storage(task) {
        return None;
    }
    // SAFETY: a task's storage lives as long as the task, which a hook's argument or `current` keeps.
    unsafe { TAGS.get(task).as_ref() }
}

/// Tells the daemon of a task's process, if it is tagged, after its tag was moved where it can't be lost. Whether
/// that could be done.
#[inline(always)]
pub fn note(task: Task) -> bool {
    let address = task.0 as u64;
    // SAFETY: an entry lives as long as its task, which the iterator keeps.
    let mut moved = unsafe { TAGS_BY_TASK.get(address) };
    if moved.is_none() && move_tag(task).is_some() {
        // SAFETY: as above.
        moved = unsafe { TAGS_BY_TASK.get(address) };
        if moved.is_none() {
            return false;
        }
    }
    moved.is_none_or(|tag| TAGS_BY_PROCESS.insert(member!(u32, task.0, task_tgid), *tag, 0).is_ok())
}

/// Gives a task the tag; `false` when the kernel is out of memory.
#[inline(always)]
pub fn tag(task: Task, tag: &Tag) -> bool {
    let mut copy = *tag;
    if is_storage_lost() {
        return TAGS_BY_TASK.insert(task.0 as u64, copy, 0).is_ok();
    }
    !TAGS.get_or_create(task, &raw mut copy).is_null()
}

/// Forgets a task that is about to be freed. Its storage goes with it by itself.
#[inline(always)]
pub fn forget(task: Task) {
    if !is_storage_lost() {
        return;
    }
    let _ = TAGS_BY_TASK.remove(task.0 as u64);
    let (thread, process): (u32, u32) = (member!(task.0, task_pid), member!(task.0, task_tgid));
    if thread == process {
        let _ = TAGS_BY_PROCESS.remove(process);
    }
}

/// Elements of a task's storage that are looked through for ours: one for each map that any program on
/// the host keeps with it.
const ELEMENTS: usize = 16;

/// Whether the task at an address belongs to the running task's session.
///
/// The address is only a number to the verifier, so the map can't be asked: the task's storage is read
/// as the kernel lays it out.
#[inline(never)]
pub fn is_own_session(other: u64, tag: &Tag) -> bool {
    if other == 0 {
        return false;
    }
    if is_storage_lost() {
        // SAFETY: an entry lives as long as its task; one that is gone meanwhile is of no session.
        return unsafe { TAGS_BY_TASK.get(other) }.is_some_and(|it| it.session == tag.session);
    }
    let data = element(other);
    data != 0 && peek::<u64>(data) == tag.session.0
}

/// The address of the tag of the task at an address; zero for none.
#[inline(always)]
fn element(task: u64) -> u64 {
    let storage: u64 = peek(task + offset!(task_bpf_storage));
    if storage == 0 {
        return 0;
    }
    let mut node: u64 = peek(storage + offset!(storage_list));
    let mut tries = 0;
    while node != 0 && tries < ELEMENTS {
        let sdata = node + offset!(storage_node_sdata);
        let map: u64 = peek(sdata + offset!(storage_data_smap));
        if map == TAGS.address() {
            return sdata + offset!(storage_data_data);
        }
        // `snode` is an hlist node: its first word is the next one.
        node = peek(node);
        tries += 1;
    }
    0
}
