//! A program that goes over all tasks when the daemon asks for those of a session and for what they used: after a tool
//! was lost whose loss kills.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::generated::bpf_seq_write;

use crate::{kernel::Task, subject};

/// What is common to all iterators' contexts: a `struct bpf_iter_meta` (include/linux/bpf.h).
#[repr(C)]
struct Meta {
    sequence: *mut c_void,
}

/// The context: a `struct bpf_iter__task` (kernel/bpf/task_iter.c).
#[repr(C)]
pub(crate) struct Context {
    meta: *const Meta,
    task: *const c_void,
}

/// Writes a record of each tagged task. The task is null at the end.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/tasks")]
pub(crate) fn tasks(context: *const Context) -> i32 {
    // SAFETY: the context is that of the iterator; field by field, since the verifier knows each.
    let (meta, task) = unsafe {
        ((&raw const (*context).meta).read_volatile(), (&raw const (*context).task).read_volatile())
    };
    if task.is_null() {
        return 0;
    }
    if let Some(record) = &subject::task_record(Task(task)) {
        // SAFETY: the verifier has typed the pointer, and the record has as many bytes as said. A record for which
        // there is no room any more is written anew, with more.
        unsafe {
            let sequence = (&raw const (*meta).sequence).read_volatile();
            bpf_seq_write(
                sequence.cast(),
                ptr::from_ref(record).cast(),
                size_of_val(record) as u32,
            );
        }
    }
    0
}
