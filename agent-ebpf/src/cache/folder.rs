//! Where the rules stand at folders, and the rights that were found to be allowed on whatever is in one.

use agent_common::{
    access::Rights,
    cache::{CachedFolder, InodeIdentity, NAME_WORDS, PATH_WORDS},
    id::{Generation, LabelId, Tag},
    limits::{COMPONENTS, FOLDERS_KEPT},
    rule::{NO_NODE, Position},
};

use super::{
    basis::{Allowed, Basis},
    entry::{begin, end, place, read_field, write_fields},
};
use crate::{
    atomic,
    kernel::{self, Changes, Place},
    loops,
    maps::FOLDERS,
    values::{Component, Scratch},
    walk,
};

/// Where the entry for a folder and a session lies.
#[inline(always)]
fn folder_place(inode: &InodeIdentity, tag: &Tag) -> u32 {
    place(inode.number ^ u64::from(inode.generation) << 32 ^ tag.session.0, FOLDERS_KEPT)
}

/// An entry for a folder as it was at a sequence number.
#[derive(Clone, Copy)]
pub(crate) struct Folder {
    entry: &'static CachedFolder,
    sequence: u32,
    /// Whether it was found just now to hold: the kernel's counters need no second look.
    pub(crate) is_just_renewed: bool,
}

impl Folder {
    /// Whether a name leads on from where the rules stand.
    #[inline(always)]
    pub(crate) fn tells_names_apart(self) -> bool {
        let leads_on =
            |side: &Position| read_field!(side.alive) != 0 && read_field!(side.node) != NO_NODE;
        leads_on(&self.entry.positions[0]) || leads_on(&self.entry.positions[1])
    }

    /// The label of what is in the folder, by one of the two kinds of rules, if no name leads on.
    #[inline(always)]
    pub(crate) fn label_of_any_name(self, side: usize) -> LabelId {
        let position = &self.entry.positions[side];
        LabelId(if read_field!(position.alive) != 0 {
            read_field!(position.below)
        } else {
            read_field!(position.here)
        })
    }

    /// Whether a session may use whatever is in the folder so, if no name leads on; only for a task that has the marks
    /// which the use leaves.
    #[inline(always)]
    pub(crate) fn allows(self, rights: Rights, tag: &Tag, basis: &Basis) -> bool {
        let entry = self.entry;
        basis.epoch != 0
            && read_field!(entry.stamp) == basis.stamp()
            && u32::from(rights.0) & !read_field!(entry.rights) == 0
            && read_field!(entry.marks) & !tag.marks == 0
    }

    /// The marks that using what is in the folder leaves, as far as it is kept.
    #[inline(always)]
    pub(crate) fn marks(self) -> u32 {
        let entry = self.entry;
        read_field!(entry.marks)
    }

    /// Copies where the rules stand.
    #[inline(always)]
    pub(crate) fn copy_positions(self, to: &mut [Position; 2]) {
        copy(&raw const self.entry.positions, to);
    }

    /// Whether what was read of it is whole.
    #[inline(always)]
    pub(crate) fn is_unchanged(self) -> bool {
        let entry = self.entry;
        read_field!(entry.sequence) == self.sequence
    }
}

/// Where the rules stand at a folder, if that is known. After a rename somewhere the folder's path is compared
/// with the one that it had.
#[inline(always)]
pub(crate) fn find_folder(place: &Place, tag: &Tag, basis: &Basis) -> Option<Folder> {
    let inode = kernel::inode_of(place.parent);
    // SAFETY: a map's value is valid.
    let entry = unsafe { &*FOLDERS.at(folder_place(&inode, tag)) };
    let sequence = read_field!(entry.sequence);
    let fits = sequence & 1 == 0
        && read_field!(entry.generation.0) == basis.generation
        && read_field!(entry.session) == tag.session
        && read_field!(entry.dentry) == place.parent
        && read_field!(entry.mount) == place.mount
        && read_field!(entry.mounts) == basis.changes.mounts
        && read_field!(entry.inode.address) == inode.address
        && read_field!(entry.inode.number) == inode.number
        && read_field!(entry.inode.generation) == inode.generation;
    if !fits {
        return None;
    }
    let folder = Folder { entry, sequence, is_just_renewed: false };
    if read_field!(entry.renames) != basis.changes.renames {
        return renew(folder, place, basis);
    }
    Some(folder)
}

/// Makes an entry answer for the count of renames as it is now, if its path is the same and nobody wrote since
/// the sequence number was read.
#[inline(always)]
fn renew(folder: Folder, place: &Place, basis: &Basis) -> Option<Folder> {
    let Folder { entry, sequence, .. } = folder;
    if !walk::is_same_path(place, entry) || Changes::now() != basis.changes {
        return None;
    }
    let counter = (&raw const entry.sequence).cast_mut();
    if !atomic::replace(counter, sequence, sequence + 1) {
        return None;
    }
    // SAFETY: a map's value is valid, and this one is ours while its number is odd.
    unsafe { (&raw const entry.renames).cast_mut().write_volatile(basis.changes.renames) };
    end(counter, sequence);
    Some(Folder { entry, sequence: sequence + 2, is_just_renewed: true })
}

shared!(pub(crate) fn keep_rights(place: *const Place, tag: *const Tag, basis: *const Basis, allowed: u64) -> u32, otherwise 0);

/// Keeps that a session may use whatever is in the folder of a place so, together with what an entry of the same
/// basis allows already.
#[unsafe(no_mangle)]
#[unsafe(link_section = "freplace/keep_rights")]
extern "C" fn shared_keep_rights(
    place: *const Place,
    tag: *const Tag,
    basis: *const Basis,
    allowed: u64,
) -> u32 {
    deref_or_return!(place, tag, basis; else return 0);
    let allowed = Allowed(allowed);
    let Some(known) = find_folder(place, tag, basis) else { return 0 };
    if basis.epoch == 0 || known.tells_names_apart() {
        return 0;
    }
    let Folder { entry, sequence, .. } = known;
    let counter = (&raw const entry.sequence).cast_mut();
    if !atomic::replace(counter, sequence, sequence + 1) {
        return 0;
    }
    let stamp = basis.stamp();
    // As with files: rights whose use leaves other marks go.
    let is_same =
        read_field!(entry.stamp) == stamp && read_field!(entry.marks) & !allowed.marks() == 0;
    let already = if is_same { read_field!(entry.rights) } else { 0 };
    // SAFETY: a map's value is valid, and this one is ours while its number is odd.
    unsafe {
        (&raw const entry.rights).cast_mut().write_volatile(already | allowed.rights());
        (&raw const entry.marks).cast_mut().write_volatile(allowed.marks());
        (&raw const entry.stamp).cast_mut().write_volatile(stamp);
    }
    end(counter, sequence);
    0
}

/// Keeps where the rules stand at the folder of a place, and its path, as the walk in the area found both.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn store_folder(
    place: *const Place,
    tag: *const Tag,
    basis: *const Basis,
    area: *mut Scratch,
) -> u32 {
    deref_or_return!(place, tag, basis; else return 0);
    if area.is_null() {
        return 0;
    }
    let inode = kernel::inode_of(place.parent);
    // SAFETY: a map's value is valid.
    let entry = unsafe { &mut *FOLDERS.at(folder_place(&inode, tag)) };
    if inode.address == 0 {
        return 0;
    }
    let Some(before) = begin(&raw mut entry.sequence) else { return 0 };
    write_fields!(entry:
        generation = Generation(basis.generation);
        session = tag.session;
        inode.address = inode.address;
        inode.number = inode.number;
        inode.generation = inode.generation;
        mount = place.mount;
        dentry = place.parent;
        renames = basis.changes.renames;
        mounts = basis.changes.mounts;
        stamp = 0;
    );
    // SAFETY: the area is ours until it is released.
    copy(unsafe { &raw const (*area).folder_positions }, &raw mut entry.positions);
    let entry = &raw mut *entry;
    let path_words = store_path(entry, area, basis);
    // SAFETY: a map's value is valid.
    let entry = unsafe { &mut *entry };
    write_fields!(entry: path_words = path_words;);
    end(&raw mut entry.sequence, before);
    0
}

/// Where [`store_path`] is.
struct PathWriter {
    entry: *mut CachedFolder,
    area: *mut Scratch,
    written: u64,
    is_complete: u64,
}

/// Writes the path of the folder of the place that was walked from; how many words it has, or zero where it is
/// too long, or may not be what the walk saw.
#[inline(always)]
fn store_path(entry: *mut CachedFolder, area: *mut Scratch, basis: &Basis) -> u64 {
    let mut writer = PathWriter { entry, area, written: 0, is_complete: 0 };
    loops::repeat(PATH_WORDS as u32, store_name, &mut writer);
    // SAFETY: a reference is valid; read anew, since the callback wrote.
    let (is_complete, written) = unsafe {
        (
            (&raw const writer.is_complete).read_volatile(),
            (&raw const writer.written).read_volatile(),
        )
    };
    if is_complete != 0 && Changes::now() == basis.changes { written } else { 0 }
}

/// Writes one name; non-zero after the last, or when there is no room.
extern "C" fn store_name(index: u64, context: *mut PathWriter) -> i64 {
    // SAFETY: the context is `store_path`'s.
    let writer = unsafe { &mut *context };
    // SAFETY: the area is ours until it is released.
    let s = unsafe { &*writer.area };
    // The first is the object's.
    let which = index + 1;
    if which >= COMPONENTS as u64 || which >= s.count {
        writer.is_complete = 1;
        return 1;
    }
    let Component { name, len, .. } = s.components[which as usize];
    let written = writer.written;
    if written > (PATH_WORDS - 1 - NAME_WORDS) as u64 || len >= 8 * NAME_WORDS as u64 {
        return 1;
    }
    // SAFETY: at least as many words follow in the entry as a name has at most.
    let path = unsafe { (&raw mut (*writer.entry).path).cast::<u64>().add(written as usize) };
    // SAFETY: as above.
    unsafe { path.write_volatile(len) };
    for word in 0..NAME_WORDS as u64 {
        if len >= word * 8 {
            // SAFETY: as above.
            unsafe {
                path.add(1 + word as usize).write_volatile(kernel::read_word(name + word * 8))
            };
        }
    }
    writer.written = written + 2 + len / 8;
    0
}

/// Copies positions that another processor may be reading or writing, word by word, so that they don't go
/// over the stack.
#[inline(always)]
fn copy(from: *const [Position; 2], to: *mut [Position; 2]) {
    for word in 0..size_of::<[Position; 2]>() / 8 {
        // SAFETY: both are valid, and of that many words.
        unsafe {
            let value = from.cast::<u64>().add(word).read_volatile();
            to.cast::<u64>().add(word).write_volatile(value);
        }
    }
}
