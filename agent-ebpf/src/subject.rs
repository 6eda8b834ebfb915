//! Who asks: the running task's session, or another task's.

use agent_common::{
    id::{SessionId, Slot, Tag},
    mark::{TaskRecord, Used},
};

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_get_current_pid_tgid};

use crate::{
    atomic,
    kernel::{self, Task, peek},
    maps::{PROCESS_MARKS, TAGS, TAGS_BY_PROCESS, TAGS_BY_TASK, USED_MARKS},
    member, offset,
};

/// The running task's tag; `None`, after one load, for nearly everybody on the host.
#[inline(always)]
pub(crate) fn current() -> Option<Tag> {
    if is_surely_untagged() { None } else { look_up() }
}

/// As [`current`], for who saw already that the task [may have a tag](is_surely_untagged).
#[inline(always)]
pub(crate) fn look_up() -> Option<Tag> {
    look_up_by(tag_by_helper)
}

/// As [`current`], but `None` also where the kernel can't tell just then: for who takes that for a refusal.
#[inline(always)]
pub(crate) fn current_if_readable() -> Option<Tag> {
    if is_surely_untagged() {
        return None;
    }
    // SAFETY: a task's storage lives as long as the task.
    look_up_by(|task| unsafe { TAGS.get(task).as_ref() }.copied())
}

/// The running task's tag, by who asks the kernel for it where nothing quicker answers.
#[inline(always)]
fn look_up_by(ask: impl Fn(Task) -> Option<Tag>) -> Option<Tag> {
    tag_from_first_storage().or_else(|| {
        // Not so that the verifier knows it: see `shared!`.
        if offset!(storage_is_lost) | kernel::unknown_zero() != 0 {
            return current_by_address().copied();
        }
        ask(kernel::current())
    })
}

/// The running task's tag by plain loads, without the helper's 99 instructions: where it is the first that a program
/// keeps with the task, as it is where no other program keeps anything; else `None`.
#[inline(always)]
pub(crate) fn tag_from_first_storage() -> Option<Tag> {
    if offset!(storage_is_plain) == 0 {
        return None;
    }
    let (map, session, slot) = kernel::first_storage(kernel::current())?;
    let (slot, marks) = (Slot(slot as u32), (slot >> 32) as u32);
    let tag = Tag { session: SessionId(session), slot, marks };
    (map == TAGS.address()).then_some(tag)
}

/// Whether the running task has no tag, as far as one load tells.
#[inline(always)]
pub(crate) fn is_surely_untagged() -> bool {
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
        record_current_process(tag);
        return Some(tag);
    }
    let tag = move_tag(task)?;
    record_current_process(tag);
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
fn record_current_process(tag: &Tag) {
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
pub(crate) fn of(task: Task) -> Option<Tag> {
    if is_storage_lost() {
        // SAFETY: an entry lives as long as its task, which a hook's argument keeps.
        return unsafe { TAGS_BY_TASK.get(task.0 as u64) }.copied();
    }
    if kernel::has_storage(task) { tag_by_helper(task) } else { None }
}

/// The tag in a task's storage. Before 6.2 the helper gives nothing either where a program that was preempted on this
/// processor is at some task's storage (`bpf_task_storage_trylock`): there that is no answer.
#[inline(always)]
fn tag_by_helper(task: Task) -> Option<Tag> {
    // SAFETY: a task's storage lives as long as the task, which a hook's argument or `current` keeps.
    match unsafe { TAGS.get(task).as_ref() } {
        Some(tag) => Some(*tag),
        None if offset!(types.words) == 0 => tag_from_list(task),
        None => None,
    }
}

/// The tag in a task's storage, read as the kernel lays it out. Inlined: see [`crate::shared!`].
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

/// What the daemon is told of a task that an iterator comes to, if it is tagged. In an iterator the helper gives
/// nothing on any kernel where the storage is busy.
#[inline(always)]
pub(crate) fn task_record(task: Task) -> Option<TaskRecord> {
    let tag = of(task).or_else(|| if is_storage_lost() { None } else { tag_from_list(task) })?;
    Some(TaskRecord {
        session: tag.session,
        memory: member!(task.0, task_mm),
        descriptors: member!(task.0, task_files),
        process: member!(task.0, task_tgid),
        marks: tag.marks | process_marks(task, &tag),
    })
}

/// What identifies a task's process from its first thread's start to the last one's end, over an exec too.
#[inline(always)]
fn process(task: Task) -> u64 {
    member!(task.0, task_signal)
}

/// The marks of a task's process: of all that its threads used so far.
#[inline(always)]
pub(crate) fn process_marks(task: Task, tag: &Tag) -> u32 {
    if !has_used(tag) {
        return 0;
    }
    // SAFETY: an entry lives as long as its process, which has the task.
    let known = unsafe { PROCESS_MARKS.get(process(task)) };
    known.filter(|known| known.session == tag.session).map_or(0, |known| known.marks)
}

/// Whether anybody of the session used a tool whose loss kills.
#[inline(always)]
fn has_used(tag: &Tag) -> bool {
    USED_MARKS.get(tag.slot.0).is_some_and(|used| used.0 != 0)
}

/// Marks the running task, its process and its session for what it is about to use. The process is marked since its
/// threads share what they hold, and one that used something may end before the others.
#[inline(always)]
pub(crate) fn mark(tag: &Tag, marks: u32) {
    let task = kernel::current();
    let mut used = Used::by(marks);
    if !mark_process(process(task), tag, marks) {
        // Then all of the session count as users.
        used.0 |= Used::by_unknown(marks).0;
    }
    if let Some(word) = USED_MARKS.get_ptr_mut(tag.slot.0) {
        atomic::or(word.cast::<u64>(), used.0);
    }
    // Last: a task that has the mark is not marked again.
    let own = if is_storage_lost() {
        TAGS_BY_TASK.get_ptr_mut(task.0 as u64)
    } else {
        let own = TAGS.get(task);
        (!own.is_null()).then_some(own)
    };
    if let Some(own) = own {
        // SAFETY: a map's value is valid, and only its task writes it.
        unsafe {
            let word = &raw mut (*own).marks;
            word.write_volatile(word.read_volatile() | marks);
        }
    }
}

/// Adds to the marks of a process; `false` where there is no room.
#[inline(always)]
fn mark_process(process: u64, tag: &Tag, marks: u32) -> bool {
    // SAFETY: an entry lives as long as its process, which is the running task's.
    let known = unsafe { PROCESS_MARKS.get(process) };
    if known.is_none_or(|known| known.session != tag.session) {
        // Of another session where the process was given to this one: then no other thread is there yet. Two threads
        // that come at once both find the entry of the first.
        let flag = if known.is_none() { u64::from(BPF_NOEXIST) } else { 0 };
        let _ = PROCESS_MARKS.insert(process, Tag { marks: 0, ..*tag }, flag);
    }
    let Some(known) = PROCESS_MARKS.get_ptr_mut(process) else { return false };
    // SAFETY: a map's value is valid, and this word is only ever written atomically.
    atomic::or(unsafe { &raw mut (*known).marks }, marks);
    true
}

/// Tells the daemon of a task's process, if it is tagged, after its tag was moved where it can't be lost. Whether
/// that could be done.
#[inline(always)]
pub(crate) fn record_process(task: Task) -> bool {
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
pub(crate) fn assign(task: Task, tag: &Tag) -> bool {
    let mut copy = *tag;
    if is_storage_lost() {
        return TAGS_BY_TASK.insert(task.0 as u64, copy, 0).is_ok();
    }
    !TAGS.get_or_create(task, &raw mut copy).is_null()
}

/// Forgets a task that is about to be freed. Its storage goes with it by itself.
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

/// Forgets what a process used, when its first thread is about to be freed: that comes after the end of all others. One
/// that a fork made which failed has the number and the process of who forked, and never ended.
#[inline(always)]
pub(crate) fn forget_marks(task: Task, tag: &Tag) {
    let flags: u32 = member!(task.0, task_flags);
    if flags & EXITING != 0 && is_first(task) && has_used(tag) {
        let _ = PROCESS_MARKS.remove(process(task));
    }
}

/// Whether a task is its process's first thread, or took its place by an exec.
#[inline(always)]
fn is_first(task: Task) -> bool {
    let (thread, process): (u32, u32) = (member!(task.0, task_pid), member!(task.0, task_tgid));
    thread == process
}

/// Elements of a task's storage that are looked through for ours: one for each map that any program on
/// the host keeps with it.
const ELEMENTS: usize = 16;

/// Whether the task at an address belongs to the running task's session.
///
/// The address is only a number to the verifier, so the map can't be asked: the task's storage is read
/// as the kernel lays it out.
#[inline(never)]
pub(crate) fn is_in_session(other: u64, tag: &Tag) -> bool {
    if other == 0 {
        return false;
    }
    if is_storage_lost() {
        // SAFETY: an entry lives as long as its task; one that is gone meanwhile is of no session.
        return unsafe { TAGS_BY_TASK.get(other) }.is_some_and(|it| it.session == tag.session);
    }
    let data = find_in_storage(other);
    data != 0 && peek::<u64>(data) == tag.session.0
}

/// The address of the tag of the task at an address; zero for none.
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
