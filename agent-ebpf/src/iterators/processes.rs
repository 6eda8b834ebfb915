//! A program that goes over all tasks whenever the daemon reads the file that its link is pinned as: on
//! kernels where tags are kept by a task's address, which the daemon can't ask for.

use core::ffi::c_void;

use aya_ebpf::{bindings::seq_file, helpers::generated::bpf_seq_write};

use crate::{kernel::Task, subject};

/// Notes the process of each tagged task. The context is a `struct bpf_iter__task` (kernel/bpf/task_iter.c):
/// what is common to all iterators, then the task, which is null at the end.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/processes")]
pub(crate) fn processes(context: *const *const c_void) -> i32 {
    // SAFETY: the context has two pointers.
    let task = unsafe { context.add(1).read_volatile() };
    if !task.is_null() && !subject::record_process(Task(task)) {
        complain(context);
    }
    0
}

/// Writes into the file that is read that not all processes could be noted.
#[inline(always)]
fn complain(context: *const *const c_void) {
    let text = *b"!\n";
    // SAFETY: the context's first pointer is that of a `struct bpf_iter_meta`, whose first is the file's.
    unsafe {
        let meta = context.read_volatile().cast::<*mut seq_file>();
        bpf_seq_write(meta.read_volatile(), text.as_ptr().cast(), text.len() as u32);
    }
}
