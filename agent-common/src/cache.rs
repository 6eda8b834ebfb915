//! What the kernel side keeps of its decisions: the rights that were found to be allowed on a file, how far
//! the rules are known for a folder, and the endpoints that were found to be allowed.
//!
//! All lie in arrays, at a place that is computed from what the entry is of and the session: an entry that
//! another one takes the place of is decided anew. The address of a file or folder alone names nothing, since
//! the kernel uses memory again; so each entry has the inode's number and generation with it, which no other
//! file has.

use crate::{
    assert_layout,
    id::{Generation, SessionId},
    rule::Position,
};

/// The inode behind an entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InodeIdentity {
    /// Address of the inode.
    pub address: u64,
    /// Its number (`i_ino`).
    pub number: u64,
    /// Which of the inodes that had that number (`i_generation`).
    pub generation: u32,
    /// Alignment; zero.
    pub reserved: u32,
}

assert_layout!(InodeIdentity, 24, 8);

/// Allowed rights, together with everything that they were decided from. An entry answers only for the
/// very same; whatever it does not answer is decided anew.
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
    /// The [marks](crate::mark) that using these rights leaves: the entry answers only for a task that has them.
    pub marks: u32,
}

assert_layout!(CachedRights, 80, 8);

/// Words that a folder's path is kept in: for each component from the folder up its length, then its name as
/// it lies in memory, in whole words.
pub const PATH_WORDS: usize = 64;
/// Words of the longest name that is kept there.
pub const NAME_WORDS: usize = 5;

/// Where the rules stand at a folder: what is in it is one step from there. That depends on the names of its
/// path alone: after a rename elsewhere the path is gone through once more, and only compared.
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
    /// By the shared rules, and by the session's own.
    pub positions: [Position; 2],
    /// The policy's generation, and below it the session's epoch, for which `rights` are allowed; zero for none.
    pub stamp: u64,
    /// The rights that are allowed on whatever is in the folder, where no name leads on.
    pub rights: u32,
    /// The [marks](crate::mark) that using these rights leaves: they answer only for a task that has them.
    pub marks: u32,
    /// Words of `path` that count; zero where the path is not kept.
    pub path_words: u64,
    /// The folder's path.
    pub path: [u64; PATH_WORDS],
}

assert_layout!(CachedFolder, 136 + 8 * PATH_WORDS, 8);

/// An allowed endpoint.
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
