//! Watches on files (inotify and fanotify) that were set before.
//!
//! Setting one is decided as opening the file is ([`super::path::path_notify`]). What it tells later comes by a
//! descriptor that does not say of which file: so whoever may do nothing at all is told nothing.

use core::ffi::c_void;

use agent_common::{
    event::{OBJECT_NUMBER, Operation},
    id::Tag,
};

use crate::{
    check,
    kernel::{self, peek},
    member,
    request::Act,
    verdict::EACCES,
};

/// Magic number of what has a descriptor and no file (`ANON_INODE_FS_MAGIC`, include/uapi/linux/magic.h).
const ANONYMOUS: u64 = 0x0904_1934;
/// How the names of watches begin there, and how long they are: `inotify` and `[fanotify]`.
const WATCHES: [(u32, u64); 2] =
    [(7, u64::from_le_bytes(*b"inotify\0")), (10, u64::from_le_bytes(*b"[fanotif"))];

/// Whether a descriptor tells what others do with files.
#[inline(always)]
pub(super) fn is_watch(file: *const c_void) -> bool {
    let dentry: *const c_void = member!(file, file_path_dentry);
    let len: u32 = member!(dentry, dentry_name_len);
    if len != WATCHES[0].0 && len != WATCHES[1].0 {
        return false;
    }
    let name: u64 = peek(member!(u64, dentry, dentry_name_text));
    WATCHES.contains(&(len, name)) && kernel::magic(dentry as u64) == ANONYMOUS
}

/// Decides about reading what watches tell.
#[inline(always)]
pub(super) fn watched(tag: &Tag) -> i32 {
    let act = Act { operation: Operation::FileUse, object: OBJECT_NUMBER, arguments: [0; 3] };
    check::refuse_without_standing(tag, &act, EACCES)
}
