//! Tasks: the running one, their storage, and those that procfs folders stand for.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_get_current_task_btf};

use super::access::{cast, peek};

/// A kernel task, typed by the verifier.
#[derive(Clone, Copy)]
pub(crate) struct Task(pub(crate) *const c_void);

/// The running task.
#[inline(always)]
pub(crate) fn current() -> Task {
    // SAFETY: the helper has no precondition.
    Task(unsafe { bpf_get_current_task_btf() }.cast_const().cast())
}

/// The running task's process id in the upper half, its thread id in the lower.
#[inline(always)]
pub(crate) fn current_ids() -> u64 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_get_current_pid_tgid() }
}

/// Zero, which the verifier does not know: process ids are below 2^22 (`PID_MAX_LIMIT`, include/linux/threads.h).
#[inline(always)]
pub(crate) fn unknown_zero() -> u64 {
    current_ids() >> 63
}

/// Address of the running task's parent.
#[inline(always)]
pub(crate) fn parent_of_current() -> u64 {
    member!(u64, untrusted!(task at current().0), task_real_parent)
}

/// Whether a task has any local storage: without it, the task has no tag. One load, no helper.
#[inline(always)]
pub(crate) fn has_storage(task: Task) -> bool {
    member!(u64, untrusted!(task at task.0), task_bpf_storage) != 0
}

/// A member of the running task that is null only if the task has no tag: its storage, if the kernel never loses it.
#[inline(always)]
pub(crate) fn hint() -> *const c_void {
    member!(current().0, task_hint)
}

/// The first value in the running task's storage, which is its [`hint`], on a kernel that can type addresses and
/// never loses storage: the address of the value's map, and its first two words. `None` if there is none.
#[inline(always)]
pub(crate) fn first_storage(storage: *const c_void) -> Option<(u64, u64, u64)> {
    if storage.is_null() {
        return None;
    }
    // `hlist_head` and `hlist_node` begin with a pointer each.
    let node: u64 = member!(storage, storage_list);
    if node == 0 {
        return None;
    }
    let value = cast(node + offset!(storage_node_sdata), offset!(types.words));
    Some((
        member!(value, storage_data_smap),
        member!(value, storage_data_data),
        member!(value, storage_data_second),
    ))
}

/// Address of the task that a procfs folder stands for; zero for none.
#[inline(always)]
pub(crate) fn procfs_task(dentry: u64) -> u64 {
    let inode: u64 = read!(dentry at dentry, offset!(dentry_inode));
    if inode == 0 {
        return 0;
    }
    let proc_inode = inode - offset!(proc_inode_vfs);
    let pid: u64 = peek(proc_inode + offset!(proc_inode_pid));
    if pid == 0 {
        return 0;
    }
    // `tasks[PIDTYPE_PID]`, the first of the lists: `struct pid`, include/linux/pid.h.
    let link: u64 = peek(pid + offset!(pid_tasks));
    if link == 0 {
        return 0;
    }
    link - offset!(task_pid_links)
}
