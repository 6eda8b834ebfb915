//! Terminals, their process groups, and who receives a descriptor's signals.

use core::ffi::c_void;

use super::{access::peek, task::current};

/// Indices of the process (after those of a thread, zero) and the process group in `struct pid` (`enum pid_type`,
/// include/linux/pid_types.h).
const PROCESS: u32 = 1;
const GROUP: u64 = 2;
/// Bytes of a `hlist_head`.
const HEAD: u64 = 8;
/// Bytes of a `hlist_node`.
const NODE: u64 = 16;

/// Who receives the signals of a descriptor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalOwner {
    /// Nobody.
    Nobody,
    /// The process or thread at an address, which is zero if it is gone.
    Task(u64),
    /// A group of processes.
    Group,
}

/// Who receives the signals of a file that the verifier has typed (`struct fown_struct`, include/linux/fs.h).
#[inline(always)]
pub(crate) fn signal_owner(file: *const c_void) -> SignalOwner {
    let owner: u64 = if offset!(owner_is_apart) != 0 {
        member!(u64, untrusted!(file at file), file_owner)
    } else {
        file as u64 + offset!(file_owner)
    };
    let pid: u64 = if owner == 0 { 0 } else { peek(owner + offset!(fown_pid)) };
    if pid == 0 {
        SignalOwner::Nobody
    } else if peek::<u32>(owner + offset!(fown_kind)) > PROCESS {
        SignalOwner::Group
    } else {
        SignalOwner::Task(group_leader(pid))
    }
}

/// Address of the `struct signal_struct` that the threads of the running process share.
#[inline(always)]
fn signal() -> u64 {
    member!(u64, untrusted!(task at current().0), task_signal)
}

/// Address of the `struct pid` of the foreground process group on the running process's terminal; zero if there is
/// no terminal or no such group.
#[inline(always)]
pub(crate) fn foreground_group() -> u64 {
    let terminal: u64 = peek(signal() + offset!(signal_tty));
    if terminal == 0 { 0 } else { peek(terminal + offset!(tty_foreground)) }
}

/// Address of the task that has an id, as the one that leads a process group; zero if it is gone.
#[inline(always)]
pub(crate) fn group_leader(group: u64) -> u64 {
    let link: u64 = peek(group + offset!(pid_tasks));
    if link == 0 { 0 } else { link - offset!(task_pid_links) }
}

/// The first link in the list of a process group's members; zero for none.
#[inline(always)]
pub(crate) fn first_member(group: u64) -> u64 {
    peek(group + offset!(pid_tasks) + HEAD * GROUP)
}

/// The next link in that list.
#[inline(always)]
pub(crate) fn next_member(link: u64) -> u64 {
    peek(link)
}

/// Address of the task at a link of that list.
#[inline(always)]
pub(crate) fn member_task(link: u64) -> u64 {
    link - offset!(task_pid_links) - NODE * GROUP
}
