//! POSIX message queues: files in a file system of which most hooks on paths see nothing. `mq_open` makes a queue
//! before it opens it, and `mq_unlink` removes one, without the path of a folder.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    event::Operation,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check,
    kernel::{self, Place},
    mounts,
    request::{FileRequest, Flags},
    subject,
};

/// Magic number of their file system (`MQUEUE_MAGIC`, ipc/mqueue.c).
const QUEUES: u64 = 0x1980_0202;

/// `int inode_create(struct inode *dir, struct dentry *dentry, umode_t mode)`.
#[lsm(hook = "inode_create")]
pub(crate) fn inode_create(context: LsmContext) -> i32 {
    if subject::is_surely_untagged() {
        return 0;
    }
    decide(context.arg(1), Operation::FileCreate, Right::Create)
}

/// `int inode_unlink(struct inode *dir, struct dentry *dentry)`.
#[lsm(hook = "inode_unlink")]
pub(crate) fn inode_unlink(context: LsmContext) -> i32 {
    if subject::is_surely_untagged() {
        return 0;
    }
    decide(context.arg(1), Operation::FileDelete, Right::Delete)
}

/// Decides by the queue's name where their file system is mounted, which is its path in every other call; refuses if
/// it is not mounted. Not inlined: an untagged task should not pay for the registers that this needs.
#[inline(never)]
fn decide(dentry: *const c_void, operation: Operation, right: Right) -> i32 {
    if kernel::file_system_magic(dentry as u64) != QUEUES {
        return 0;
    }
    let Some(tag) = &subject::look_up() else { return 0 };
    let place = Place::at(mounts::find(dentry as u64, 0, 0), dentry as u64);
    let mut request = FileRequest::new(operation, place, Rights::of(right));
    request.flags = Flags::MAY_BE_UNHASHED;
    check::name(tag, &request, ptr::null())
}
