//! A program that the daemon runs once, in its own context, to learn what only the kernel knows.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};

use crate::{
    kernel::{self, Place, peek},
    maps::HOST_ROOT,
    offset,
};

/// Never attached: run by `BPF_PROG_TEST_RUN`. Writes down the root dentry of the task that runs it, and
/// the task's process id as read through the offsets, for the daemon to check.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub(crate) fn probe(_context: RawTracePointContext) -> i32 {
    let task = kernel::current().0 as u64;
    let fs: u64 = peek(task + offset!(task_fs));
    let root = Place::peek(fs + offset!(fs_root));
    if let Some(slot) = HOST_ROOT.get_ptr_mut(0) {
        // SAFETY: the map's value is valid.
        unsafe { slot.write(root.dentry) };
    }
    if let Some(slot) = HOST_ROOT.get_ptr_mut(1) {
        let process: u32 = peek(task + offset!(task_tgid));
        // SAFETY: the map's value is valid.
        unsafe { slot.write(u64::from(process)) };
    }
    0
}
