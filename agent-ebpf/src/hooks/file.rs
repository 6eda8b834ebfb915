//! Opening files.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    event::Operation,
    id::Tag,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check,
    kernel::{
        self, FMODE_EXEC, FMODE_READ, FMODE_WRITE, O_TMPFILE, Place, has_set_id_bits, is_backing,
    },
    member,
    request::{FileRequest, Flags, place_of_open},
    subject, untrusted,
};

/// `O_TRUNC`: empties the file, however it is opened.
const O_TRUNC: u32 = 0o1_000;

/// `int file_open(struct file *file)`: every opening except by `O_PATH`, also by io_uring, and the opening of a
/// program and its interpreter by exec.
#[lsm(hook = "file_open")]
pub(crate) fn file_open(context: LsmContext) -> i32 {
    if subject::is_surely_untagged() || was_opened(context.arg(0)) {
        0
    } else {
        open(context.arg(0))
    }
}

/// Whether the cache allows the opening of a file. Not inlined: an untagged task should not pay for the registers
/// that this needs.
#[inline(never)]
fn was_opened(file: *const c_void) -> bool {
    let flags: u32 = member!(file, file_flags);
    // These need other rights than their mode tells.
    if flags & (O_TMPFILE | FMODE_EXEC) != 0 {
        return false;
    }
    let rights = wanted(member!(file, file_mode), flags);
    !rights.is_empty() && check::is_cached_as_allowed(file, rights)
}

/// The rights that opening a file needs by its mode, unless it is opened to be run.
#[inline(always)]
fn wanted(mode: u32, flags: u32) -> Rights {
    const {
        assert!(Rights::of(Right::Read).0 as u32 == FMODE_READ);
        assert!(Rights::of(Right::Write).0 as u32 == FMODE_WRITE);
    }
    let truncates = (flags / (O_TRUNC / FMODE_WRITE)) & FMODE_WRITE;
    Rights((mode & (FMODE_READ | FMODE_WRITE) | truncates) as u8)
}

/// Decides an opening that the cache does not allow.
#[inline(never)]
fn open(file: *const c_void) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let mode: u32 = member!(file, file_mode);
    let flags: u32 = member!(file, file_flags);
    if is_backing(file) {
        return 0;
    }
    if flags & O_TMPFILE != 0 {
        return open_unnamed(tag, file, mode);
    }
    let inode: *const c_void = member!(file, file_inode);
    let (operation, mut rights, mut flags) = if flags & FMODE_EXEC != 0 {
        (Operation::FileExec, Rights::of(Right::Exec), Flags::NONE)
    } else {
        (Operation::FileOpen, wanted(mode, flags), Flags::MAY_BE_HELD)
    };
    // Access mode 3 neither reads nor writes, but controls. The kernel itself asks for both permissions then
    // (`ACC_MODE`, include/linux/fs.h).
    if rights.is_empty() {
        rights = Rights::of(Right::Read).with(Right::Write);
    }
    if kernel::has_borrowed_credentials() {
        flags = Flags::ALLOW_INTERNAL_MOUNT;
    }
    let mut request = FileRequest::new(operation, Place::of_file(file), rights);
    request.flags = flags;
    check::file(tag, inode, &request, ptr::null())
}

/// Decides the opening of a file without a name (`O_TMPFILE`), as one that is made in its folder. Not by the
/// folder's cached entry: the verifier of 6.18 does not trust an inode that was reached through a parent.
#[inline(always)]
fn open_unnamed(tag: &Tag, file: *const c_void, mode: u32) -> i32 {
    let file = untrusted!(file at file);
    let mut rights = Rights::of(Right::Create).with(Right::Write);
    if mode & FMODE_READ != 0 {
        rights = rights.with(Right::Read);
    }
    let mut request = FileRequest::new(Operation::FileCreate, place_of_open(file), rights);
    // It may be given a name later, and has its mode already.
    let inode: *const c_void = member!(file, file_inode);
    if has_set_id_bits(member!(inode, inode_mode)) {
        request.flags = Flags::FORBIDDEN;
    }
    check::name(tag, &request, ptr::null())
}
