//! Forks: the child gets the tag of its parent.

use core::ffi::c_void;

use agent_common::{
    decision::Reason,
    event::{OBJECT_NUMBER, Operation},
    id::Tag,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check, emit,
    kernel::{self, Task},
    request::Act,
    session_tasks, subject,
    verdict::EPERM,
};

/// What a fork returns if its child can't be tagged (`ENOMEM`).
const ENOMEM: i32 = -12;

/// What a fork returns that can be tried again a moment later (`EAGAIN`).
const EAGAIN: i32 = -11;

/// `CLONE_PARENT`, `CLONE_THREAD` and `CLONE_INTO_CGROUP` (include/uapi/linux/sched.h).
const CLONE_PARENT: u64 = 0x8000;
const CLONE_THREAD: u64 = 0x1_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What incidents call the two flags: the number of the bit.
const PARENT: u32 = 15;
const INTO_CGROUP: u32 = 33;

/// `int task_alloc(struct task_struct *task, unsigned long clone_flags)`: before the child can run, also for threads
/// and for workers of io_uring. A fork fails if its child can't be tagged. It also fails in a session that has ended
/// or is quarantined, so that killing all of its processes comes to an end.
#[lsm(hook = "task_alloc")]
pub(crate) fn task_alloc(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let verdict = refuse(tag, context.arg(1));
    if verdict != 0 {
        return verdict;
    }
    let child = Task(context.arg::<*const c_void>(0));
    // Memory and descriptors that the child may get were maybe obtained by another thread.
    let marks = tag.marks | subject::process_marks(kernel::current(), tag);
    if !subject::assign(child, &Tag { marks, ..*tag }) {
        return ENOMEM;
    }
    session_tasks::add_to_count(tag, 1);
    0
}

/// Whether a fork is refused, as what the hook returns: the session has no standing, its processes are being looked
/// through, or the child would begin in another control group, or as the child of a process outside.
#[inline(always)]
fn refuse(tag: &Tag, flags: u64) -> i32 {
    let act = |number| Act {
        operation: Operation::ProcessFork,
        object: OBJECT_NUMBER,
        arguments: [number, 0, 0],
    };
    let verdict = check::refuse_without_standing(tag, &act(0), EPERM);
    if verdict != 0 {
        return verdict;
    }
    if session_tasks::are_forks_held(tag) {
        return EAGAIN;
    }
    if flags & CLONE_INTO_CGROUP != 0 {
        return check::refuse(tag, &act(INTO_CGROUP), Reason::Guard, EPERM);
    }
    let takes_parent = flags & (CLONE_PARENT | CLONE_THREAD) == CLONE_PARENT;
    if takes_parent && !subject::is_in_session(kernel::parent_of_current(), tag) {
        return check::refuse(tag, &act(PARENT), Reason::Guard, EPERM);
    }
    0
}

/// `void task_free(struct task_struct *task)`: nothing refers to the task any more.
#[lsm(hook = "task_free")]
pub(crate) fn task_free(context: LsmContext) -> i32 {
    let task = Task(context.arg::<*const c_void>(0));
    if let Some(tag) = &subject::of(task) {
        subject::forget_marks(task, tag);
        // Less than none are left if the first task ended before the daemon counted it.
        if session_tasks::add_to_count(tag, u64::MAX)
            .is_some_and(|before| before.cast_signed() <= 1)
        {
            emit::session_has_no_tasks(tag);
        }
        subject::forget(task);
    }
    0
}
