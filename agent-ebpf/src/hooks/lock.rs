//! Locks on files, which make others wait.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    event::Operation,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{check, kernel::FMODE_READ, member, request::FileRequest, subject, untrusted};

/// `F_WRLCK` and `F_UNLCK` (include/uapi/asm-generic/fcntl.h).
const F_WRLCK: u32 = 1;
const F_UNLCK: u32 = 2;

/// `int file_lock(struct file *file, unsigned int cmd)`: by `fcntl` and by `flock`, whose kinds the kernel gives as
/// those of `fcntl`. An exclusive lock makes everybody wait, so it needs `write`; a shared one needs what the file
/// was opened for. Releasing is free.
#[lsm(hook = "file_lock")]
pub(crate) fn file_lock(context: LsmContext) -> i32 {
    let kind: u32 = context.arg(1);
    if kind == F_UNLCK {
        return 0;
    }
    let Some(tag) = &subject::current() else { return 0 };
    let file = untrusted!(file at context.arg(0));
    let reads = kind != F_WRLCK && member!(u32, file, file_mode) & FMODE_READ != 0;
    let right = if reads { Right::Read } else { Right::Write };
    let inode: *const c_void = member!(file, file_inode);
    check::file(
        tag,
        inode,
        &FileRequest::of_descriptor(file, Rights::of(right), Operation::FileUse),
        ptr::null(),
    )
}
