//! Mounts and file systems.

use super::{access::peek, path::Place, task::current};

/// The mount above a mount and the dentry that it is mounted on; `None` at the root of the namespace.
#[inline(always)]
pub(crate) fn mounted_on(mount: u64) -> Option<Place> {
    let whole = mount - offset!(mount_mnt);
    let parent: u64 = read!(mount at whole, offset!(mount_parent));
    if parent == whole || parent == 0 {
        return None;
    }
    let mountpoint = read!(mount at whole, offset!(mount_mountpoint));
    Some(Place::at(parent + offset!(mount_mnt), mountpoint))
}

/// Whether a mount is in no namespace but the kernel's own (`MNT_NS_INTERNAL`, fs/mount.h: `-EINVAL` as an address):
/// a layer of overlayfs, or the mount of pipes or memory files.
#[inline(always)]
pub(crate) fn is_internal(mount: u64) -> bool {
    let whole = mount - offset!(mount_mnt);
    peek::<i64>(whole + offset!(mount_ns)) == -22
}

/// Address of the running task's mount namespace; zero for a task that is about to end.
#[inline(always)]
pub(crate) fn current_mount_namespace() -> u64 {
    let proxy: u64 = member!(untrusted!(task at current().0), task_nsproxy);
    peek(proxy + offset!(nsproxy_mounts))
}

/// Address of the mount namespace that a mount is in.
#[inline(always)]
pub(crate) fn mount_namespace(mount: u64) -> u64 {
    let whole = mount - offset!(mount_mnt);
    read!(mount at whole, offset!(mount_ns))
}

/// `MNT_READONLY` (include/linux/mount.h).
const READONLY: u32 = 0x40;

/// Whether a mount is read-only.
#[inline(always)]
pub(crate) fn is_readonly(mount: u64) -> bool {
    let flags: u32 = read!(vfsmount at mount, offset!(vfsmount_flags));
    flags & READONLY != 0
}

/// `SB_NOUSER` (include/linux/fs.h).
const NOUSER: u64 = 1 << 31;

/// A file system and its mounts.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct FileSystem {
    super_block: u64,
    /// Its root dentry.
    pub(crate) root: u64,
}

impl FileSystem {
    /// The file system of a dentry.
    #[inline(always)]
    pub(crate) fn of(dentry: u64) -> Self {
        let super_block: u64 = peek(dentry + offset!(dentry_sb));
        Self { super_block, root: peek(super_block + offset!(sb_root)) }
    }

    /// Whether the file system is the kernel's own (pipes, sockets, memory files), so that nobody can mount it.
    #[inline(always)]
    pub(crate) fn is_internal(self) -> bool {
        peek::<u64>(self.super_block + offset!(sb_flags)) & NOUSER != 0
    }

    /// Link of the first of its mounts.
    #[inline(always)]
    pub(crate) fn first_mount(self) -> u64 {
        peek(self.super_block + offset!(sb_mounts))
    }

    /// The mount at a link, and the next link; `None` at the end.
    #[inline(always)]
    pub(crate) fn mount_at(self, link: u64) -> Option<(u64, u64)> {
        if link == 0 || link == self.super_block + offset!(sb_mounts) {
            return None;
        }
        let chained = offset!(mounts_are_chained) != 0;
        let whole = if chained { link } else { link - offset!(mount_next) };
        Some((whole + offset!(mount_mnt), peek(whole + offset!(mount_next))))
    }
}

/// The root dentry of a mount.
#[inline(always)]
pub(crate) fn mount_root(mount: u64) -> u64 {
    read!(vfsmount at mount, offset!(vfsmount_root))
}
