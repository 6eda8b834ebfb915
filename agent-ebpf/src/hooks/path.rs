//! Operations on names: making, removing, renaming and linking files, and changing them by path.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    event::Operation,
    id::Tag,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check,
    kernel::{Place, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, file_system_magic, has_set_id_bits},
    matching::PROCFS,
    member,
    request::{FileRequest, Flags},
    subject, untrusted,
};

/// `RENAME_EXCHANGE` (include/uapi/linux/fs.h).
const RENAME_EXCHANGE: u32 = 2;

/// The place of a dentry in the folder of a typed `struct path`.
#[inline(always)]
fn below(folder: *const c_void, dentry: *const c_void) -> Place {
    Place::of_dentry(member!(folder, path_mnt), dentry)
}

/// The place of a name that is being made in the folder of a typed `struct path`: its dentry may not be in the
/// folder's list of names yet.
#[inline(always)]
fn new_place(folder: *const c_void, dentry: *const c_void) -> Place {
    Place {
        mount: member!(folder, path_mnt),
        dentry: dentry as u64,
        parent: member!(folder, path_dentry),
        name: 0,
    }
}

/// Whether a dentry's file has no name: it was removed, or never had one. (Only a file of `O_TMPFILE` can still get
/// a name: `vfs_link`, fs/namei.c.) It belongs to whoever holds it open.
#[inline(always)]
fn is_unnamed(dentry: *const c_void) -> bool {
    let inode: *const c_void = member!(dentry, dentry_inode);
    !inode.is_null() && member!(u32, inode, inode_nlink) == 0
}

/// Decides making a name in a folder, for a file with this mode.
#[inline(always)]
fn create(context: &LsmContext, mode: u16) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let place = new_place(context.arg(0), context.arg(1));
    // Nothing can be made in procfs. The kernel asks all the same, before it looks whether the name exists.
    if file_system_magic(place.parent) == PROCFS {
        return 0;
    }
    let mut request = FileRequest::new(Operation::FileCreate, place, Rights::of(Right::Create));
    request.flags = if has_set_id_bits(mode) {
        Flags::MAY_BE_UNHASHED.with(Flags::FORBIDDEN)
    } else {
        Flags::MAY_BE_UNHASHED
    };
    check::name(tag, &request, ptr::null())
}

/// Decides removing a name from a folder.
#[inline(always)]
fn delete(context: &LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let place = below(context.arg(0), context.arg(1));
    let request = FileRequest::new(Operation::FileDelete, place, Rights::of(Right::Delete));
    // By name: there is nothing to cache for a file that is going.
    check::name(tag, &request, ptr::null())
}

/// Decides changing a file by a typed `struct path`. A file without a name (a removed temporary file, a memory file)
/// can be changed by whoever holds it open: by a descriptor (`fchmod`, and `ftruncate` on 6.1).
#[inline(always)]
fn change(context: &LsmContext, flags: Flags) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let path = untrusted!(path at context.arg(0));
    let dentry: *const c_void = member!(path, path_dentry);
    if is_unnamed(dentry) {
        return 0;
    }
    let mut request =
        FileRequest::new(Operation::FileSetattr, below(path, dentry), Rights::of(Right::Write));
    request.flags = Flags::ALLOW_INTERNAL_MOUNT.with(flags);
    existing(tag, dentry, &request, ptr::null())
}

/// Decides for a dentry that may have no inode after all.
#[inline(always)]
fn existing(tag: &Tag, dentry: *const c_void, request: &FileRequest, to: *const Place) -> i32 {
    let inode: *const c_void = member!(dentry, dentry_inode);
    if inode.is_null() {
        return check::name(tag, request, to);
    }
    check::file(tag, inode, request, to)
}

/// Whether a dentry is a folder.
#[inline(always)]
fn is_folder(dentry: *const c_void) -> bool {
    let inode: *const c_void = member!(dentry, dentry_inode);
    !inode.is_null() && member!(u16, inode, inode_mode) & S_IFMT == S_IFDIR
}

/// Whether a dentry is something of which a copy would not do the same: a socket, a device, a named pipe.
#[inline(always)]
fn is_special(dentry: *const c_void) -> bool {
    let inode: *const c_void = member!(dentry, dentry_inode);
    if inode.is_null() {
        return false;
    }
    let kind = member!(u16, inode, inode_mode) & S_IFMT;
    kind != S_IFREG && kind != S_IFDIR && kind != S_IFLNK
}

/// `int path_mknod(const struct path *dir, struct dentry *dentry, umode_t mode, unsigned int dev)`: also before
/// `open` makes a file.
#[lsm(hook = "path_mknod")]
pub(crate) fn path_mknod(context: LsmContext) -> i32 {
    create(&context, context.arg(2))
}

/// `int path_mkdir(const struct path *dir, struct dentry *dentry, umode_t mode)`.
#[lsm(hook = "path_mkdir")]
pub(crate) fn path_mkdir(context: LsmContext) -> i32 {
    create(&context, 0)
}

/// `int path_symlink(const struct path *dir, struct dentry *dentry, const char *old_name)`.
#[lsm(hook = "path_symlink")]
pub(crate) fn path_symlink(context: LsmContext) -> i32 {
    create(&context, 0)
}

/// `int path_unlink(const struct path *dir, struct dentry *dentry)`.
#[lsm(hook = "path_unlink")]
pub(crate) fn path_unlink(context: LsmContext) -> i32 {
    delete(&context)
}

/// `int path_rmdir(const struct path *dir, struct dentry *dentry)`.
#[lsm(hook = "path_rmdir")]
pub(crate) fn path_rmdir(context: LsmContext) -> i32 {
    delete(&context)
}

/// `int path_truncate(const struct path *path)`.
#[lsm(hook = "path_truncate")]
pub(crate) fn path_truncate(context: LsmContext) -> i32 {
    change(&context, Flags::MAY_BE_HELD)
}

/// `int path_chmod(const struct path *path, umode_t mode)`: no file gets set-id bits. On a folder, these bits give
/// the group to what is made in it.
#[lsm(hook = "path_chmod")]
pub(crate) fn path_chmod(context: LsmContext) -> i32 {
    if !has_set_id_bits(context.arg(1)) {
        return change(&context, Flags::NONE);
    }
    let Some(tag) = &subject::current() else { return 0 };
    let path = untrusted!(path at context.arg(0));
    let dentry: *const c_void = member!(path, path_dentry);
    if is_folder(dentry) {
        return change(&context, Flags::NONE);
    }
    let place = below(path, dentry);
    let mut request = FileRequest::new(Operation::FileSetattr, place, Rights::of(Right::Write));
    request.flags = Flags::FORBIDDEN;
    check::name(tag, &request, ptr::null())
}

/// `int path_chown(const struct path *path, kuid_t uid, kgid_t gid)`.
#[lsm(hook = "path_chown")]
pub(crate) fn path_chown(context: LsmContext) -> i32 {
    change(&context, Flags::NONE)
}

/// `int path_notify(const struct path *path, u64 mask, unsigned int obj_type)`: a watch tells what others do with a
/// file, so it needs what opening the file needs.
#[lsm(hook = "path_notify")]
pub(crate) fn path_notify(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let path = untrusted!(path at context.arg(0));
    let dentry: *const c_void = member!(path, path_dentry);
    let request =
        FileRequest::new(Operation::FileOpen, below(path, dentry), Rights::of(Right::Read));
    existing(tag, dentry, &request, ptr::null())
}

/// `int path_link(struct dentry *old_dentry, const struct path *new_dir, struct dentry *new_dentry)`: both are in
/// the same mount (`do_linkat`, fs/namei.c). The new name must not give more rights than the old one: a session that
/// may read and write the file could as well copy it.
#[lsm(hook = "path_link")]
pub(crate) fn path_link(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let old = untrusted!(dentry at context.arg(0));
    let folder = untrusted!(path at context.arg(1));
    let rights = Rights::of(Right::Read).with(Right::Write);
    let mut leaving = FileRequest::new(Operation::FileLink, below(folder, old), rights);
    let mut arriving =
        arriving(Operation::FileLink, new_place(folder, context.arg(2)), Flags::NONE);
    let to = &raw const arriving.place;
    let verdict = if is_unnamed(old) { 0 } else { existing(tag, old, &leaving, to) };
    if verdict != 0 {
        return verdict;
    }
    let verdict = check::name(tag, &arriving, &raw const leaving.place);
    if verdict != 0 || !is_special(old) {
        return verdict;
    }
    (leaving.flags, arriving.flags) =
        (Flags::COMPARES_LABELS, arriving.flags.with(Flags::COMPARES_LABELS));
    check::refuse_gained_rights(tag, &leaving, &arriving)
}

/// `int path_rename(const struct path *old_dir, struct dentry *old_dentry, const struct path *new_dir, struct dentry
/// *new_dentry, unsigned int flags)`. For an exchange, some kernels ask once for each direction and others once in
/// all: so both ends need everything here.
#[lsm(hook = "path_rename")]
pub(crate) fn path_rename(context: LsmContext) -> i32 {
    if subject::is_surely_untagged() {
        return 0;
    }
    rename(context.arg(0), context.arg(1), context.arg(2), context.arg(3), context.arg(4))
}

/// Decides a rename. Not inlined: an untagged task should not pay for the registers that this needs.
#[inline(never)]
fn rename(
    old_folder: *const c_void,
    old: *const c_void,
    new_folder: *const c_void,
    new: *const c_void,
    flags: u32,
) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    let leave = Rights::of(Right::Delete).with(Right::Read).with(Right::Write);
    let folder = is_folder(old) || is_folder(new);
    let whole = if folder { Flags::MOVES_SUBTREE } else { Flags::NONE };
    let mut leaving = FileRequest::new(Operation::FileRename, below(old_folder, old), leave);
    leaving.flags = whole;
    let mut arriving = arriving(Operation::FileRename, new_place(new_folder, new), whole);
    if flags & RENAME_EXCHANGE != 0 {
        leaving.rights = leave.with(Right::Create);
        arriving.rights = leaving.rights;
    }
    let inode: *const c_void = member!(new, dentry_inode);
    if !inode.is_null() {
        arriving.rights = arriving.rights.with(Right::Delete);
    }
    if allows_both(tag, &mut leaving, &arriving, whole) {
        return 0;
    }
    let to = &raw const arriving.place;
    let mut verdict = check::name(tag, &leaving, to);
    if verdict == 0 {
        verdict = check::name(tag, &arriving, &raw const leaving.place);
    }
    leaving.flags = leaving.flags.with(Flags::COMPARES_LABELS);
    arriving.flags = arriving.flags.with(Flags::COMPARES_LABELS);
    if verdict == 0 && (is_folder(old) || is_special(old)) {
        verdict = check::refuse_gained_rights(tag, &leaving, &arriving);
    }
    if verdict == 0 && flags & RENAME_EXCHANGE != 0 && (is_folder(new) || is_special(new)) {
        verdict = check::refuse_gained_rights(tag, &arriving, &leaving);
    }
    verdict
}

/// Whether both ends are in one folder in which no rule tells names apart, and the session may do both there. Nearly
/// every rename is like this, and the rename before has made the cached entry of the folder doubtful. No rule names
/// anything below either name, so nothing gains rights by the rename.
#[inline(always)]
fn allows_both(tag: &Tag, leaving: &mut FileRequest, arriving: &FileRequest, whole: Flags) -> bool {
    if leaving.place.mount != arriving.place.mount || leaving.place.parent != arriving.place.parent
    {
        return false;
    }
    // Not a second request: the stack is short.
    let rights = leaving.rights;
    leaving.rights = rights.union(arriving.rights);
    leaving.flags = Flags::EVERY_NAME;
    let is_allowed = check::allows_every_name(tag, leaving);
    leaving.rights = rights;
    leaving.flags = whole;
    is_allowed
}

/// The request for the destination of a link or rename.
#[inline(always)]
fn arriving(operation: Operation, place: Place, flags: Flags) -> FileRequest {
    let mut request = FileRequest::new(operation, place, Rights::of(Right::Create));
    request.flags = flags.with(Flags::MAY_BE_UNHASHED).with(Flags::IS_DESTINATION);
    request
}
