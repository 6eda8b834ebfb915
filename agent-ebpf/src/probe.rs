//! A program that the daemon runs once, in its own context, to learn what only the kernel can tell.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use crate::{
    kernel::{self, Place, peek},
    map_access::value_mut,
    maps::HOST_ROOT,
    offset,
};

/// Never attached: run by `BPF_PROG_TEST_RUN`. Writes the root dentry of the task that runs it, and the task's
/// process id as read through the offsets, for the daemon to check.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub(crate) fn probe(_context: RawTracePointContext) -> i32 {
    let task = kernel::current().0 as u64;
    let fs: u64 = peek(task + offset!(task_fs));
    let root = Place::peek(fs + offset!(fs_root));
    if let Some(address) = value_mut(&HOST_ROOT, 0) {
        *address = root.dentry;
    }
    if let Some(process) = value_mut(&HOST_ROOT, 1) {
        let id: u32 = peek(task + offset!(task_tgid));
        *process = u64::from(id);
    }
    0
}
