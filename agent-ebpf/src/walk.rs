//! From a place to its path: up from the dentry to the root of the mount namespace.
//!
//! The components are left in the work area, the last of the path first. A walk is only believed when
//! nothing was renamed or mounted meanwhile; else it is made again.

use core::ffi::c_void;

use agent_common::limits::{COMPONENTS, WALKS};
use aya_ebpf::helpers::generated::bpf_loop;

use crate::{
    kernel::{self, Changes, Place},
    maps::HOST_ROOT,
    matching,
    scratch::{Component, Scratch},
};

/// [`Scratch::status`]: not at the root yet.
const CLIMBING: u64 = 0;
/// [`Scratch::status`]: the path is known, and is a path of the host.
pub const FOUND: u64 = 1;
/// [`Scratch::status`]: there is no path from the host's root to the object: it was unlinked, its mount
/// is detached, or the mount namespace has another root.
pub const DETACHED: u64 = 2;
/// [`Scratch::status`]: renames or mounts went on and on.
pub const UNSETTLED: u64 = 3;
/// [`Scratch::status`]: the object is in a mount of the kernel's own, which nobody has a path to.
pub const INTERNAL: u64 = 4;

/// Steps of one climb: the components, and the mounts between them.
const STEPS: u32 = COMPONENTS as u32 + 256;
/// Looks at the counters while a rename or mount is under way: it holds a spin lock, so this is short,
/// unless a virtual processor is not running.
const SPINS: u32 = 1 << 22;

/// Calls `step` up to `times`, until it returns non-zero, with the work area.
#[inline(always)]
pub fn repeat(times: u32, step: extern "C" fn(u64, *mut *mut Scratch) -> i64, area: *mut Scratch) {
    let mut context = area;
    // SAFETY: `step` has the signature that the helper asks for, and the context is on the stack for as
    // long as the helper runs.
    unsafe {
        bpf_loop(times, step as *mut c_void, (&raw mut context).cast(), 0);
    }
}

/// Finds the path of `place` and matches it against the policy of the area's `table` and the rules of its
/// `slot`'s session. The result is in the work area: status, components, positions, and the counters for
/// which it holds. `fresh`: the object may not have its name yet.
#[inline(always)]
pub fn resolve(area: *mut Scratch, place: &Place, fresh: u64) {
    start(area, place, fresh);
    repeat(WALKS, attempt::<true>, area);
}

/// Finds the path of `place`, and no more: for a record.
#[inline(always)]
pub fn locate(area: *mut Scratch, place: &Place) {
    start(area, place, 1);
    repeat(WALKS, attempt::<false>, area);
}

/// Says where to walk from.
#[inline(always)]
fn start(area: *mut Scratch, place: &Place, fresh: u64) {
    // SAFETY: the area is ours until it is released.
    let s = unsafe { &mut *area };
    s.start_mount = place.mount;
    s.start_dentry = place.dentry;
    s.fresh = fresh;
    s.status = UNSETTLED;
}

/// One walk, kept if nothing changed meanwhile.
extern "C" fn attempt<const MATCH: bool>(_: u64, context: *mut *mut Scratch) -> i64 {
    // SAFETY: the context is `repeat`'s.
    let area = unsafe { *context };
    // SAFETY: the area is ours until it is released.
    let s = unsafe { &mut *area };
    let mut before = Changes::now();
    if !before.settled() {
        repeat(SPINS, wait, area);
        before = Changes::now();
        if !before.settled() {
            s.status = UNSETTLED;
            return 1;
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
    if s.fresh == 0 && s.dentry != s.root && kernel::is_unhashed(s.dentry) {
        s.status = nowhere(s.mount);
    } else {
        repeat(STEPS, climb, area);
    }
    if MATCH && s.status == FOUND {
        matching::begin(area);
        // Two steps for each component: one for the shared rules, one for the session's own.
        repeat(2 * COMPONENTS as u32, matching::descend, area);
    }
    if Changes::now() != before {
        s.status = UNSETTLED;
        return 0;
    }
    1
}

/// The status of what has no path of the host, in a mount.
#[inline(always)]
fn nowhere(mount: u64) -> u64 {
    if kernel::is_internal(mount) { INTERNAL } else { DETACHED }
}

/// Waits for a rename or mount change to end.
extern "C" fn wait(_: u64, _: *mut *mut Scratch) -> i64 {
    i64::from(Changes::now().settled())
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
            s.status = if root == host { FOUND } else { nowhere(s.mount) };
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
    let [parent, hash_and_len, name] = kernel::parent_and_name(s.dentry);
    let count = s.count;
    if parent == s.dentry || parent == 0 || count >= COMPONENTS as u64 {
        s.status = nowhere(s.mount);
        return 1;
    }
    let Some(component) = s.components.get_mut(count as usize) else { return 1 };
    // `struct qstr` is hash and length, then the pointer (include/linux/dcache.h).
    *component = Component { name, dentry: s.dentry, len: hash_and_len >> 32 };
    s.count = count + 1;
    s.covered_root = 0;
    s.dentry = parent;
    0
}
