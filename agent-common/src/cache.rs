//! Entries of the kernel side's caches: rights on files that were allowed, positions of the rules at folders, and
//! endpoints that were allowed.
//!
//! They lie in arrays, at a place that is computed from the session and the object. An entry whose place another one
//! takes is lost, and decided anew. The address of a file or folder alone names nothing, since the kernel uses
//! memory again; so each entry also has the inode's number and generation, which no other file has.

use crate::{
    assert_layout,
    id::{Generation, SessionId},
    rule::Position,
};

/// An inode.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InodeIdentity {
    /// Address of the inode.
    pub address: u64,
    /// Its number (`i_ino`).
    pub number: u64,
    /// Which of the inodes that had this number (`i_generation`).
    pub generation: u32,
    /// Alignment; zero.
    pub reserved: u32,
}

assert_layout!(InodeIdentity, 24, 8);

/// Rights on a file that were allowed, and everything that they were decided from: the entry answers for nothing
/// else.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CachedRights {
    /// Odd while somebody writes; counts the writes.
    pub sequence: u32,
    /// The allowed rights ([`crate::access::Rights`]).
    pub rights: u32,
    /// The policy's generation, and below it the session's epoch: how often its entry was written.
    pub stamp: u64,
    /// The session.
    pub session: SessionId,
    /// The file's number (`i_ino`). Its address says nothing more: the mount is that of one file system.
    pub number: u64,
    /// Address of the mount (`struct vfsmount`).
    pub mount: u64,
    /// Address of the dentry.
    pub dentry: u64,
    /// Address of the dentry's parent.
    pub parent: u64,
    /// Hash and length of the dentry's name. With the addresses it tells a dentry from a later one
    /// at the same place in memory.
    pub name: u64,
    /// The kernel's count of renames.
    pub renames: u32,
    /// The kernel's count of mount changes.
    pub mounts: u32,
    /// Which of the files that had that number (`i_generation`).
    pub generation: u32,
    /// The [marks](crate::mark) that the use of these rights leaves: the entry answers only for tasks that have them.
    pub marks: u32,
}

assert_layout!(CachedRights, 80, 8);

/// Words of the path in a folder's entry: for each component, from the folder up, its length, and its name as it
/// lies in memory, in whole words.
pub const PATH_WORDS: usize = 64;
/// Words of the longest name that fits there.
pub const NAME_WORDS: usize = 5;

/// The positions of the rules at a folder: a file in it is one step further. They depend only on the names of the
/// folder's path. So after a rename elsewhere the path is compared with the one in the entry, and not matched anew.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CachedFolder {
    /// Odd while somebody writes; counts the writes.
    pub sequence: u32,
    /// The policy.
    pub generation: Generation,
    /// The session.
    pub session: SessionId,
    /// The folder.
    pub inode: InodeIdentity,
    /// Address of the mount (`struct vfsmount`).
    pub mount: u64,
    /// Address of the folder's dentry.
    pub dentry: u64,
    /// The kernel's count of renames.
    pub renames: u32,
    /// The kernel's count of mount changes.
    pub mounts: u32,
    /// The positions: by the shared rules, and by the session's own.
    pub positions: [Position; 2],
    /// The policy's generation, and below it the session's epoch, for which `rights` are allowed; zero for none.
    pub stamp: u64,
    /// The rights that are allowed on everything in the folder, if no rule tells names apart.
    pub rights: u32,
    /// The [marks](crate::mark) that their use leaves: they are for tasks that have those marks.
    pub marks: u32,
    /// Words of `path` that are used; zero if the path is not in the entry.
    pub path_words: u64,
    /// The folder's path.
    pub path: [u64; PATH_WORDS],
}

assert_layout!(CachedFolder, 136 + 8 * PATH_WORDS, 8);

/// An endpoint that was allowed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CachedEndpoint {
    /// Odd while somebody writes; counts the writes.
    pub sequence: u32,
    /// A `FLOW_` constant of [`crate::rule`], and with it the right.
    pub flow: u16,
    /// Native byte order.
    pub port: u16,
    /// The policy's generation, and below it the session's epoch.
    pub stamp: u64,
    /// The session.
    pub session: SessionId,
    /// An IPv6 address, or an IPv4 one mapped into it, as it lies in memory.
    pub address: [u64; 2],
}

assert_layout!(CachedEndpoint, 40, 8);
