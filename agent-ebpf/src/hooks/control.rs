//! Device control: `ioctl` on devices, files and folders, and commands of io_uring.
//!
//! Only a device's driver knows what a number does, so all numbers need the right `ioctl`, except those for
//! terminals and descriptors that ordinary programs use: the kernel itself handles these for every device, or only
//! terminals know them. Files and folders have no such right. There, a number that only reads is free, since the
//! file was opened; one that may change it needs `write`.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    decision::Reason,
    event::{OBJECT_NUMBER, Operation},
    id::Tag,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check,
    kernel::{self, FileSystem, Place, S_IFBLK, S_IFCHR, S_IFDIR, S_IFMT, S_IFREG, is_socket},
    member,
    request::{Act, FileRequest, Flags},
    subject, terminal, untrusted,
    verdict::EPERM,
};

/// `TIOCSTI` and `TIOCLINUX` (include/uapi/asm-generic/ioctls.h): type into a terminal, for whoever reads it next.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
/// `FIOSETOWN` and `SIOCSPGRP` (include/uapi/asm-generic/sockios.h): who receives a descriptor's signals.
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;
/// `TIOCSPGRP`: the foreground process group of the terminal.
const TIOCSPGRP: u32 = 0x5410;
/// `FIOASYNC`: whether a descriptor sends signals.
const FIOASYNC: u32 = 0x5452;
/// Numbers that no right covers: refused to every session, unless they affect nobody outside of it.
const RESTRICTED: [u32; 6] = [TIOCSTI, TIOCLINUX, FIOSETOWN, SIOCSPGRP, TIOCSPGRP, FIOASYNC];

/// Numbers that tell how many bytes a socket received or has not sent yet: `FIONREAD`, `TIOCOUTQ`, `SIOCATMARK`,
/// `SIOCOUTQNSD` (include/uapi/asm-generic/ioctls.h, sockios.h; include/uapi/linux/sockios.h).
const WAITING: [u32; 4] = [0x541b, 0x5411, 0x8905, 0x894b];

/// The first of the numbers for terminals; up to 127 more follow.
const TERMINAL: u32 = 0x5400;
/// Numbers from [`TERMINAL`] on that every program may use (include/uapi/asm-generic/ioctls.h): a terminal's modes
/// (1 to 8: `TCGETS` to `TCSETAF`), flow (9 to 11: `TCSBRK`, `TCXONC`, `TCFLSH`), controlling terminal and process
/// groups (14 to 16: `TIOCSCTTY`, `TIOCGPGRP`, `TIOCSPGRP`; 34 and 41: `TIOCNOTTY`, `TIOCGSID`), waiting bytes (17
/// and 27: `TIOCOUTQ`, `FIONREAD`), size (19 and 20), lines (21 and 25: `TIOCMGET`, `TIOCGSOFTCAR`), packet mode
/// (32: `TIOCPKT`), non-blocking mode (33: `FIONBIO`), line discipline (36: `TIOCGETD`; not 35, which sets it), 37
/// (`TCSBRKP`).
const FREE_LOW: u64 = bits(&[
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15, 16, 17, 19, 20, 21, 25, 27, 32, 33, 34, 36, 37, 41,
]);
/// The same from 64 on: the other end of a pair (65: `TIOCGPTPEER`), a descriptor's flags (80 to 82: `FIONCLEX`,
/// `FIOCLEX`, `FIOASYNC`), counts of a serial line (93), a file's size (96: `FIOQSIZE`).
const FREE_HIGH: u64 = bits(&[1, 16, 17, 18, 29, 32]);
/// Free numbers that include the length of their argument: `TCGETS2`, `TCSETS2` and its two relatives, `TIOCGPTN`,
/// `TIOCSPTLCK`, `TIOCGDEV`, `TIOCSIG`, `TIOCGPKT`, `TIOCGPTLCK`, `TIOCGEXCL`.
const FREE_LONG: [u32; 11] = [
    0x802c_542a,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d,
    0x8004_5430,
    0x4004_5431,
    0x8004_5432,
    0x4004_5436,
    0x8004_5438,
    0x8004_5439,
    0x8004_5440,
];

/// The direction in a number, if it is `_IOC_READ` alone: the kernel only tells something
/// (include/uapi/asm-generic/ioctl.h).
const TELLS: u32 = 2;
/// `FS_IOC_SET_ENCRYPTION_POLICY`, which has that direction and yet changes something.
const SET_ENCRYPTION: u32 = 0x800c_6613;
/// Numbers on files that change nothing although their direction does not say so, or that copy into a file which was
/// opened for writing: `FIBMAP`, `FIGETBSZ`, `FS_IOC_FIEMAP`, `FIDEDUPERANGE`, `FICLONE`, `FICLONERANGE`,
/// `FS_IOC_MEASURE_VERITY`, `FS_IOC_READ_VERITY_METADATA`, `FS_IOC_GET_ENCRYPTION_POLICY` and its successor,
/// `BTRFS_IOC_INO_LOOKUP`, and of procfs `PAGEMAP_SCAN` and `PROCMAP_QUERY`.
const QUERIES: [u32; 13] = [
    1,
    2,
    0xc020_660b,
    0xc018_9436,
    0x4004_9409,
    0x4020_940d,
    0xc004_6686,
    0xc028_6687,
    0x400c_6615,
    0xc009_6616,
    0xd000_9412,
    0xc060_6610,
    0xc068_6611,
];

/// The part of a number on files below its direction and length: a letter, and a number of its own.
const NAME: u32 = 0xffff;
/// Numbers that change more than the file they are used on, where no hook sees what: a second descriptor
/// (`EXT4_IOC_MOVE_EXT`, `XFS_IOC_SWAPEXT`, `F2FS_IOC_MOVE_RANGE`, `CIFS_IOC_COPYCHUNK_FILE`), a path
/// (`OCFS2_IOC_REFLINK`), or everything below a folder (`BTRFS_IOC_SNAP_CREATE`, `SUBVOL_CREATE`, `SNAP_DESTROY`,
/// each with its successor, and the two of bcachefs). Compared by [`NAME`], since some have another length in 32-bit
/// programs.
const BEYOND: [u32; 13] = [
    0x660f, 0x586d, 0xf509, 0xcf03, 0x6f04, 0x9401, 0x9417, 0x940e, 0x9418, 0x940f, 0x943f, 0xbc10,
    0xbc11,
];

/// A set of small numbers.
const fn bits(numbers: &[u32]) -> u64 {
    let mut set = 0;
    let mut index = 0;
    while index < numbers.len() {
        set |= 1 << numbers[index];
        index += 1;
    }
    set
}

/// `int file_ioctl(struct file *file, unsigned int cmd, unsigned long arg)`.
#[lsm(hook = "file_ioctl")]
pub(crate) fn file_ioctl(context: LsmContext) -> i32 {
    control(&context)
}

/// `int file_ioctl_compat(struct file *file, unsigned int cmd, unsigned long arg)`: of 32-bit programs. Kernels
/// without this hook ask the other one.
#[lsm(hook = "file_ioctl_compat")]
pub(crate) fn file_ioctl_compat(context: LsmContext) -> i32 {
    control(&context)
}

/// Decides a control number on a file.
#[inline(always)]
fn control(context: &LsmContext) -> i32 {
    if subject::is_surely_untagged() {
        return 0;
    }
    let file: *const c_void = context.arg(0);
    let command: u32 = context.arg(1);
    // To count what others send is a way to receive from them. Not in a function of its own, which would exceed the
    // stack.
    if WAITING.contains(&command) && is_socket(file) {
        return check::use_of_descriptor(file, 0);
    }
    if RESTRICTED.contains(&command) {
        return restricted(file, command);
    }
    if is_free(command) { 0 } else { controlled(file, command) }
}

/// Decides a number that no right covers. Each part is a function of its own, since 6.1 has 512 bytes of stack for
/// the frames of all calls together.
#[inline(never)]
fn restricted(file: *const c_void, command: u32) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    let is_harmless = match command {
        TIOCSPGRP => terminal::may_change_foreground(tag),
        FIOASYNC => terminal::signals_own_session_only(tag, file),
        _ => false,
    };
    if is_harmless { 0 } else { forbid(tag, command) }
}

/// `int uring_cmd(struct io_uring_cmd *ioucmd)`: commands of a driver or file system by io_uring. On a socket they
/// tell how much came, or are options: each is a use of the socket.
#[lsm(hook = "uring_cmd")]
pub(crate) fn uring_cmd(context: LsmContext) -> i32 {
    if subject::is_surely_untagged() {
        return 0;
    }
    let command: *const c_void = context.arg(0);
    let file: *const c_void = member!(command, uring_cmd_file);
    if is_socket(file) {
        return check::use_of_descriptor(file, 0);
    }
    controlled(file, member!(command, uring_cmd_op))
}

/// Decides a number that not every program may use.
#[inline(never)]
fn controlled(file: *const c_void, command: u32) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    let file = untrusted!(file at file);
    let inode: *const c_void = member!(file, file_inode);
    let kind = member!(u16, inode, inode_mode) & S_IFMT;
    if kind == S_IFCHR || kind == S_IFBLK {
        return decide(tag, file, inode, Right::Ioctl);
    }
    if kind != S_IFREG && kind != S_IFDIR || is_query(command) {
        return 0;
    }
    // Also on a file without a name: the second file may be the one that matters.
    if BEYOND.contains(&(command & NAME)) {
        return forbid(tag, command);
    }
    // A file without a name, or in a file system of the kernel's own, belongs to the session that holds the
    // descriptor.
    let dentry: u64 = member!(file, file_path_dentry);
    if member!(u32, inode, inode_nlink) == 0 || FileSystem::of(dentry).is_internal() {
        return 0;
    }
    decide(tag, file, inode, Right::Write)
}

/// Refuses a number, whatever the policy says.
#[inline(never)]
fn forbid(tag: &Tag, command: u32) -> i32 {
    let act =
        Act { operation: Operation::FileIoctl, object: OBJECT_NUMBER, arguments: [command, 0, 0] };
    check::refuse(tag, &act, Reason::Guard, EPERM)
}

/// Decides by a right on the file.
#[inline(always)]
fn decide(tag: &Tag, file: *const c_void, inode: *const c_void, right: Right) -> i32 {
    let place = Place::of_file(file);
    let mut request = FileRequest::new(Operation::FileIoctl, place, Rights::of(right));
    if kernel::has_borrowed_credentials() {
        request.flags = Flags::ALLOW_INTERNAL_MOUNT;
    }
    check::file(tag, inode, &request, ptr::null())
}

/// Whether every program may use the number on whatever it has open.
#[inline(always)]
fn is_free(command: u32) -> bool {
    match command.wrapping_sub(TERMINAL) {
        small @ 0..64 => FREE_LOW >> small & 1 != 0,
        small @ 64..128 => FREE_HIGH >> (small - 64) & 1 != 0,
        _ => FREE_LONG.contains(&command),
    }
}

/// Whether the number changes nothing of a file or folder.
#[inline(always)]
fn is_query(command: u32) -> bool {
    (command >> 30 == TELLS && command != SET_ENCRYPTION) || QUERIES.contains(&command)
}
