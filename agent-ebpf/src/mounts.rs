//! The mounts by which a dentry can be reached, for hooks that are told the dentry alone.
//!
//! A mount counts if it is in the running task's mount namespace and, for a change, is not read-only. It only says
//! where a walk begins: the walk itself finds out whether the mount is still where it was.

use agent_common::limits::{COMPONENTS, MOUNTS, WALKS};

use crate::{
    kernel::{self, Changes, FileSystem},
    loops::{self, Context},
    volatile,
};

/// What is looked for, and how far the search is.
#[repr(C)]
struct Search {
    dentry: u64,
    files: FileSystem,
    /// The mount namespace.
    namespace: u64,
    /// Not zero if read-only mounts count too.
    readonly: u64,
    /// Link of the next mount in the file system's list.
    link: u64,
    /// How many matches to pass over.
    skip: u64,
    /// How many were passed over.
    skipped: u64,
    found: u64,
}

/// Which mount is wanted. In memory, since older verifiers don't take a number that was a pointer as an argument.
#[repr(C)]
struct Wanted {
    dentry: u64,
    skip: u64,
    readonly: u64,
}

/// Address of a mount by which the dentry can be reached: the one after `skip` others; zero if there are no more.
/// Read-only mounts count too if `readonly` is not zero.
#[inline(always)]
pub(crate) fn find(dentry: u64, skip: u64, readonly: u64) -> u64 {
    find_mount(&Wanted { dentry, skip, readonly })
}

shared!(fn find_mount(wanted: *const Wanted) -> u64, otherwise 0);

/// See [`find`].
#[unsafe(no_mangle)]
#[unsafe(link_section = "freplace/find_mount")]
extern "C" fn shared_find_mount(wanted: *const Wanted) -> u64 {
    deref_or_return!(wanted; else return 0);
    let Wanted { dentry, skip, readonly } = *wanted;
    let files = FileSystem::of(dentry);
    let namespace = kernel::current_mount_namespace();
    // Zero for a task that is about to end. A detached mount has no namespace either, and must not match.
    if namespace == 0 {
        return 0;
    }
    let mut search =
        Search { dentry, files, namespace, readonly, link: 0, skip, skipped: 0, found: 0 };
    loops::repeat(WALKS, attempt, &mut search);
    volatile::read(&search.found)
}

/// Goes over all mounts of the file system. Zero, to do it again, if mounts changed meanwhile, so that one may have been
/// missed.
extern "C" fn attempt(_: u64, context: Context<Search>) -> i64 {
    let s = context.get();
    let before = Changes::now();
    s.link = s.files.first_mount();
    s.skipped = 0;
    loops::repeat(MOUNTS, next, s);
    let s = context.get();
    let is_complete = before.are_settled() && Changes::now() == before;
    i64::from(s.found != 0 || is_complete)
}

/// Looks at one mount; non-zero at the one looked for, and at the end.
extern "C" fn next(_: u64, context: Context<Search>) -> i64 {
    let s = context.get();
    let Some((mount, link)) = s.files.mount_at(s.link) else { return 1 };
    s.link = link;
    let is_useless = s.readonly == 0 && kernel::is_readonly(mount);
    if is_useless || kernel::mount_namespace(mount) != s.namespace {
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

/// A way from a dentry up to a root.
#[repr(C)]
struct Climb {
    dentry: u64,
    root: u64,
    met: u64,
}

/// Whether a dentry is the root, or below it.
#[inline(always)]
fn is_below(dentry: u64, root: u64) -> bool {
    let mut climb = Climb { dentry, root, met: 0 };
    loops::repeat(COMPONENTS as u32, up, &mut climb);
    volatile::read(&climb.met) != 0
}

/// One step up; non-zero at the root, and at the top.
extern "C" fn up(_: u64, context: Context<Climb>) -> i64 {
    let c = context.get();
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
