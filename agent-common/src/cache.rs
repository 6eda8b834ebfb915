//! What the kernel keeps with an inode: the rights that were found to be allowed when it was last reached.

use crate::{
    assert_layout,
    id::{Generation, SessionId},
};

/// Allowed rights, together with everything that they were decided from. An entry answers only for the
/// very same; whatever it does not answer is decided anew.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CachedRights {
    /// Odd while somebody writes; counts the writes.
    pub sequence: u32,
    /// The policy.
    pub generation: Generation,
    /// The session.
    pub session: SessionId,
    /// Address of the mount (`struct vfsmount`).
    pub mount: u64,
    /// Address of the dentry.
    pub dentry: u64,
    /// Address of the dentry's parent.
    pub parent: u64,
    /// Hash and length of the dentry's name. With the three addresses it tells a dentry from a later one
    /// at the same place in memory.
    pub name: u64,
    /// The kernel's count of renames.
    pub renames: u32,
    /// The kernel's count of mount changes.
    pub mounts: u32,
    /// The session's epoch: how often its entry was written.
    pub epoch: u32,
    /// The allowed rights ([`crate::access::Rights`]).
    pub rights: u32,
}

assert_layout!(CachedRights, 64, 8);
