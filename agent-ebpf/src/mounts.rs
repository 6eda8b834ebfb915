//! The mounts by which a dentry can be reached, for hooks that are told the dentry alone.
//!
//! Those count that are in the running task's mount namespace and, for a change, not read-only. What they are is only where
//! to walk from: the walk itself finds out whether a mount still is where it was.

use agent_common::limits::{COMPONENTS, MOUNTS, WALKS};

use crate::{
    kernel::{self, Changes, FileSystem},
    loops,
};

/// What is looked for, and how far the search came.
#[repr(C)]
struct Search {
    dentry: u64,
    files: FileSystem,
    /// The namespace.
    namespace: u64,
    /// Not zero where those count too by which nothing can be changed.
    readonly: u64,
    /// Where the next mount is linked.
    link: u64,
    /// How many that would do are passed over.
    skip: u64,
    /// How many were passed over.
    skipped: u64,
    found: u64,
}

/// Which mount is wanted. (Older verifiers take no pointer for a number where a function gets it, but in memory.)
#[repr(C)]
struct Wanted {
    dentry: u64,
    skip: u64,
    readonly: u64,
}

/// A mount by which the dentry can be reached, as an address: the one after `skip` others; zero if there are
/// no more. `readonly` is not zero where those count too by which nothing can be changed.
#[inline(always)]
pub(crate) fn find(dentry: u64, skip: u64, readonly: u64) -> u64 {
    find_mount(&Wanted { dentry, skip, readonly })
}

shared!(fn find_mount(wanted: *const Wanted) -> u64, otherwise 0);

/// As [`of`].
#[unsafe(no_mangle)]
#[unsafe(link_section = "freplace/find_mount")]
extern "C" fn shared_find_mount(wanted: *const Wanted) -> u64 {
    deref_or_return!(wanted; else return 0);
    let Wanted { dentry, skip, readonly } = *wanted;
    let files = FileSystem::of(dentry);
    let namespace = kernel::current_mount_namespace();
    // A task that is about to end has none; neither has a mount that was taken off.
    if namespace == 0 {
        return 0;
    }
    let mut search =
        Search { dentry, files, namespace, readonly, link: 0, skip, skipped: 0, found: 0 };
    loops::repeat(WALKS, attempt, &mut search);
    // SAFETY: a reference is valid; read anew, since the callback wrote.
    unsafe { core::ptr::read_volatile(&raw const search.found) }
}

/// Goes over all mounts; again if one may have been missed because mounts changed meanwhile.
extern "C" fn attempt(_: u64, context: *mut Search) -> i64 {
    // SAFETY: the context is `shared_find_mount`'s.
    let s = unsafe { &mut *context };
    let before = Changes::now();
    s.link = s.files.first_mount();
    s.skipped = 0;
    loops::repeat(MOUNTS, next, s);
    let settled = before.are_settled() && Changes::now() == before;
    i64::from(s.found != 0 || settled)
}

/// Looks at one mount; non-zero at the one looked for, and at the end.
extern "C" fn next(_: u64, context: *mut Search) -> i64 {
    // SAFETY: as in `attempt`.
    let s = unsafe { &mut *context };
    let Some((mount, link)) = s.files.mount_at(s.link) else { return 1 };
    s.link = link;
    let is_spare = s.readonly == 0 && kernel::is_readonly(mount);
    if is_spare || kernel::mount_namespace(mount) != s.namespace {
        return 0;
    }
    let root = kernel::mount_root(mount);
    if root != s.files.root && !is_below(s.dentry, root) {
        return 0;
    }
    if s.skipped < s.skip {
        s.skipped += 1;
        return 0;
    }
    s.found = mount;
    1
}

/// A way up.
#[repr(C)]
struct Climb {
    dentry: u64,
    root: u64,
    met: u64,
}

/// Whether one dentry is the other, or below it.
#[inline(always)]
fn is_below(dentry: u64, root: u64) -> bool {
    let mut climb = Climb { dentry, root, met: 0 };
    loops::repeat(COMPONENTS as u32, up, &mut climb);
    // SAFETY: a reference is valid; read anew, since the callback wrote.
    unsafe { core::ptr::read_volatile(&raw const climb.met) != 0 }
}

/// One step up; non-zero at the dentry looked for, and at the top.
extern "C" fn up(_: u64, context: *mut Climb) -> i64 {
    // SAFETY: the context is `is_below`'s.
    let c = unsafe { &mut *context };
    if c.dentry == c.root {
        c.met = 1;
        return 1;
    }
    let (parent, ..) = kernel::parent_and_name(c.dentry);
    if parent == c.dentry || parent == 0 {
        return 1;
    }
    c.dentry = parent;
    0
}
