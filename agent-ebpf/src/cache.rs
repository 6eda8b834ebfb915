//! The cache: the rights that were found to be allowed on a file, kept with its inode.
//!
//! An entry answers only for the policy, the place, the session and the state of its authority for which
//! it was decided, and only while nothing on the host was renamed or mounted since. Readers and writers
//! race: an entry is written under an odd sequence number, and a reader that saw the number move looks
//! elsewhere.

use core::ffi::c_void;

use agent_common::{
    access::Rights,
    authority::Session,
    cache::CachedRights,
    id::{BootNanos, Generation, Tag},
};
use aya_ebpf::bindings::inode;

use crate::{
    atomic,
    kernel::{Changes, Place},
    maps::CACHED_RIGHTS,
};

/// Reads a field that another processor may be writing.
macro_rules! field {
    ($entry:ident.$($field:tt)+) => {
        // SAFETY: a reference is valid.
        unsafe { core::ptr::read_volatile(&raw const $entry.$($field)+) }
    };
}

/// What a decision rests on beside the rules: read before it is made, kept with what it found.
#[derive(Clone, Copy)]
pub struct Basis {
    /// The policy.
    pub generation: u32,
    /// The session's epoch.
    pub epoch: u32,
    /// The kernel's counters.
    pub changes: Changes,
}

/// The session's epoch, read anew.
#[inline(always)]
pub fn epoch(session: &Session) -> u32 {
    // SAFETY: a reference is valid; volatile, so that it comes before what is read of the entry later.
    unsafe { core::ptr::read_volatile(&raw const session.epoch) }
}

/// Whether an entry says that the session may, now.
#[inline(always)]
pub fn allows(
    inode: *const c_void,
    place: &Place,
    rights: Rights,
    tag: &Tag,
    session: &Session,
    now: BootNanos,
    basis: &Basis,
) -> bool {
    // Past the nearest expiry, each tool's own is looked at.
    if place.parent == 0
        || session.id != tag.session
        || now >= session.nearest_expiry
        || now >= session.expires
    {
        return false;
    }
    // SAFETY: the inode is a pointer that the verifier has typed; its storage lives as long as the inode,
    // which the operation keeps.
    let entry = unsafe { CACHED_RIGHTS.get_ptr_mut(inode.cast_mut().cast::<inode>()).as_ref() };
    let Some(entry) = entry else { return false };
    let sequence = sequence_of(entry);
    // Field by field, not a copy of the whole: the stack is short. The sequence number tells of a writer
    // that came between.
    sequence & 1 == 0
        && fits(entry, place, tag, basis)
        && u32::from(rights.0) & !field!(entry.rights) == 0
        && sequence_of(entry) == sequence
}

/// Whether an entry was decided from the same.
#[inline(always)]
fn fits(entry: &CachedRights, place: &Place, tag: &Tag, basis: &Basis) -> bool {
    field!(entry.generation.0) == basis.generation
        && field!(entry.session) == tag.session
        && field!(entry.epoch) == basis.epoch
        && field!(entry.dentry) == place.dentry
        && field!(entry.mount) == place.mount
        && field!(entry.parent) == place.parent
        && field!(entry.name) == place.name
        && field!(entry.renames) == basis.changes.renames
        && field!(entry.mounts) == basis.changes.mounts
}

/// Keeps what a decision allowed; together with what an entry of the same basis allows already. Not inlined:
/// its stack is free again before the walk of a refusal needs it.
#[inline(never)]
pub fn keep(inode: *const c_void, place: &Place, rights: Rights, tag: &Tag, basis: &Basis) {
    // SAFETY: as in `allows`.
    let entry =
        unsafe { CACHED_RIGHTS.get_or_insert_ptr_mut(inode.cast_mut().cast::<inode>(), None) };
    // SAFETY: as in `allows`.
    let Some(entry) = (unsafe { entry.as_mut() }) else { return };
    let before = sequence_of(entry);
    if before & 1 != 0 || !atomic::replace(&raw mut entry.sequence, before, before + 1) {
        return;
    }
    let already = if fits(entry, place, tag, basis) { entry.rights } else { 0 };
    let new = CachedRights {
        sequence: before + 1,
        generation: Generation(basis.generation),
        session: tag.session,
        mount: place.mount,
        dentry: place.dentry,
        parent: place.parent,
        name: place.name,
        renames: basis.changes.renames,
        mounts: basis.changes.mounts,
        epoch: basis.epoch,
        rights: already | u32::from(rights.0),
    };
    // SAFETY: the odd sequence number makes the entry ours.
    unsafe { core::ptr::write_volatile(entry, new) };
    atomic::replace(&raw mut entry.sequence, before + 1, before + 2);
}

/// The sequence number, read anew.
#[inline(always)]
fn sequence_of(entry: &CachedRights) -> u32 {
    field!(entry.sequence)
}
