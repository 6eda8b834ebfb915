//! Locks on files: whoever holds one holds up others.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    event::Operation,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{check, kernel::FMODE_READ, member, request::FileRequest, subject};

/// `F_WRLCK` and `F_UNLCK` (include/uapi/asm-generic/fcntl.h).
const F_WRLCK: u32 = 1;
const F_UNLCK: u32 = 2;

/// `int file_lock(struct file *file, unsigned int cmd)`: by `fcntl` and by `flock`, whose kinds are given as those of
/// the former. A lock of one's own holds up everybody, so it needs `write`; one that is shared with others what the
/// file was opened for, as using it does. Giving one back is free.
#[lsm(hook = "file_lock")]
pub(crate) fn file_lock(context: LsmContext) -> i32 {
    let kind: u32 = context.arg(1);
    if kind == F_UNLCK {
        return 0;
    }
    let Some(tag) = &subject::current() else { return 0 };
    let file: *const c_void = context.arg(0);
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
