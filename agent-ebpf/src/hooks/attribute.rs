//! What is known of a file beside its content: times, extended attributes, access control lists, flags.
//!
//! The kernel tells these hooks the dentry and no mount. The mounts by which the running task can reach it are
//! looked for: nearly always it is one. Where there are several (bind mounts), the session may change the file
//! if it may do so by one of them, since by that one it could.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    event::Operation,
    id::Tag,
    limits::WAYS,
};
use aya_ebpf::{helpers::generated::bpf_loop, macros::lsm, programs::LsmContext};

use crate::{
    check::{self, FileRequest},
    kernel::{self, FileSystem, Place},
    member, mounts, offset, subject,
};

/// `ATTR_TIMES_SET` and `ATTR_TOUCH` (include/linux/fs.h): times that were asked for, not those that come with
/// a write, nor those that overlayfs copies.
const TIMES: u32 = 1 << 16 | 1 << 17;

/// `int inode_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr)`, without the first
/// argument before 6.9. Mode, owner and length are decided by the hooks on paths.
#[lsm(hook = "inode_setattr")]
pub fn inode_setattr(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let (dentry, attributes) = if offset!(setattr_has_map) != 0 {
        (kernel::argument::<1>(&context), kernel::argument::<2>(&context))
    } else {
        (kernel::argument::<0>(&context), kernel::argument::<1>(&context))
    };
    if member!(u32, attributes, iattr_valid) & TIMES == 0 {
        return 0;
    }
    change(tag, dentry)
}

/// `int inode_setxattr(struct mnt_idmap *idmap, struct dentry *dentry, const char *name, const void *value,
/// size_t size, int flags)`: also lists of access before 6.2.
#[lsm(hook = "inode_setxattr")]
pub fn inode_setxattr(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    change(tag, context.arg(1))
}

/// `int inode_removexattr(struct mnt_idmap *idmap, struct dentry *dentry, const char *name)`.
#[lsm(hook = "inode_removexattr")]
pub fn inode_removexattr(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    change(tag, context.arg(1))
}

/// `int inode_set_acl(struct mnt_idmap *idmap, struct dentry *dentry, const char *acl_name, struct posix_acl
/// *kacl)`, since 6.2.
#[lsm(hook = "inode_set_acl")]
pub fn inode_set_acl(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    change(tag, context.arg(1))
}

/// `int inode_remove_acl(struct mnt_idmap *idmap, struct dentry *dentry, const char *acl_name)`, since 6.2.
#[lsm(hook = "inode_remove_acl")]
pub fn inode_remove_acl(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    change(tag, context.arg(1))
}

/// `int inode_file_setattr(struct dentry *dentry, struct file_kattr *fa)`, since 6.17: a file's flags, by
/// path or descriptor.
#[lsm(hook = "inode_file_setattr")]
pub fn inode_file_setattr(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    change(tag, context.arg(0))
}

/// Decides a change to a file by its dentry.
///
/// What has no name, and what is in a file system of the kernel's own, is changed by who has the descriptor.
/// What overlayfs changes in its layers was decided when overlayfs was asked. A thread of io_uring's may have
/// other credentials than it began with because of what its own session did, so they prove nothing.
#[inline(always)]
fn change(tag: &Tag, dentry: *const c_void) -> i32 {
    let inode: *const c_void = member!(dentry, dentry_inode);
    if inode.is_null() || member!(u32, inode, inode_nlink) == 0 {
        return 0;
    }
    if FileSystem::of(dentry as u64).is_internal() {
        return 0;
    }
    if kernel::acts_for_another() && !kernel::is_ring_worker() {
        return 0;
    }
    if is_allowed_elsewhere(tag, dentry as u64) {
        return 0;
    }
    // The first mount last: its refusal is the one that is reported.
    let place = Place::of_dentry(mounts::of(dentry as u64, 0), dentry);
    check::file(tag, inode, &request(place), ptr::null())
}

#[inline(always)]
fn request(place: Place) -> FileRequest {
    FileRequest::new(Operation::FileSetattr, place, Rights::of(Right::Write))
}

/// A file, and the ways to it that are tried beside the first.
struct Ways<'a> {
    tag: &'a Tag,
    dentry: u64,
    allowed: u64,
}

/// Whether the session may change the file by another mount than the first.
#[inline(always)]
fn is_allowed_elsewhere(tag: &Tag, dentry: u64) -> bool {
    let mut ways = Ways { tag, dentry, allowed: 0 };
    let context = (&raw mut ways).cast();
    // SAFETY: the callback has the signature that the helper asks for, and the context is on the stack
    // for as long as the helper runs.
    unsafe { bpf_loop(WAYS - 1, is_allowed_by as *mut c_void, context, 0) };
    // SAFETY: a reference is valid; read anew, since the callback wrote.
    unsafe { ptr::read_volatile(&raw const ways.allowed) != 0 }
}

/// Tries one mount; non-zero when it allows the change, or there are no more.
extern "C" fn is_allowed_by(index: u64, ways: *mut Ways<'_>) -> i64 {
    // SAFETY: the context is `is_allowed_elsewhere`'s.
    let ways = unsafe { &mut *ways };
    let mount = mounts::of(ways.dentry, index + 1);
    if mount == 0 {
        return 1;
    }
    if check::allows(ways.tag, &request(Place::at(mount, ways.dentry))) {
        ways.allowed = 1;
        return 1;
    }
    0
}
