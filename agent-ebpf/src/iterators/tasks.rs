//! A program over all tasks, which the daemon runs after a kill-on-revoke tool was lost: it asks for the tasks of a
//! session, and what they used.

use core::ffi::c_void;

use super::context::Context;
use crate::{kernel::Task, subject};

/// Writes a record of each tagged task. The task is null at the end.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tasks")]
pub(crate) fn tasks(context: *const Context) -> i32 {
    let meta = Context::meta(context);
    let task: *const c_void = Context::member(context, 1);
    if task.is_null() {
        return 0;
    }
    if let Some(record) = &subject::task_record(Task(task)) {
        meta.write(record);
    }
    0
}
