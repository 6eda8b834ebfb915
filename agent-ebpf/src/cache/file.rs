//! The rights that were found to be allowed on files.

use core::ffi::c_void;

use agent_common::{
    access::Rights,
    cache::CachedRights,
    id::{SessionId, Tag},
    limits::FILES_KEPT,
};

use super::{
    basis::{Allowed, Basis},
    entry::{begin, end, place, read_field, write_fields},
};
use crate::{
    kernel::{self, Changes, OpenFile, Place},
    maps::FILES,
};

/// What the entry of a file is compared with; each part is read when it is its turn.
pub(crate) trait FileSite {
    /// Address of the mount.
    fn mount(&self) -> u64;
    /// Address of the dentry.
    fn dentry(&self) -> u64;
    /// Address of the dentry's parent, zero for a dentry that lost its name, and hash and length of the name.
    fn name(&self) -> (u64, u64);
    /// The kernel's counters.
    fn changes(&self) -> Changes;
}

impl FileSite for (&Place, &Changes) {
    #[inline(always)]
    fn mount(&self) -> u64 {
        self.0.mount
    }

    #[inline(always)]
    fn dentry(&self) -> u64 {
        self.0.dentry
    }

    #[inline(always)]
    fn name(&self) -> (u64, u64) {
        (self.0.parent, self.0.name)
    }

    #[inline(always)]
    fn changes(&self) -> Changes {
        *self.1
    }
}

impl FileSite for OpenFile {
    #[inline(always)]
    fn mount(&self) -> u64 {
        (*self).mount()
    }

    #[inline(always)]
    fn dentry(&self) -> u64 {
        (*self).dentry() as u64
    }

    #[inline(always)]
    fn name(&self) -> (u64, u64) {
        (*self).name()
    }

    #[inline(always)]
    fn changes(&self) -> Changes {
        Changes::now()
    }
}

/// Whether an entry says that the session may, before the nearest expiry (past it, each tool's own is looked at);
/// for the policy and the epoch of the stamp. It answers only for a task that has the marks which the use leaves.
#[inline(always)]
pub(crate) fn allows_file(
    inode: *const c_void,
    site: &impl FileSite,
    rights: Rights,
    tag: &Tag,
    stamp: u64,
) -> bool {
    let (number, generation) = kernel::number_and_generation(inode);
    // SAFETY: a map's value is valid.
    let entry = unsafe { &*FILES.at(file_place(number, generation, tag.session)) };
    let sequence = read_field!(entry.sequence);
    // Field by field, not a copy of the whole: the stack is short. The sequence number tells of a writer
    // that came between.
    sequence & 1 == 0
        && was_decided_for(entry, (number, generation), site, tag.session, stamp)
        && u32::from(rights.0) & !read_field!(entry.rights) == 0
        && read_field!(entry.marks) & !tag.marks == 0
        && read_field!(entry.sequence) == sequence
}

/// Where the entry for a file and a session lies.
#[inline(always)]
fn file_place(number: u64, generation: u32, session: SessionId) -> u32 {
    place(number ^ u64::from(generation) << 32 ^ session.0, FILES_KEPT)
}

/// Whether an entry was decided from the same.
#[inline(always)]
fn was_decided_for(
    entry: &CachedRights,
    (number, generation): (u64, u32),
    site: &impl FileSite,
    session: SessionId,
    stamp: u64,
) -> bool {
    if read_field!(entry.stamp) != stamp
        || read_field!(entry.session) != session
        || read_field!(entry.number) != number
        || read_field!(entry.generation) != generation
        || read_field!(entry.mount) != site.mount()
        || read_field!(entry.dentry) != site.dentry()
    {
        return false;
    }
    let changes = site.changes();
    if read_field!(entry.renames) != changes.renames || read_field!(entry.mounts) != changes.mounts
    {
        return false;
    }
    let (parent, name) = site.name();
    parent != 0 && read_field!(entry.parent) == parent && read_field!(entry.name) == name
}

/// Keeps what a decision allowed; together with what an entry of the same basis allows already. Not inlined:
/// its stack is free again before the walk of a refusal needs it.
#[inline(never)]
pub(crate) fn store_file(
    inode: *const c_void,
    place: &Place,
    allowed: Allowed,
    tag: &Tag,
    basis: &Basis,
) {
    if basis.epoch == 0 {
        return;
    }
    let (number, generation) = kernel::number_and_generation(inode);
    // SAFETY: a map's value is valid.
    let entry = unsafe { &mut *FILES.at(file_place(number, generation, tag.session)) };
    let Some(before) = begin(&raw mut entry.sequence) else { return };
    let site = (place, &basis.changes);
    let is_same = was_decided_for(entry, (number, generation), &site, tag.session, basis.stamp());
    // Not where those leave marks that these do not: who has none would have no answer any more.
    let is_same = is_same && entry.marks & !allowed.marks() == 0;
    let already = if is_same { entry.rights } else { 0 };
    write_fields!(entry:
        stamp = basis.stamp();
        session = tag.session;
        number = number;
        generation = generation;
        mount = place.mount;
        dentry = place.dentry;
        parent = place.parent;
        name = place.name;
        renames = basis.changes.renames;
        mounts = basis.changes.mounts;
        rights = already | allowed.rights();
        marks = allowed.marks();
    );
    end(&raw mut entry.sequence, before);
}
