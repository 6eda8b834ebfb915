//! File systems in which names that differ only in case are one name.

use super::path::{file_system_magic, parent};

/// `DCACHE_OP_COMPARE` (include/linux/dcache.h): the file system compares names in its own way.
const OWN_COMPARE: u32 = 2;
/// `S_CASEFOLD` (include/linux/fs.h): this folder ignores case.
const CASEFOLD: u32 = 1 << 15;
/// File systems in which single folders ignore case: ext4, f2fs, tmpfs, overlayfs, bcachefs; and procfs, which
/// compares in its own way for another reason (include/uapi/linux/magic.h).
const BY_FOLDER: [u64; 6] = [0xef53, 0xf2f5_2010, 0x0102_1994, 0x794c_7630, 0xca45_1a4e, 0x9fa0];

/// Whether the folder of a dentry ignores case in names.
#[inline(always)]
pub(crate) fn ignores_case(dentry: u64) -> bool {
    let flags: u32 = read!(dentry at dentry, offset!(dentry_flags));
    if flags & OWN_COMPARE == 0 {
        return false;
    }
    let folder: u64 = read!(dentry at parent(dentry), offset!(dentry_inode));
    let flags: u32 = read!(inode at folder, offset!(inode_flags));
    flags & CASEFOLD != 0 || !BY_FOLDER.contains(&file_system_magic(dentry))
}
