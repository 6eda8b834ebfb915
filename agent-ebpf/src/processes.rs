//! A program that goes over all tasks whenever the daemon reads the file that its link is pinned as: on
//! kernels where tags are kept by a task's address, which the daemon can't ask for.

use core::ffi::c_void;

use crate::{kernel::Task, subject};

/// Notes the process of each tagged task. The context is a `struct bpf_iter__task` (kernel/bpf/task_iter.c):
/// what is common to all iterators, then the task, which is null at the end.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/processes")]
pub fn processes(context: *const *const c_void) -> i32 {
    // SAFETY: the context has two pointers.
    let task = unsafe { context.add(1).read_volatile() };
    if !task.is_null() {
        subject::note(Task(task));
    }
    0
}
