//! Operations on names: making, removing, renaming, linking, changing by path.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    event::Operation,
    id::Tag,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check::{self, ARRIVING, FRESH, FileRequest, WHOLE},
    kernel::{Place, load},
    offset, subject,
};

/// `S_IFMT` and `S_IFDIR` (include/uapi/linux/stat.h).
const S_IFMT: u16 = 0o170_000;
const S_IFDIR: u16 = 0o040_000;
/// `RENAME_EXCHANGE` (include/uapi/linux/fs.h).
const RENAME_EXCHANGE: u32 = 2;

/// The place of a dentry that lies in the folder of a typed `struct path`.
#[inline(always)]
fn below(folder: *const c_void, dentry: *const c_void) -> Place {
    Place::of_dentry(load(folder, offset!(path_mnt)), dentry)
}

/// Whether the dentry is of a file that never had a name (`O_TMPFILE`): only those without any link can
/// still get one (`vfs_link`, fs/namei.c), and who holds it open has it.
#[inline(always)]
fn is_unnamed(dentry: *const c_void) -> bool {
    let inode: *const c_void = load(dentry, offset!(dentry_inode));
    !inode.is_null() && load::<u32>(inode, offset!(inode_nlink)) == 0
}

/// Making a name in a folder.
#[inline(always)]
fn create(context: &LsmContext) -> i32 {
    let Some(tag) = subject::current() else { return 0 };
    let place = below(context.arg(0), context.arg(1));
    let mut request = FileRequest::new(Operation::FileCreate, place, Rights::of(Right::Create));
    request.flags = FRESH;
    check::name(tag, &request, ptr::null())
}

/// Removing a name from a folder.
#[inline(always)]
fn delete(context: &LsmContext) -> i32 {
    let Some(tag) = subject::current() else { return 0 };
    let dentry: *const c_void = context.arg(1);
    let place = below(context.arg(0), dentry);
    let request = FileRequest::new(Operation::FileDelete, place, Rights::of(Right::Delete));
    existing(tag, dentry, &request, ptr::null())
}

/// Changing a file by a typed `struct path`.
#[inline(always)]
fn change(context: &LsmContext) -> i32 {
    let Some(tag) = subject::current() else { return 0 };
    let path: *const c_void = context.arg(0);
    let dentry: *const c_void = load(path, offset!(path_dentry));
    let request =
        FileRequest::new(Operation::FileSetattr, below(path, dentry), Rights::of(Right::Write));
    existing(tag, dentry, &request, ptr::null())
}

/// Decides for a dentry that may turn out to have no inode.
#[inline(always)]
fn existing(
    tag: &'static Tag,
    dentry: *const c_void,
    request: &FileRequest,
    to: *const Place,
) -> i32 {
    let inode: *const c_void = load(dentry, offset!(dentry_inode));
    if inode.is_null() {
        return check::name(tag, request, to);
    }
    check::file(tag, inode, request, to)
}

/// Whether the dentry is a folder's.
#[inline(always)]
fn is_folder(dentry: *const c_void) -> bool {
    let inode: *const c_void = load(dentry, offset!(dentry_inode));
    !inode.is_null() && load::<u16>(inode, offset!(inode_mode)) & S_IFMT == S_IFDIR
}

/// `int path_mknod(const struct path *dir, struct dentry *dentry, umode_t mode, unsigned int dev)`: also
/// before `open` makes a file.
#[lsm(hook = "path_mknod")]
pub fn path_mknod(context: LsmContext) -> i32 {
    create(&context)
}

/// `int path_mkdir(const struct path *dir, struct dentry *dentry, umode_t mode)`.
#[lsm(hook = "path_mkdir")]
pub fn path_mkdir(context: LsmContext) -> i32 {
    create(&context)
}

/// `int path_symlink(const struct path *dir, struct dentry *dentry, const char *old_name)`.
#[lsm(hook = "path_symlink")]
pub fn path_symlink(context: LsmContext) -> i32 {
    create(&context)
}

/// `int path_unlink(const struct path *dir, struct dentry *dentry)`.
#[lsm(hook = "path_unlink")]
pub fn path_unlink(context: LsmContext) -> i32 {
    delete(&context)
}

/// `int path_rmdir(const struct path *dir, struct dentry *dentry)`.
#[lsm(hook = "path_rmdir")]
pub fn path_rmdir(context: LsmContext) -> i32 {
    delete(&context)
}

/// `int path_truncate(const struct path *path)`.
#[lsm(hook = "path_truncate")]
pub fn path_truncate(context: LsmContext) -> i32 {
    change(&context)
}

/// `int path_chmod(const struct path *path, umode_t mode)`.
#[lsm(hook = "path_chmod")]
pub fn path_chmod(context: LsmContext) -> i32 {
    change(&context)
}

/// `int path_chown(const struct path *path, kuid_t uid, kgid_t gid)`.
#[lsm(hook = "path_chown")]
pub fn path_chown(context: LsmContext) -> i32 {
    change(&context)
}

/// `int path_link(struct dentry *old_dentry, const struct path *new_dir, struct dentry *new_dentry)`: both
/// in the same mount (`do_linkat`, fs/namei.c). The new name must give nothing that the old one did not:
/// who may read and write the file could as well copy it.
#[lsm(hook = "path_link")]
pub fn path_link(context: LsmContext) -> i32 {
    let Some(tag) = subject::current() else { return 0 };
    let old: *const c_void = context.arg(0);
    let folder: *const c_void = context.arg(1);
    let from = below(folder, old);
    let to = below(folder, context.arg(2));
    let rights = Rights::of(Right::Read).with(Right::Write);
    let mut request = FileRequest::new(Operation::FileLink, from, rights);
    let verdict = if is_unnamed(old) { 0 } else { existing(tag, old, &request, &raw const to) };
    if verdict != 0 {
        return verdict;
    }
    arrive(tag, &mut request, to, Rights::of(Right::Create))
}

/// `int path_rename(const struct path *old_dir, struct dentry *old_dentry, const struct path *new_dir,
/// struct dentry *new_dentry, unsigned int flags)`; an exchange asks once for each direction in some
/// kernels and once in others, so both ends are asked for everything here.
#[lsm(hook = "path_rename")]
pub fn path_rename(context: LsmContext) -> i32 {
    let Some(tag) = subject::current() else { return 0 };
    let old: *const c_void = context.arg(1);
    let new: *const c_void = context.arg(3);
    let from = below(context.arg(0), old);
    let to = below(context.arg(2), new);
    let leave = Rights::of(Right::Delete).with(Right::Read).with(Right::Write);
    let mut request = FileRequest::new(Operation::FileRename, from, leave);
    let folder = is_folder(old) || is_folder(new);
    request.flags = if folder { WHOLE } else { 0 };
    let mut arriving = Rights::of(Right::Create);
    if context.arg::<u32>(4) & RENAME_EXCHANGE != 0 {
        request.rights = leave.with(Right::Create);
        arriving = request.rights;
    }
    let verdict = if folder {
        check::name(tag, &request, &raw const to)
    } else {
        existing(tag, old, &request, &raw const to)
    };
    if verdict != 0 {
        return verdict;
    }
    let inode: *const c_void = load(new, offset!(dentry_inode));
    if !inode.is_null() {
        arriving = arriving.with(Right::Delete);
    }
    arrive(tag, &mut request, to, arriving)
}

/// The new end of a link or rename.
#[inline(always)]
fn arrive(tag: &'static Tag, request: &mut FileRequest, to: Place, rights: Rights) -> i32 {
    let from = request.place;
    request.place = to;
    request.rights = rights;
    request.flags |= FRESH | ARRIVING;
    check::name(tag, request, &raw const from)
}
