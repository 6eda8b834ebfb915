//! The tags of tasks: which session the running task belongs to, or another task, and what it has used.

use core::ffi::c_void;

use agent_common::{
    id::{SessionId, Slot, Tag},
    mark::{TaskRecord, Used},
};
use aya_ebpf::bindings::BPF_NOEXIST;

use crate::{
    atomic,
    kernel::{self, Task, peek},
    map_access::look_up as look_up_in,
    maps::{PROCESS_MARKS, TAGS, TAGS_BY_PROCESS, TAGS_BY_TASK, USED_MARKS},
    member, offset, untrusted,
};

/// The running task's tag. `None`, after one load, for nearly everybody on the host.
#[inline(always)]
pub(crate) fn current() -> Option<Tag> {
    let hint = kernel::hint();
    if hint.is_null() { None } else { look_up_by(hint, tag_by_helper) }
}

/// As [`current`], for a caller that has seen that the task [may have a tag](is_surely_untagged).
#[inline(always)]
pub(crate) fn look_up() -> Option<Tag> {
    look_up_by(kernel::hint(), tag_by_helper)
}

/// As [`current`], but also `None` if the kernel can't tell just then: for callers to which `None` means to refuse.
#[inline(always)]
pub(crate) fn current_if_readable() -> Option<Tag> {
    let hint = kernel::hint();
    if hint.is_null() { None } else { look_up_by(hint, |task| TAGS.get(task).copied()) }
}

/// The running task's tag, from the quickest source that has it: the first storage, else `ask`.
#[inline(always)]
fn look_up_by(hint: *const c_void, ask: impl Fn(Task) -> Option<Tag>) -> Option<Tag> {
    tag_from_storage(hint).or_else(|| {
        // The verifier must not know the condition: see `shared!`.
        if offset!(storage_is_lost) | kernel::unknown_zero() != 0 {
            return current_by_address().copied();
        }
        ask(kernel::current())
    })
}

/// The running task's tag by plain loads, without the helper's 99 instructions: if the tag is the first value in the
/// task's storage, as it is unless other programs keep values there too.
#[inline(always)]
pub(crate) fn tag_from_first_storage() -> Option<Tag> {
    tag_from_storage(kernel::hint())
}

/// As [`tag_from_first_storage`], by the task's [`kernel::hint`].
#[inline(always)]
fn tag_from_storage(hint: *const c_void) -> Option<Tag> {
    if offset!(storage_is_plain) == 0 {
        return None;
    }
    let (map, session, slot) = kernel::first_storage(hint)?;
    let (slot, marks) = (Slot(slot as u32), (slot >> 32) as u32);
    let tag = Tag { session: SessionId(session), slot, marks };
    (map == TAGS.address()).then_some(tag)
}

/// `true` if the running task has no tag; `false` if it may have one. One load.
#[inline(always)]
pub(crate) fn is_surely_untagged() -> bool {
    kernel::hint().is_null()
}

/// Whether this kernel can lose a task's storage, so that tags are kept by a task's address.
#[inline(always)]
fn is_storage_lost() -> bool {
    offset!(storage_is_lost) != 0
}

/// The running task's tag where tags are kept by address. The daemon can only write to a task's storage: a tag that it
/// wrote there is moved here before the task can fork, since forking can lose the storage.
#[inline(never)]
fn current_by_address() -> Option<&'static Tag> {
    let task = kernel::current();
    if let Some(tag) = by_address(task.0 as u64) {
        record_current_process(tag);
        return Some(tag);
    }
    let tag = move_tag(task)?;
    record_current_process(tag);
    Some(tag)
}

/// The tag of the task at an address, where tags are kept by address. The entry lives as long as the task.
#[inline(always)]
fn by_address(task: u64) -> Option<&'static Tag> {
    look_up_in(&TAGS_BY_TASK, task)
}

/// Moves the tag that the daemon wrote to a task's storage to where it can't be lost. When memory is short the tag stays
/// where it is: the task still has it, and the daemon refuses to start a session like that.
#[inline(always)]
fn move_tag(task: Task) -> Option<&'static Tag> {
    if !kernel::has_storage(task) {
        return None;
    }
    let address = task.0 as u64;
    let stored = TAGS.get(task)?;
    if TAGS_BY_TASK.insert(address, *stored, 0).is_err() {
        return Some(stored);
    }
    TAGS.remove(task);
    by_address(address)
}

/// Records the running process under its session, for the daemon.
#[inline(always)]
fn record_current_process(tag: &Tag) {
    let process = (kernel::current_ids() >> 32) as u32;
    // The entry lives as long as its process.
    let known = look_up_in(&TAGS_BY_PROCESS, process);
    if known.is_none_or(|known| known.session != tag.session) {
        // When memory is short, the daemon has all processes recorded itself, and refuses if that fails too.
        let _ = TAGS_BY_PROCESS.insert(process, tag, 0);
    }
}

/// A task's tag.
#[inline(always)]
pub(crate) fn of(task: Task) -> Option<Tag> {
    if is_storage_lost() {
        return by_address(task.0 as u64).copied();
    }
    if kernel::has_storage(task) { tag_by_helper(task) } else { None }
}

/// The tag in a task's storage. Before 6.2 the helper also answers "none" if it runs on top of a program that was
/// preempted within a task's storage (`bpf_task_storage_trylock`): then the storage is read directly.
#[inline(always)]
fn tag_by_helper(task: Task) -> Option<Tag> {
    match TAGS.get(task) {
        Some(tag) => Some(*tag),
        None if offset!(types.words) == 0 => tag_from_list(task),
        None => None,
    }
}

/// The tag in a task's storage, read as the kernel lays the storage out. Inlined: see [`crate::shared!`].
#[inline(always)]
fn tag_from_list(task: Task) -> Option<Tag> {
    let data = find_in_storage(task.0 as u64);
    if data == 0 {
        return None;
    }
    let [session, slot_and_marks]: [u64; 2] = peek(data);
    let (slot, marks) = (Slot(slot_and_marks as u32), (slot_and_marks >> 32) as u32);
    Some(Tag { session: SessionId(session), slot, marks })
}

/// What the daemon is told of a task that an iterator is at, if the task is tagged. In an iterator the helper answers
/// "none" on any kernel while the storage is busy.
#[inline(always)]
pub(crate) fn task_record(task: Task) -> Option<TaskRecord> {
    let tag = of(task).or_else(|| if is_storage_lost() { None } else { tag_from_list(task) })?;
    let typed = untrusted!(task at task.0);
    Some(TaskRecord {
        session: tag.session,
        memory: member!(typed, task_mm),
        descriptors: member!(typed, task_files),
        process: member!(task.0, task_tgid),
        marks: tag.marks | process_marks(task, &tag),
    })
}

/// Address of what the threads of a task's process share (`struct signal_struct`): it identifies the process from the
/// start of its first thread to the end of its last, also over an exec.
#[inline(always)]
fn process(task: Task) -> u64 {
    member!(untrusted!(task at task.0), task_signal)
}

/// The marks of a task's process: of everything that its threads have used.
#[inline(always)]
pub(crate) fn process_marks(task: Task, tag: &Tag) -> u32 {
    if !has_used(tag) {
        return 0;
    }
    // The entry lives as long as its process.
    let known = look_up_in(&PROCESS_MARKS, process(task));
    known.filter(|known| known.session == tag.session).map_or(0, |known| known.marks)
}

/// Whether a process of the session has used a kill-on-revoke tool.
#[inline(always)]
fn has_used(tag: &Tag) -> bool {
    USED_MARKS.get(tag.slot.0).is_some_and(|used| used.0 != 0)
}

/// Marks the running task, its process and its session for what the task is about to use. The process, since its
/// threads share what they hold, and the thread that used something may end before the others.
#[inline(always)]
pub(crate) fn mark(tag: &Tag, marks: u32) {
    let task = kernel::current();
    let mut used = Used::by(marks);
    if !mark_process(process(task), tag, marks) {
        // Then every process of the session counts as a user.
        used.0 |= Used::by_unknown(marks).0;
    }
    if let Some(word) = USED_MARKS.get_ptr_mut(tag.slot.0) {
        atomic::or(word.cast::<u64>(), used.0);
    }
    // Last: a task that has the mark is not marked again.
    let own = if is_storage_lost() {
        TAGS_BY_TASK.get_ptr_mut(task.0 as u64)
    } else {
        TAGS.get_ptr_mut(task)
    };
    if let Some(own) = own {
        // SAFETY: a value of a map is valid, and only the task itself writes this one.
        unsafe {
            let word = &raw mut (*own).marks;
            word.write_volatile(word.read_volatile() | marks);
        }
    }
}

/// Adds to the marks of a process; `false` if there is no room for its entry.
#[inline(always)]
fn mark_process(process: u64, tag: &Tag, marks: u32) -> bool {
    let known = look_up_in(&PROCESS_MARKS, process);
    if known.is_none_or(|known| known.session != tag.session) {
        // Another session's entry is there if the process came from that session to this one: then it has no other
        // thread yet. If two threads make the first entry at once, both find that of the first.
        let flag = if known.is_none() { u64::from(BPF_NOEXIST) } else { 0 };
        let _ = PROCESS_MARKS.insert(process, Tag { marks: 0, ..*tag }, flag);
    }
    let Some(known) = PROCESS_MARKS.get_ptr_mut(process) else { return false };
    // SAFETY: a value of a map is valid.
    atomic::or(unsafe { &raw mut (*known).marks }, marks);
    true
}

/// Records the process of a task under its session, for the daemon, if the task is tagged; first moves the tag to where
/// it can't be lost. `false` if there was no room.
#[inline(always)]
pub(crate) fn record_process(task: Task) -> bool {
    let address = task.0 as u64;
    let mut moved = by_address(address);
    if moved.is_none() && move_tag(task).is_some() {
        moved = by_address(address);
        if moved.is_none() {
            return false;
        }
    }
    moved.is_none_or(|tag| TAGS_BY_PROCESS.insert(member!(u32, task.0, task_tgid), *tag, 0).is_ok())
}

/// Tags a task; `false` when the kernel is out of memory.
#[inline(always)]
pub(crate) fn assign(task: Task, tag: &Tag) -> bool {
    let mut copy = *tag;
    if is_storage_lost() {
        return TAGS_BY_TASK.insert(task.0 as u64, copy, 0).is_ok();
    }
    TAGS.create(task, &mut copy)
}

/// Removes the tag of a task that is about to be freed. The kernel frees its storage by itself.
#[inline(always)]
pub(crate) fn forget(task: Task) {
    if !is_storage_lost() {
        return;
    }
    let _ = TAGS_BY_TASK.remove(task.0 as u64);
    if is_first(task) {
        let process: u32 = member!(task.0, task_tgid);
        let _ = TAGS_BY_PROCESS.remove(process);
    }
}

/// `PF_EXITING` (include/linux/sched.h): the task is at its end.
const EXITING: u32 = 4;

/// Removes the marks of a process when its first thread is about to be freed, which is after the end of all others. Not
/// for the child of a fork that failed: it has the number and the process of the task that forked, and never ran.
#[inline(always)]
pub(crate) fn forget_marks(task: Task, tag: &Tag) {
    let flags: u32 = member!(task.0, task_flags);
    if flags & EXITING != 0 && is_first(task) && has_used(tag) {
        let _ = PROCESS_MARKS.remove(process(task));
    }
}

/// Whether a task is its process's first thread, or took that thread's place by an exec.
#[inline(always)]
fn is_first(task: Task) -> bool {
    let (thread, process): (u32, u32) = (member!(task.0, task_pid), member!(task.0, task_tgid));
    thread == process
}

/// Values of a task's storage that are looked through for the tag: there is one for each map in which a program on the
/// host keeps something with the task.
const ELEMENTS: usize = 16;

/// Whether the task at an address belongs to the session of a tag.
///
/// To the verifier the address is only a number, which the helper does not take: the task's storage is read as the
/// kernel lays it out.
#[inline(never)]
pub(crate) fn is_in_session(other: u64, tag: &Tag) -> bool {
    if other == 0 {
        return false;
    }
    if is_storage_lost() {
        // If the task is gone meanwhile, its entry is too.
        return by_address(other).is_some_and(|it| it.session == tag.session);
    }
    let data = find_in_storage(other);
    data != 0 && peek::<u64>(data) == tag.session.0
}

/// Address of the tag in the storage of the task at an address; zero for none.
#[inline(always)]
fn find_in_storage(task: u64) -> u64 {
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
