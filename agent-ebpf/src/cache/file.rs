//! Rights on files that were allowed.

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

/// Where a file is, as its entry is compared with. Each part is read only when it is compared.
pub(crate) trait FileSite {
    /// Address of the mount.
    fn mount(&self) -> u64;
    /// Address of the dentry.
    fn dentry(&self) -> u64;
    /// Address of the dentry's parent (zero for a dentry that lost its name), and hash and length of the name.
    fn parent_and_name(&self) -> (u64, u64);
    /// The kernel's counts of renames and mount changes.
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
    fn parent_and_name(&self) -> (u64, u64) {
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
    fn parent_and_name(&self) -> (u64, u64) {
        (*self).parent_and_name()
    }

    #[inline(always)]
    fn changes(&self) -> Changes {
        Changes::now()
    }
}

/// Whether an entry allows the session these rights, under the policy and epoch of `stamp`. Only before the nearest
/// expiry (past it, each tool has to be looked at), and only for a task that has the marks of that use.
#[inline(always)]
pub(crate) fn allows_file(
    inode: *const c_void,
    site: &impl FileSite,
    rights: Rights,
    tag: &Tag,
    stamp: u64,
) -> bool {
    let (number, generation) = kernel::number_and_generation(inode);
    let entry = FILES.get(file_place(number, generation, tag.session));
    let sequence = read_field!(entry.sequence);
    // Field by field: a copy of the whole entry is too large for the stack.
    sequence & 1 == 0
        && was_decided_for(entry, (number, generation), site, tag.session, stamp)
        && u32::from(rights.0) & !read_field!(entry.rights) == 0
        && read_field!(entry.marks) & !tag.marks == 0
        && read_field!(entry.sequence) == sequence
}

/// The place of the entry for a file and a session.
#[inline(always)]
fn file_place(number: u64, generation: u32, session: SessionId) -> u32 {
    place(number ^ u64::from(generation) << 32 ^ session.0, FILES_KEPT)
}

/// Whether an entry was decided from the same file, place, session, policy and epoch.
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
    let (parent, name) = site.parent_and_name();
    parent != 0 && read_field!(entry.parent) == parent && read_field!(entry.name) == name
}

/// Stores what a decision allowed, together with what an entry of the same basis allowed before. Not inlined, so that
/// its stack is free again before a refusal's walk needs it.
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
    let entry = FILES.get_mut(file_place(number, generation, tag.session));
    let Some(before) = begin(&mut entry.sequence) else { return };
    let site = (place, &basis.changes);
    let is_same = was_decided_for(entry, (number, generation), &site, tag.session, basis.stamp());
    let can_join = is_same && allowed.can_join_marks(entry.marks);
    let rights_before = if can_join { entry.rights } else { 0 };
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
        rights = rights_before | allowed.rights();
        marks = allowed.marks();
    );
    end(&mut entry.sequence, before);
}
