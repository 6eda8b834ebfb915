//! Mounts and dentries as places of files, the kernel's counts of changes to them, and inodes.

use core::{ffi::c_void, mem::offset_of};

use agent_common::{cache::InodeIdentity, offsets::Offsets};

use super::access::{address, cast, peek};

/// The place of a file: the mount and dentry by which it is reached, as addresses.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// `struct vfsmount`.
    pub(crate) mount: u64,
    /// `struct dentry`.
    pub(crate) dentry: u64,
    /// The dentry's parent, if the hook has a dentry that the verifier has typed and that still has its name; else
    /// zero, and decisions at this place are not cached.
    pub(crate) parent: u64,
    /// Hash and length of the dentry's name, or zero likewise.
    pub(crate) name: u64,
}

impl Place {
    /// The place of a `struct file` that the verifier has typed.
    #[inline(always)]
    pub(crate) fn of_file(file: *const c_void) -> Self {
        Self::of_dentry(member!(file, file_path_mnt), member!(file, file_path_dentry))
    }

    /// The place of a dentry that the verifier has typed, in a mount.
    #[inline(always)]
    pub(crate) fn of_dentry(mount: u64, dentry: *const c_void) -> Self {
        let mut place = Self {
            mount,
            dentry: dentry as u64,
            parent: member!(dentry, dentry_parent),
            // Two loads, since 6.1 has no type for both together.
            name: u64::from(member!(u32, dentry, dentry_name))
                | u64::from(member!(u32, dentry, dentry_name_len)) << 32,
        };
        // A dentry that was unlinked has no place any more: earlier decisions must not answer for it.
        if member!(u64, dentry, dentry_hash_pprev) == 0 {
            place.parent = 0;
            place.name = 0;
        }
        place
    }

    /// A place by addresses alone: decisions there are not cached.
    #[inline(always)]
    pub(crate) fn at(mount: u64, dentry: u64) -> Self {
        Self { mount, dentry, parent: 0, name: 0 }
    }

    /// The place of a `struct path` at an address.
    #[inline(always)]
    pub(crate) fn peek(path: u64) -> Self {
        let mount = peek(path + offset!(path_mnt));
        Self::at(mount, peek(path + offset!(path_dentry)))
    }
}

/// The kernel's counts of renames and of mount changes; odd while one is under way.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Renames.
    pub(crate) renames: u32,
    /// Mount changes.
    pub(crate) mounts: u32,
}

impl Changes {
    /// The counts as they are now.
    #[inline(always)]
    pub(crate) fn now() -> Self {
        Self {
            renames: read!(seqcount at address::<{ offset_of!(Offsets, rename_lock) }>(), 0),
            mounts: read!(seqcount at address::<{ offset_of!(Offsets, mount_lock) }>(), 0),
        }
    }

    /// Whether no rename or mount change is under way.
    #[inline(always)]
    pub(crate) fn are_settled(self) -> bool {
        (self.renames | self.mounts) & 1 == 0
    }
}

/// A dentry's parent, and the length and address of its name.
#[inline(always)]
pub(crate) fn parent_and_name(dentry: u64) -> (u64, u64, u64) {
    let number = offset!(types.dentry);
    if number != 0 {
        let typed = cast(dentry, number);
        return (
            member!(typed, dentry_parent),
            u64::from(member!(u32, typed, dentry_name_len)),
            member!(typed, dentry_name_text),
        );
    }
    // Three words that lie side by side in every supported kernel (the daemon checks it). `struct qstr` is hash and
    // length, then the pointer (include/linux/dcache.h).
    let [parent, hash_and_len, name]: [u64; 3] = peek(dentry + offset!(dentry_parent));
    (parent, hash_and_len >> 32, name)
}

/// A dentry's parent, read anew.
#[inline(always)]
pub(crate) fn parent(dentry: u64) -> u64 {
    read!(dentry at dentry, offset!(dentry_parent))
}

/// Whether a dentry is not in its parent's list of names.
#[inline(always)]
pub(crate) fn is_unhashed(dentry: u64) -> bool {
    let pprev: u64 = read!(dentry at dentry, offset!(dentry_hash_pprev));
    pprev == 0
}

/// The magic number of a dentry's file system.
#[inline(always)]
pub(crate) fn file_system_magic(dentry: u64) -> u64 {
    let sb: u64 = read!(dentry at dentry, offset!(dentry_sb));
    read!(super_block at sb, offset!(sb_magic))
}

/// The identity of a dentry's inode; its address is zero if there is none.
#[inline(always)]
pub(crate) fn inode_of(dentry: u64) -> InodeIdentity {
    let address: u64 = read!(dentry at dentry, offset!(dentry_inode));
    InodeIdentity {
        address,
        number: read!(inode at address, offset!(inode_number)),
        generation: read!(inode at address, offset!(inode_generation)),
        reserved: 0,
    }
}

/// The identity of an inode that the verifier has typed.
#[inline(always)]
pub(crate) fn identity(inode: *const c_void) -> InodeIdentity {
    let (number, generation) = number_and_generation(inode);
    InodeIdentity { address: inode as u64, number, generation, reserved: 0 }
}

/// Number and generation of an inode that the verifier has typed.
#[inline(always)]
pub(crate) fn number_and_generation(inode: *const c_void) -> (u64, u32) {
    (member!(inode, inode_number), member!(inode, inode_generation))
}
