//! The label cache: the labels of a file, kept with its inode.
//!
//! An entry answers only for the policy, the place and the session for which it was computed, and only
//! while nothing on the host was renamed or mounted since. Readers and writers race: an entry is
//! written under an odd sequence number, and a reader that saw the number move looks elsewhere.

use core::ffi::c_void;

use agent_common::{
    cache::CachedLabel,
    id::{Generation, LabelId, Tag},
};
use aya_ebpf::bindings::inode;

use crate::{
    atomic,
    kernel::{Changes, Place, parent_and_name},
    maps::CACHED_LABELS,
    scratch::Scratch,
};

/// What labels depend on beside the place.
#[derive(Clone, Copy)]
pub struct Basis {
    /// The policy.
    pub generation: u32,
    /// The kernel's counters.
    pub changes: Changes,
}

/// The cached labels of an inode, if they answer for this place and session.
#[inline(always)]
pub fn cached(
    inode: *const c_void,
    place: &Place,
    tag: &Tag,
    basis: &Basis,
) -> Option<(LabelId, LabelId)> {
    // SAFETY: the inode is a pointer that the verifier has typed.
    let entry = unsafe { CACHED_LABELS.get_ptr_mut(inode.cast_mut().cast::<inode>()) };
    // SAFETY: an inode's storage lives as long as the inode, which the operation keeps.
    let entry = unsafe { entry.as_ref()? };
    let sequence = sequence_of(entry);
    // SAFETY: the entry is valid; the copy is checked below against a writer that came between.
    let copy = unsafe { core::ptr::read_volatile(entry) };
    let fits = sequence & 1 == 0
        && copy.generation.0 == basis.generation
        && copy.dentry == place.dentry
        && copy.mount == place.mount
        && copy.session == tag.session
        && copy.renames == basis.changes.renames
        && copy.mounts == basis.changes.mounts
        && copy.parent == parent_and_name(place.dentry)[0];
    if !fits || sequence_of(entry) != sequence {
        return None;
    }
    Some((copy.shared, copy.own))
}

/// Keeps what a walk found.
#[inline(always)]
pub fn keep(inode: *const c_void, s: &Scratch, generation: u32, tag: &Tag) {
    // SAFETY: as in `cached`.
    let entry =
        unsafe { CACHED_LABELS.get_or_insert_ptr_mut(inode.cast_mut().cast::<inode>(), None) };
    // SAFETY: as in `cached`.
    let Some(entry) = (unsafe { entry.as_mut() }) else { return };
    let before = sequence_of(entry);
    if before & 1 != 0 {
        return;
    }
    if !atomic::replace(&raw mut entry.sequence, before, before + 1) {
        return;
    }
    let new = CachedLabel {
        sequence: before + 1,
        generation: Generation(generation),
        mount: s.start_mount,
        dentry: s.start_dentry,
        parent: parent_and_name(s.start_dentry)[0],
        renames: s.renames,
        mounts: s.mounts,
        session: tag.session,
        shared: LabelId(s.positions[0].here),
        own: LabelId(s.positions[1].here),
    };
    // SAFETY: the odd sequence number makes the entry ours.
    unsafe { core::ptr::write_volatile(entry, new) };
    atomic::replace(&raw mut entry.sequence, before + 1, before + 2);
}

/// Reads the sequence number anew.
#[inline(always)]
fn sequence_of(entry: &CachedLabel) -> u32 {
    // SAFETY: the reference is valid; volatile, so that it is not the value read before.
    unsafe { core::ptr::read_volatile(&raw const entry.sequence) }
}
