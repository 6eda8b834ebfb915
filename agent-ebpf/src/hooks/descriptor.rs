//! The use of open files by their descriptors, wherever they come from. (Sockets: [`super::open_socket`].)
//!
//! Opening is decided in [`super::file`]; here, whether an open file may still be used. The hooks on the data path
//! are attached only while some session may lose what it has open (`bpf/attachment` in the daemon).

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    event::{OBJECT_NUMBER, Operation},
    id::Tag,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check::{self, use_of_descriptor},
    kernel::{
        self, FMODE_EXEC, FMODE_READ, FMODE_WRITE, MAY_APPEND, MAY_READ, MAY_WRITE, is_backing,
        is_socket, is_watch,
    },
    member,
    request::{Act, FileRequest},
    subject, untrusted,
    verdict::EACCES,
};

/// `int file_permission(struct file *file, int mask)`: each read and write, also by splice, sendfile,
/// copy_file_range, io_uring and AIO; listing a folder; allocating.
#[lsm(hook = "file_permission")]
pub(crate) fn file_permission(context: LsmContext) -> i32 {
    if subject::is_surely_untagged() {
        return 0;
    }
    // Read again each time: an untagged task should not pay for one more register.
    let file = || kernel::argument::<0>(&context);
    if is_socket(file()) {
        use_of_descriptor(file(), context.arg(1))
    } else if was_used(file(), context.arg(1)) {
        0
    } else {
        used(file(), context.arg(1))
    }
}

/// Whether the cache allows the use of an open file. Not inlined: an untagged task should not pay for the registers
/// that this needs.
#[inline(never)]
fn was_used(file: *const c_void, mask: u32) -> bool {
    check::is_cached_as_allowed(file, rights_of_use(file, mask))
}

/// The rights that a use of a file takes.
#[inline(always)]
fn rights_of_use(file: *const c_void, mask: u32) -> Rights {
    let mut rights = Rights::NONE;
    if mask & (MAY_WRITE | MAY_APPEND) != 0 {
        rights = rights.with(Right::Write);
    }
    if mask & MAY_READ != 0 {
        // The kernel itself reads a program that may only be run.
        let right = if member!(u32, file, file_flags) & FMODE_EXEC == 0 {
            Right::Read
        } else {
            Right::Exec
        };
        rights = rights.with(right);
    }
    rights
}

/// Decides the use of an open file, if the cache does not allow it. Not inlined: an untagged task should not pay for
/// the registers that this needs.
#[inline(never)]
fn used(file: *const c_void, mask: u32) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    if is_watch(file) {
        return watched(tag);
    }
    decide(tag, file, rights_of_use(file, mask), Operation::FileUse)
}

/// `int file_receive(struct file *file)`: a descriptor comes over a unix socket or out of another process.
#[lsm(hook = "file_receive")]
pub(crate) fn file_receive(context: LsmContext) -> i32 {
    let file: *const c_void = context.arg(0);
    if is_socket(file) { use_of_descriptor(file, MAY_WRITE) } else { received_file(file) }
}

/// Decides whether a descriptor of a file may be received.
#[inline(never)]
fn received_file(file: *const c_void) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let mode: u32 = member!(file, file_mode);
    let mut rights = Rights::NONE;
    if mode & FMODE_READ != 0 {
        rights = rights.with(Right::Read);
    }
    if mode & FMODE_WRITE != 0 {
        rights = rights.with(Right::Write);
    }
    // Without a mode (`O_PATH`) it only names its file.
    if rights.is_empty() { 0 } else { decide(tag, file, rights, Operation::FileReceive) }
}

/// `int file_truncate(struct file *file)`: `ftruncate`. Older kernels ask `path_truncate` instead.
#[lsm(hook = "file_truncate")]
pub(crate) fn file_truncate(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    decide(tag, context.arg(0), Rights::of(Right::Write), Operation::FileSetattr)
}

/// Decides the use of an open file for these rights.
#[inline(always)]
fn decide(tag: &Tag, file: *const c_void, rights: Rights, operation: Operation) -> i32 {
    if is_backing(file) {
        return 0;
    }
    let file = untrusted!(file at file);
    let inode: *const c_void = member!(file, file_inode);
    check::file(tag, inode, &FileRequest::of_descriptor(file, rights, operation), ptr::null())
}

/// Decides whether an inotify or fanotify descriptor may be read: by a session with standing. Setting a watch is
/// decided as opening the file is ([`super::path::path_notify`]); what the descriptor tells later does not name the
/// file.
#[inline(always)]
fn watched(tag: &Tag) -> i32 {
    let act = Act { operation: Operation::FileUse, object: OBJECT_NUMBER, arguments: [0; 3] };
    check::refuse_without_standing(tag, &act, EACCES)
}
