//! Metadata of files: times, extended attributes, access control lists, flags.
//!
//! The kernel tells these hooks a dentry and no mount. So the mounts are looked for by which the running task can
//! reach the dentry: nearly always there is one. If there are several (bind mounts), the session may change the file
//! if it may do so by one of them, since it could take that one.

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
    subject, untrusted, volatile,
};

/// `ATTR_TIMES_SET` and `ATTR_TOUCH` (include/linux/fs.h): times that the task sets, not those that a write changes
/// or overlayfs copies.
const TIMES: u32 = 1 << 16 | 1 << 17;

/// `int inode_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr)`, without the first
/// argument before 6.9. Mode, owner and length are decided by hooks on paths.
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

/// `int inode_setxattr(struct mnt_idmap *idmap, struct dentry *dentry, const char *name, const void *value, size_t
/// size, int flags)`: before 6.2 also access control lists. No file gets capabilities: outside of the session, they
/// are to whoever runs it what set-id bits are.
#[lsm(hook = "inode_setxattr")]
pub(crate) fn inode_setxattr(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let dentry = untrusted!(dentry at context.arg(1));
    let mut value = 0;
    // The verifier lets no program read an argument of the type `const void *` directly.
    // SAFETY: the hook has that argument, and the destination is a word.
    unsafe { bpf_get_func_arg(context.as_ptr(), 3, &raw mut value) };
    if !gives_capabilities(context.arg::<*const c_void>(2) as u64, value) {
        return change(tag, dentry);
    }
    let inode: *const c_void = member!(dentry, dentry_inode);
    if inode.is_null() || needs_no_decision(dentry, inode) {
        return 0;
    }
    let place = Place::of_dentry(mounts::find(dentry as u64, 0, 0), dentry);
    let mut request = request(place, Right::Write);
    request.flags = Flags::FORBIDDEN;
    check::name(tag, &request, ptr::null())
}

/// `security.capability`, as words.
const CAPABILITY: [u64; 2] = [u64::from_le_bytes(*b"security"), u64::from_le_bytes(*b".capabil")];
/// The end of that name.
const CAPABILITY_END: u32 = u32::from_le_bytes(*b"ity\0");

/// Whether setting an attribute gives a file capabilities. The permitted and the inheritable ones follow the value's
/// first word (`struct vfs_cap_data`, include/uapi/linux/capability.h).
#[inline(always)]
fn gives_capabilities(name: u64, value: u64) -> bool {
    if peek::<[u64; 2]>(name) != CAPABILITY || peek::<u32>(name + 16) != CAPABILITY_END {
        return false;
    }
    let [first, second]: [u64; 2] = peek(value + 4);
    first | second != 0
}

/// `int inode_getxattr(struct dentry *dentry, const char *name)`: an attribute can be as secret as the content. But
/// not `security.capability` and the kernel's own `system.` ones, which are read wherever files are listed, and tell
/// what `stat` tells.
#[lsm(hook = "inode_getxattr")]
pub(crate) fn inode_getxattr(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let name: u64 = peek(context.arg::<*const c_void>(1) as u64);
    if name == CAPABILITY[0] || name << 8 == SYSTEM {
        return 0;
    }
    let dentry = untrusted!(dentry at context.arg(0));
    let inode: *const c_void = member!(dentry, dentry_inode);
    if inode.is_null() || given::allows(tag, inode, Rights::of(Right::Read)) {
        return 0;
    }
    decide(tag, dentry, Right::Read)
}

/// `system.` as a word, without its last byte.
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

/// Whether an operation on a dentry with that inode needs no decision.
///
/// A file without a name, or in a file system of the kernel's own, can be changed by whoever has the descriptor.
/// What overlayfs changes in its layers was decided as an operation on overlayfs. Credentials prove nothing for a
/// worker thread of io_uring, whose session may have changed them.
#[inline(always)]
fn needs_no_decision(dentry: *const c_void, inode: *const c_void) -> bool {
    member!(u32, inode, inode_nlink) == 0
        || FileSystem::of(dentry as u64).is_internal()
        || kernel::has_borrowed_credentials() && !kernel::is_io_uring_worker()
}

/// Decides by a dentry whether the session may use a right on a file.
#[inline(always)]
fn decide(tag: &Tag, dentry: *const c_void, right: Right) -> i32 {
    let dentry = untrusted!(dentry at dentry);
    // Read once: newer verifiers check each read of it for null on its own.
    let inode: *const c_void = member!(dentry, dentry_inode);
    if inode.is_null() || needs_no_decision(dentry, inode) {
        return 0;
    }
    let readonly = u64::from(reads(right));
    if is_allowed_elsewhere(tag, dentry as u64, right) {
        return 0;
    }
    // The first mount comes last: its refusal is the one that is reported.
    let place = Place::of_dentry(mounts::find(dentry as u64, 0, readonly), dentry);
    check::file(tag, inode, &request(place, right), ptr::null())
}

/// Whether a right only reads, so that read-only mounts count too.
#[inline(always)]
fn reads(right: Right) -> bool {
    right as u8 == Right::Read as u8
}

/// The request for a right at a place.
#[inline(always)]
fn request(place: Place, right: Right) -> FileRequest {
    let operation = if reads(right) { Operation::FileOpen } else { Operation::FileSetattr };
    FileRequest::new(operation, place, Rights::of(right))
}

/// A file, and the search for a mount that allows the use.
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
    let readonly = u64::from(reads(ways.right));
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
