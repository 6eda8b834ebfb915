//! From a place to its path: up from the dentry to the root of the mount namespace.
//!
//! The components are left in the work area, the last of the path first. A walk counts only if nothing was renamed
//! or mounted meanwhile; else it is made again.

use agent_common::{
    cache::{CachedFolder, NAME_WORDS, PATH_WORDS},
    limits::{COMPONENTS, WALKS},
};

use crate::{
    kernel::{self, Changes, Place},
    loops::{self, Context},
    maps::HOST_ROOT,
    matching,
    scratch::{Area, repeat},
    values::Component,
    volatile,
};

/// [`Scratch::status`](crate::values::Scratch::status): not at the root yet.
const CLIMBING: u64 = 0;
/// Status: the path is known, and is a path of the host.
pub(crate) const FOUND: u64 = 1;
/// Status: no path leads from the host's root to the object. It was unlinked, its mount is detached, or the mount
/// namespace has another root.
pub(crate) const DETACHED: u64 = 2;
/// Status: renames or mount changes did not stop for as long as the walk was tried.
pub(crate) const UNSETTLED: u64 = 3;
/// Status: the object is in a mount that only the kernel has, to which no path leads.
pub(crate) const INTERNAL: u64 = 4;

/// Steps of one walk: components, and mounts between them.
const STEPS: u32 = COMPONENTS as u32 + 256;
/// How often one walk looks at the kernel's counts while a rename or mount change is under way. A change holds a
/// spin lock, so one look is nearly always enough; but a virtual processor that holds the lock may not run for long.
/// The kernel's own walks wait without any limit.
const SPINS: u32 = 1 << 22;

/// Finds the path of `place`, and matches it against the rules of the policy `table` and the session `slot` that the
/// work area names. The result is in the work area: status, components, positions, and the kernel's counts for which
/// they hold. `may_be_unhashed` is not zero if the object's dentry may not be in its parent's list of names.
#[inline(always)]
pub(crate) fn find_and_match(area: Area, place: &Place, may_be_unhashed: u64) {
    start(area, place, may_be_unhashed);
    repeat(WALKS, attempt::<true>, area);
}

/// Finds the path of `place` without matching it, for a report.
#[inline(always)]
pub(crate) fn find_path(area: Area, place: &Place) {
    start(area, place, 1);
    repeat(WALKS, attempt::<false>, area);
}

/// Sets where to walk from.
#[inline(always)]
fn start(area: Area, place: &Place, may_be_unhashed: u64) {
    let s = area.get();
    s.start_mount = place.mount;
    s.start_dentry = place.dentry;
    s.folder = 0;
    s.may_be_unhashed = may_be_unhashed;
    s.status = UNSETTLED;
}

/// One walk; zero, to make it again, if something changed meanwhile.
extern "C" fn attempt<const MATCH: bool>(_: u64, context: Context<Area>) -> i64 {
    let area = *context.get();
    let s = area.get();
    let mut before = Changes::now();
    if !before.are_settled() {
        repeat(SPINS, wait_until_settled, area);
        before = Changes::now();
        if !before.are_settled() {
            return 0;
        }
    }
    s.renames = before.renames;
    s.mounts = before.mounts;
    s.mount = s.start_mount;
    s.dentry = s.start_dentry;
    s.root = kernel::mount_root(s.mount);
    s.covered_root = 0;
    s.count = 0;
    s.status = CLIMBING;
    if s.may_be_unhashed == 0 && s.dentry != s.root && kernel::is_unhashed(s.dentry) {
        s.status = status_without_path(s.mount);
    } else {
        repeat(STEPS, climb, area);
    }
    if MATCH && s.status == FOUND {
        matching::start_at_roots(area);
        matching::follow_components(area);
    }
    if Changes::now() != before {
        s.status = UNSETTLED;
        return 0;
    }
    1
}

/// The status of an object in this mount to which no path of the host leads.
#[inline(always)]
fn status_without_path(mount: u64) -> u64 {
    if kernel::is_internal(mount) { INTERNAL } else { DETACHED }
}

/// Non-zero once no rename or mount change is under way.
extern "C" fn wait_until_settled(_: u64, _: Context<Area>) -> i64 {
    i64::from(Changes::now().are_settled())
}

/// One step towards the root; non-zero at the end.
extern "C" fn climb(_: u64, context: Context<Area>) -> i64 {
    let s = context.get().get();
    if s.dentry == s.root {
        let Some(above) = kernel::mounted_on(s.mount) else {
            // The namespace's first mount is empty, and the real root is mounted on it.
            let root = if s.covered_root == 0 { s.root } else { s.covered_root };
            let host = HOST_ROOT.get(0).copied().unwrap_or(0);
            s.status = if root == host { FOUND } else { status_without_path(s.mount) };
            return 1;
        };
        let root = kernel::mount_root(above.mount);
        // Only a mount on the very root of the mount above stands for that root.
        s.covered_root = match above.dentry == root {
            true if s.covered_root == 0 => s.root,
            true => s.covered_root,
            false => 0,
        };
        s.root = root;
        s.mount = above.mount;
        s.dentry = above.dentry;
        return 0;
    }
    let (parent, len, name) = kernel::parent_and_name(s.dentry);
    let count = s.count;
    if parent == s.dentry || parent == 0 || count >= COMPONENTS as u64 {
        s.status = status_without_path(s.mount);
        return 1;
    }
    if count == 0 {
        s.folder = parent;
        s.folder_mount = s.mount;
    }
    let Some(component) = s.components.get_mut(count as usize) else { return 1 };
    *component = Component { name, dentry: s.dentry, len };
    s.count = count + 1;
    s.covered_root = 0;
    s.dentry = parent;
    0
}

/// How far [`is_same_path`] is. (The fields that begin as zero are not side by side: else the compiler calls a loop
/// of single bytes for them.)
#[repr(C)]
struct Trace {
    entry: *const CachedFolder,
    /// Words of the entry's path that were compared.
    compared: u64,
    mount: u64,
    dentry: u64,
    root: u64,
    /// Whether the root was reached.
    arrived: u64,
}

/// Whether the folder of a place has the path that an entry for that folder, mount and count of mount changes has,
/// name by name. The caller has to see to it that nothing was renamed meanwhile. The root needs no comparison: with
/// the same count, all mounts are where they were.
#[inline(always)]
pub(crate) fn is_same_path(place: &Place, entry: &CachedFolder) -> bool {
    compare_paths(place, entry) != 0
}

/// See [`is_same_path`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn compare_paths(place: *const Place, entry: *const CachedFolder) -> u32 {
    deref_or_return!(place, entry; else return 0);
    let mut trace = Trace {
        entry,
        mount: place.mount,
        dentry: place.parent,
        root: kernel::mount_root(place.mount),
        // Zero. The verifier must not know it, or it goes through the steps once for each number of words.
        compared: u64::from(entry.inode.reserved),
        arrived: 0,
    };
    loops::repeat(STEPS, compare_component, &mut trace);
    let words = volatile::read(&entry.path_words);
    let is_at_root = volatile::read(&trace.arrived) != 0;
    u32::from(is_at_root && words != 0 && volatile::read(&trace.compared) == words)
}

/// One step towards the root; non-zero there, or at a name that differs. (Two names in one step would be a fifth
/// faster, and take the verifier four times as long.)
extern "C" fn compare_component(_: u64, context: Context<Trace>) -> i64 {
    let trace = context.get();
    if trace.dentry == trace.root {
        let Some(above) = kernel::mounted_on(trace.mount) else {
            trace.arrived = 1;
            return 1;
        };
        trace.mount = above.mount;
        trace.dentry = above.dentry;
        trace.root = kernel::mount_root(above.mount);
        return 0;
    }
    let (parent, len, name) = kernel::parent_and_name(trace.dentry);
    let compared = trace.compared;
    if parent == trace.dentry || compared > (PATH_WORDS - 1 - NAME_WORDS) as u64 {
        return 1;
    }
    // SAFETY: from here on the entry has room for a length and the longest name.
    let kept = unsafe { (&raw const (*trace.entry).path).cast::<u64>().add(compared as usize) };
    // SAFETY: as above.
    if unsafe { kept.read_volatile() } != len {
        return 1;
    }
    for word in 0..NAME_WORDS as u64 {
        // The last word has the zero byte behind the name, and maybe bytes of an older name after it: where those
        // differ, the path counts as another.
        if len >= word * 8
            // SAFETY: as above.
            && unsafe { kept.add(1 + word as usize).read_volatile() } != kernel::read_word(name + word * 8)
        {
            return 1;
        }
    }
    trace.compared = compared + 2 + len / 8;
    trace.dentry = parent;
    0
}
