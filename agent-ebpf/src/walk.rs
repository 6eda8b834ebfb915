//! From a place to its path: up from the dentry to the root of the mount namespace.
//!
//! The components are left in the work area, the last of the path first. A walk is only believed when
//! nothing was renamed or mounted meanwhile; else it is made again.

use agent_common::{
    cache::{CachedFolder, NAME_WORDS, PATH_WORDS},
    limits::{COMPONENTS, WALKS},
};

use crate::{
    kernel::{self, Changes, Place},
    loops,
    maps::HOST_ROOT,
    matching,
    scratch::repeat,
    values::{Component, Scratch},
};

/// [`Scratch::status`]: not at the root yet.
const CLIMBING: u64 = 0;
/// [`Scratch::status`]: the path is known, and is a path of the host.
pub(crate) const FOUND: u64 = 1;
/// [`Scratch::status`]: there is no path from the host's root to the object: it was unlinked, its mount
/// is detached, or the mount namespace has another root.
pub(crate) const DETACHED: u64 = 2;
/// [`Scratch::status`]: renames or mounts went on and on.
pub(crate) const UNSETTLED: u64 = 3;
/// [`Scratch::status`]: the object is in a mount of the kernel's own, which nobody has a path to.
pub(crate) const INTERNAL: u64 = 4;

/// Steps of one climb: the components, and the mounts between them.
const STEPS: u32 = COMPONENTS as u32 + 256;
/// Looks at the counters while a rename or mount is under way, for each walk: it holds a spin lock, so one look
/// is nearly always enough. A virtual processor that holds the lock may be kept from running for long; the
/// kernel's own walks wait without any limit.
const SPINS: u32 = 1 << 22;

/// Finds the path of `place` and matches it against the policy of the area's `table` and the rules of its
/// `slot`'s session. The result is in the work area: status, components, positions, and the counters for
/// which it holds. `fresh`: the object may not have its name yet.
#[inline(always)]
pub(crate) fn find_and_match(area: *mut Scratch, place: &Place, may_be_unhashed: u64) {
    start(area, place, may_be_unhashed);
    repeat(WALKS, attempt::<true>, area);
}

/// Finds the path of `place`, and no more: for a record.
#[inline(always)]
pub(crate) fn find_path(area: *mut Scratch, place: &Place) {
    start(area, place, 1);
    repeat(WALKS, attempt::<false>, area);
}

/// Says where to walk from.
#[inline(always)]
fn start(area: *mut Scratch, place: &Place, may_be_unhashed: u64) {
    // SAFETY: the area is ours until it is released.
    let s = unsafe { &mut *area };
    s.start_mount = place.mount;
    s.start_dentry = place.dentry;
    s.folder = 0;
    s.may_be_unhashed = may_be_unhashed;
    s.status = UNSETTLED;
}

/// One walk, kept if nothing changed meanwhile.
extern "C" fn attempt<const MATCH: bool>(_: u64, context: *mut *mut Scratch) -> i64 {
    // SAFETY: the context is `repeat`'s.
    let area = unsafe { *context };
    // SAFETY: the area is ours until it is released.
    let s = unsafe { &mut *area };
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

/// The status of what has no path of the host, in a mount.
#[inline(always)]
fn status_without_path(mount: u64) -> u64 {
    if kernel::is_internal(mount) { INTERNAL } else { DETACHED }
}

/// Waits for a rename or mount change to end.
extern "C" fn wait_until_settled(_: u64, _: *mut *mut Scratch) -> i64 {
    i64::from(Changes::now().are_settled())
}

/// One step towards the root.
extern "C" fn climb(_: u64, context: *mut *mut Scratch) -> i64 {
    // SAFETY: the context is `repeat`'s, the area ours until it is released.
    let s = unsafe { &mut **context };
    if s.dentry == s.root {
        let Some(above) = kernel::mounted_on(s.mount) else {
            // The namespace's first mount is an empty one that the real root covers.
            let root = if s.covered_root == 0 { s.root } else { s.covered_root };
            let host = HOST_ROOT.get(0).copied().unwrap_or(0);
            s.status = if root == host { FOUND } else { status_without_path(s.mount) };
            return 1;
        };
        let root = kernel::mount_root(above.mount);
        // Only what is mounted on the very root of the mount above stands for that root.
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

/// Where [`is_same_path`] is. (What begins as zero is apart: the compiler would call a loop of bytes for both.)
#[repr(C)]
struct Trace {
    entry: *const CachedFolder,
    /// Words of the kept path that were compared.
    compared: u64,
    mount: u64,
    dentry: u64,
    root: u64,
    /// Whether the root was reached.
    arrived: u64,
}

/// Whether the path of a place's folder is the one that is kept in an entry for that folder, mount and count
/// of mount changes, name by name. Only believed by who sees that nothing was renamed meanwhile.
///
/// It ends at the same root: what is mounted where is as it was.
#[inline(always)]
pub(crate) fn is_same_path(place: &Place, entry: &CachedFolder) -> bool {
    compare_paths(place, entry) != 0
}

/// As [`is_same_path`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn compare_paths(place: *const Place, entry: *const CachedFolder) -> u32 {
    deref_or_return!(place, entry; else return 0);
    let mut trace = Trace {
        entry,
        mount: place.mount,
        dentry: place.parent,
        root: kernel::mount_root(place.mount),
        // Zero, but not to the verifier, which would go through the steps once for each number of words.
        compared: u64::from(entry.inode.reserved),
        arrived: 0,
    };
    loops::repeat(STEPS, compare_component, &mut trace);
    // SAFETY: references are valid; read anew, since the callback wrote.
    unsafe {
        let (arrived, compared) = (&raw const trace.arrived, &raw const trace.compared);
        let words = (&raw const entry.path_words).read_volatile();
        u32::from(arrived.read_volatile() != 0 && words != 0 && compared.read_volatile() == words)
    }
}

/// One step towards the root; non-zero there, or at a name that is not the one that is kept. (Two in one call would
/// spare a fifth, and make the verifier go through four times as much.)
extern "C" fn compare_component(_: u64, context: *mut Trace) -> i64 {
    // SAFETY: the context is `is_same_path`'s.
    let trace = unsafe { &mut *context };
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
    // SAFETY: at least as many words follow in the entry as a name has at most.
    let kept = unsafe { (&raw const (*trace.entry).path).cast::<u64>().add(compared as usize) };
    // SAFETY: as above; volatile, since another processor may be writing.
    if unsafe { kept.read_volatile() } != len {
        return 1;
    }
    for word in 0..NAME_WORDS as u64 {
        // The last word has the byte behind the name, and maybe bytes of an older name behind that: where those
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
