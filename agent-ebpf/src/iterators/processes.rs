//! A program over all tasks, which runs whenever the daemon reads the file that its link is pinned as: on kernels where
//! tags are kept by a task's address, which the daemon can't look up.

use core::ffi::c_void;

use super::context::Context;
use crate::{kernel::Task, subject};

/// Records the process of each tagged task, and writes `!` if one could not be recorded. The task is null at the end.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/processes")]
pub(crate) fn processes(context: *const Context) -> i32 {
    let task: *const c_void = Context::member(context, 1);
    if !task.is_null() && !subject::record_process(Task(task)) {
        let text = *b"!\n";
        Context::meta(context).write(&text);
    }
    0
}
