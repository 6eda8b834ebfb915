//! Open files: their modes and kinds.

use core::ffi::c_void;

use super::{
    access::{peek, read_two_words},
    path::file_system_magic,
};

/// `FMODE_READ` (include/linux/fs.h).
pub(crate) const FMODE_READ: u32 = 1;
/// `FMODE_WRITE`.
pub(crate) const FMODE_WRITE: u32 = 2;
/// `FMODE_BACKING`, bit 25 and since 6.14 (and in 6.12's later releases) bit 24: the file below one of overlayfs or
/// FUSE, whose opening was decided itself. Such a file also has `FMODE_NOACCOUNT`. While a file is being opened,
/// neither bit has another meaning, and no flag of `open` sets one.
const FMODE_BACKING: u32 = 1 << 24 | 1 << 25;
/// `FMODE_NOACCOUNT`.
const FMODE_NOACCOUNT: u32 = 1 << 29;
/// `__FMODE_EXEC`, among the flags of a file that is opened to be run.
pub(crate) const FMODE_EXEC: u32 = 0x20;
/// `__O_TMPFILE` (include/uapi/asm-generic/fcntl.h).
pub(crate) const O_TMPFILE: u32 = 0o20_000_000;
/// `S_IFMT` and the kinds of files (include/uapi/linux/stat.h).
pub(crate) const S_IFMT: u16 = 0o170_000;
pub(crate) const S_IFIFO: u16 = 0o010_000;
pub(crate) const S_IFCHR: u16 = 0o020_000;
pub(crate) const S_IFDIR: u16 = 0o040_000;
pub(crate) const S_IFBLK: u16 = 0o060_000;
pub(crate) const S_IFREG: u16 = 0o100_000;
pub(crate) const S_IFLNK: u16 = 0o120_000;
pub(crate) const S_IFSOCK: u16 = 0o140_000;

/// `MAY_WRITE`, `MAY_READ` and `MAY_APPEND` (include/linux/fs.h).
pub(crate) const MAY_WRITE: u32 = 2;
pub(crate) const MAY_READ: u32 = 4;
pub(crate) const MAY_APPEND: u32 = 8;

/// `S_ISUID` and `S_ISGID`.
const SET_ID_BITS: u16 = 0o6_000;

/// Whether a program of this mode runs as its owner or group (`bprm_fill_uid`, fs/exec.c). Outside of the session,
/// whoever runs it would do the session's bidding with the rights of the session's user. A set-group-id bit counts
/// even if the group may not run the file now: an access control list can allow that later.
#[inline(always)]
pub(crate) fn has_set_id_bits(mode: u16) -> bool {
    mode & SET_ID_BITS != 0
}

/// Whether a file lies below another one of overlayfs or FUSE, for which the operation was decided.
#[inline(always)]
pub(crate) fn is_backing(file: *const c_void) -> bool {
    let mode: u32 = member!(file, file_mode);
    mode & FMODE_NOACCOUNT != 0 && mode & FMODE_BACKING != 0
}

/// Whether a file is a socket.
#[inline(always)]
pub(crate) fn is_socket(file: *const c_void) -> bool {
    let inode: *const c_void = member!(file, file_inode);
    member!(u16, inode, inode_mode) & S_IFMT == S_IFSOCK
}

/// Whether a file is a character device, as every terminal is.
#[inline(always)]
pub(crate) fn is_character_device(file: *const c_void) -> bool {
    let inode: *const c_void = member!(untrusted!(file at file), file_inode);
    member!(u16, inode, inode_mode) & S_IFMT == S_IFCHR
}

/// Magic number of the file system of descriptors without a file (`ANON_INODE_FS_MAGIC`,
/// include/uapi/linux/magic.h).
const ANONYMOUS: u64 = 0x0904_1934;
/// Lengths and first bytes of the names of watches there: `inotify` and `[fanotify]`.
const WATCHES: [(u32, u64); 2] =
    [(7, u64::from_le_bytes(*b"inotify\0")), (10, u64::from_le_bytes(*b"[fanotif"))];

/// Whether a descriptor is an inotify or fanotify one, which tells what others do with files.
#[inline(always)]
pub(crate) fn is_watch(file: *const c_void) -> bool {
    let dentry: *const c_void = member!(untrusted!(file at file), file_path_dentry);
    let len: u32 = member!(dentry, dentry_name_len);
    if len != WATCHES[0].0 && len != WATCHES[1].0 {
        return false;
    }
    let name: u64 = peek(member!(u64, dentry, dentry_name_text));
    WATCHES.contains(&(len, name)) && file_system_magic(dentry as u64) == ANONYMOUS
}

/// A `struct file` that the verifier has typed, on a kernel that can type addresses.
#[derive(Clone, Copy)]
pub(crate) struct OpenFile(pub(crate) *const c_void);

impl OpenFile {
    /// Address of its mount.
    #[inline(always)]
    pub(crate) fn mount(self) -> u64 {
        member!(self.0, file_path_mnt)
    }

    /// Its dentry.
    #[inline(always)]
    pub(crate) fn dentry(self) -> *const c_void {
        member!(self.0, file_path_dentry)
    }

    /// Address of the dentry's parent, and hash and length of its name; zeroes if it lost its name.
    #[inline(always)]
    pub(crate) fn parent_and_name(self) -> (u64, u64) {
        let dentry = self.dentry();
        if member!(u64, dentry, dentry_hash_pprev) == 0 {
            return (0, 0);
        }
        // Both lie side by side: the daemon checks it.
        let [parent, name] = read_two_words(dentry as u64 + offset!(dentry_parent));
        (parent, name)
    }
}
