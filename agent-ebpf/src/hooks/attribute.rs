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
use aya_ebpf::{
    EbpfContext as _, helpers::generated::bpf_get_func_arg, macros::lsm, programs::LsmContext,
};

use crate::{
    check, given,
    kernel::{self, FileSystem, Place, peek},
    loops::{self, Context},
    member, mounts, offset,
    request::{FileRequest, Flags},
    subject, volatile,
};

/// `ATTR_TIMES_SET` and `ATTR_TOUCH` (include/linux/fs.h): times that were asked for, not those that come with
/// a write, nor those that overlayfs copies.
const TIMES: u32 = 1 << 16 | 1 << 17;

/// `int inode_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr)`, without the first
/// argument before 6.9. Mode, owner and length are decided by the hooks on paths.
#[lsm(hook = "inode_setattr")]
pub(crate) fn inode_setattr(context: LsmContext) -> i32 {
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
/// size_t size, int flags)`: also lists of access before 6.2. No file gets capabilities, which are to whoever runs it
/// outside of the session what set-id bits are.
#[lsm(hook = "inode_setxattr")]
pub(crate) fn inode_setxattr(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let dentry: *const c_void = context.arg(1);
    let mut value = 0;
    // The verifier gives nobody an argument that points to `const void`.
    // SAFETY: the hook has that argument, and the destination is a word.
    unsafe { bpf_get_func_arg(context.as_ptr(), 3, &raw mut value) };
    if !gives_capabilities(context.arg::<*const c_void>(2) as u64, value) {
        return change(tag, dentry);
    }
    let inode: *const c_void = member!(dentry, dentry_inode);
    if inode.is_null() || is_of_the_kernel(dentry, inode) {
        return 0;
    }
    let place = Place::of_dentry(mounts::find(dentry as u64, 0, 0), dentry);
    let mut request = request(place, Right::Write);
    request.flags = Flags::FORBIDDEN;
    check::name(tag, &request, ptr::null())
}

/// `security.capability`, as words.
const CAPABILITY: [u64; 2] = [u64::from_le_bytes(*b"security"), u64::from_le_bytes(*b".capabil")];
/// Its end.
const CAPABILITY_END: u32 = u32::from_le_bytes(*b"ity\0");

/// Whether an attribute gives a file capabilities: those that are permitted and those that are inherited follow the
/// first word of the value (`struct vfs_cap_data`, include/uapi/linux/capability.h).
#[inline(always)]
fn gives_capabilities(name: u64, value: u64) -> bool {
    if peek::<[u64; 2]>(name) != CAPABILITY || peek::<u32>(name + 16) != CAPABILITY_END {
        return false;
    }
    let [first, second]: [u64; 2] = peek(value + 4);
    first | second != 0
}

/// `int inode_getxattr(struct dentry *dentry, const char *name)`: an attribute can be as secret as the content. Not
/// those of the kernel's own use, which are looked at wherever files are listed, and tell what `stat` tells.
#[lsm(hook = "inode_getxattr")]
pub(crate) fn inode_getxattr(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let name: u64 = peek(context.arg::<*const c_void>(1) as u64);
    if name == CAPABILITY[0] || name << 8 == SYSTEM {
        return 0;
    }
    let dentry: *const c_void = context.arg(0);
    let inode: *const c_void = member!(dentry, dentry_inode);
    if inode.is_null() || given::allows(tag, inode, Rights::of(Right::Read)) {
        return 0;
    }
    decide(tag, dentry, Right::Read)
}

/// `system.` as a word without its last byte, moved up by one.
const SYSTEM: u64 = u64::from_le_bytes(*b"\0system.");

/// `int inode_removexattr(struct mnt_idmap *idmap, struct dentry *dentry, const char *name)`.
#[lsm(hook = "inode_removexattr")]
pub(crate) fn inode_removexattr(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    change(tag, context.arg(1))
}

/// `int inode_set_acl(struct mnt_idmap *idmap, struct dentry *dentry, const char *acl_name, struct posix_acl
/// *kacl)`, since 6.2.
#[lsm(hook = "inode_set_acl")]
pub(crate) fn inode_set_acl(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    change(tag, context.arg(1))
}

/// `int inode_remove_acl(struct mnt_idmap *idmap, struct dentry *dentry, const char *acl_name)`, since 6.2.
#[lsm(hook = "inode_remove_acl")]
pub(crate) fn inode_remove_acl(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    change(tag, context.arg(1))
}

/// `int inode_file_setattr(struct dentry *dentry, struct file_kattr *fa)`, since 6.17: a file's flags, by
/// path or descriptor.
#[lsm(hook = "inode_file_setattr")]
pub(crate) fn inode_file_setattr(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    change(tag, context.arg(0))
}

/// Decides a change to a file by its dentry.
#[inline(always)]
fn change(tag: &Tag, dentry: *const c_void) -> i32 {
    decide(tag, dentry, Right::Write)
}

/// Whether nothing is to be decided about a dentry, which has that inode.
///
/// What has no name, and what is in a file system of the kernel's own, is changed by who has the descriptor.
/// What overlayfs changes in its layers was decided when overlayfs was asked. A thread of io_uring's may have
/// other credentials than it began with because of what its own session did, so they prove nothing.
#[inline(always)]
fn is_of_the_kernel(dentry: *const c_void, inode: *const c_void) -> bool {
    member!(u32, inode, inode_nlink) == 0
        || FileSystem::of(dentry as u64).is_internal()
        || kernel::has_borrowed_credentials() && !kernel::is_io_uring_worker()
}

/// Decides by a file's dentry whether the session may use a right on it.
#[inline(always)]
fn decide(tag: &Tag, dentry: *const c_void, right: Right) -> i32 {
    // Read once: newer verifiers know each read of it as null or not on its own.
    let inode: *const c_void = member!(dentry, dentry_inode);
    if inode.is_null() || is_of_the_kernel(dentry, inode) {
        return 0;
    }
    let readonly = u64::from(right as u8 == Right::Read as u8);
    if is_allowed_elsewhere(tag, dentry as u64, right) {
        return 0;
    }
    // The first mount last: its refusal is the one that is reported.
    let place = Place::of_dentry(mounts::find(dentry as u64, 0, readonly), dentry);
    check::file(tag, inode, &request(place, right), ptr::null())
}

#[inline(always)]
fn request(place: Place, right: Right) -> FileRequest {
    let reads = right as u8 == Right::Read as u8;
    let operation = if reads { Operation::FileOpen } else { Operation::FileSetattr };
    FileRequest::new(operation, place, Rights::of(right))
}

/// A file, and the ways to it that are tried beside the first.
struct Ways<'a> {
    tag: &'a Tag,
    dentry: u64,
    right: Right,
    allowed: u64,
}

/// Whether the session may use the right by another mount than the first.
#[inline(always)]
fn is_allowed_elsewhere(tag: &Tag, dentry: u64, right: Right) -> bool {
    let mut ways = Ways { tag, dentry, right, allowed: 0 };
    loops::repeat(WAYS - 1, is_allowed_by, &mut ways);
    volatile::read(&ways.allowed) != 0
}

/// Tries one mount; non-zero when it allows the use, or there are no more.
extern "C" fn is_allowed_by(index: u64, context: Context<Ways<'_>>) -> i64 {
    let ways = context.get();
    let readonly = u64::from(ways.right as u8 == Right::Read as u8);
    let mount = mounts::find(ways.dentry, index + 1, readonly);
    if mount == 0 {
        return 1;
    }
    if check::allows(ways.tag, &request(Place::at(mount, ways.dentry), ways.right)) {
        ways.allowed = 1;
        return 1;
    }
    0
}
