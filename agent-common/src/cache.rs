//! What the kernel keeps with an inode: the label of the path by which it was last reached.

use crate::{
    assert_layout,
    id::{Generation, LabelId, SessionId},
};

/// A label together with everything that it was computed from. It answers only for the very same.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CachedLabel {
    /// Odd while somebody writes; counts the writes.
    pub sequence: u32,
    /// The policy.
    pub generation: Generation,
    /// Address of the mount (`struct vfsmount`).
    pub mount: u64,
    /// Address of the dentry.
    pub dentry: u64,
    /// Address of the dentry's parent.
    pub parent: u64,
    /// The kernel's count of renames.
    pub renames: u32,
    /// The kernel's count of mount changes.
    pub mounts: u32,
    /// The session whose own rules gave `own`.
    pub session: SessionId,
    /// By the shared rules.
    pub shared: LabelId,
    /// By the session's own rules.
    pub own: LabelId,
}

assert_layout!(CachedLabel, 56, 8);
