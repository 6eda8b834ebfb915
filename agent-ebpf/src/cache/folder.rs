//! Positions of the rules at folders, and the rights that are allowed on everything in one.
//!
//! A position says how far the rules' automaton comes with a folder's path. From there, a file in the folder is one
//! step away, instead of a walk to the root.

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
    loops::{self, Context},
    maps::FOLDERS,
    scratch::Area,
    values::{Component, Scratch},
    volatile, walk,
};

/// The place of the entry for a folder and a session.
#[inline(always)]
fn folder_place(inode: &InodeIdentity, tag: &Tag) -> u32 {
    place(inode.number ^ u64::from(inode.generation) << 32 ^ tag.session.0, FOLDERS_KEPT)
}

/// An entry for a folder, as it was at a sequence number.
#[derive(Clone, Copy)]
pub(crate) struct Folder {
    entry: &'static CachedFolder,
    sequence: u32,
    /// Whether it was just found to hold, so that the kernel's counts need no second look.
    pub(crate) is_just_renewed: bool,
}

impl Folder {
    /// Whether some rule treats some name in the folder differently from others.
    #[inline(always)]
    pub(crate) fn tells_names_apart(self) -> bool {
        let leads_on =
            |side: &Position| read_field!(side.alive) != 0 && read_field!(side.node) != NO_NODE;
        leads_on(&self.entry.positions[0]) || leads_on(&self.entry.positions[1])
    }

    /// The label of everything in the folder, if no rule tells names apart: by the shared rules (`side` 0) or the
    /// session's own (1).
    #[inline(always)]
    pub(crate) fn label_of_any_name(self, side: usize) -> LabelId {
        let position = &self.entry.positions[side];
        LabelId(if read_field!(position.alive) != 0 {
            read_field!(position.below)
        } else {
            read_field!(position.here)
        })
    }

    /// Whether the entry allows these rights on everything in the folder, if no rule tells names apart. Only for a
    /// task that has the marks of that use.
    #[inline(always)]
    pub(crate) fn allows(self, rights: Rights, tag: &Tag, basis: &Basis) -> bool {
        let entry = self.entry;
        basis.epoch != 0
            && read_field!(entry.stamp) == basis.stamp()
            && u32::from(rights.0) & !read_field!(entry.rights) == 0
            && read_field!(entry.marks) & !tag.marks == 0
    }

    /// The marks that the use of the rights leaves which [`Self::allows`] looks at.
    #[inline(always)]
    pub(crate) fn marks(self) -> u32 {
        let entry = self.entry;
        read_field!(entry.marks)
    }

    /// Copies the positions.
    #[inline(always)]
    pub(crate) fn copy_positions(self, to: &mut [Position; 2]) {
        copy(&self.entry.positions, to);
    }

    /// Whether nobody wrote the entry since it was found, so that what was read of it belongs together.
    #[inline(always)]
    pub(crate) fn is_unchanged(self) -> bool {
        let entry = self.entry;
        read_field!(entry.sequence) == self.sequence
    }
}

/// The entry for the folder of a place, if there is one that holds. After a rename anywhere on the host, the folder's
/// path is compared with the path that the entry has.
#[inline(always)]
pub(crate) fn find_folder(place: &Place, tag: &Tag, basis: &Basis) -> Option<Folder> {
    let inode = kernel::inode_of(place.parent);
    let entry = FOLDERS.get(folder_place(&inode, tag));
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

/// Makes an entry hold for the current count of renames, if its folder's path is the same and nobody wrote it
/// meanwhile.
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
    // SAFETY: the entry is this processor's to write while its number is odd.
    unsafe { (&raw const entry.renames).cast_mut().write_volatile(basis.changes.renames) };
    atomic::replace(counter, sequence + 1, sequence + 2);
    Some(Folder { entry, sequence: sequence + 2, is_just_renewed: true })
}

shared!(pub(crate) fn keep_rights(place: *const Place, tag: *const Tag, basis: *const Basis, allowed: u64) -> u32, otherwise 0);

/// Stores rights that are allowed on everything in the folder of a place, together with what an entry of the same
/// basis allowed before.
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
    let can_join =
        read_field!(entry.stamp) == stamp && allowed.can_join_marks(read_field!(entry.marks));
    let before = if can_join { read_field!(entry.rights) } else { 0 };
    // SAFETY: the entry is this processor's to write while its number is odd.
    unsafe {
        (&raw const entry.rights).cast_mut().write_volatile(before | allowed.rights());
        (&raw const entry.marks).cast_mut().write_volatile(allowed.marks());
        (&raw const entry.stamp).cast_mut().write_volatile(stamp);
    }
    atomic::replace(counter, sequence + 1, sequence + 2);
    0
}

/// Stores the positions of the rules at the folder of a place, and the folder's path, as the walk in the work area
/// found both.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn store_folder(
    place: *const Place,
    tag: *const Tag,
    basis: *const Basis,
    area: *mut Scratch,
) -> u32 {
    deref_or_return!(place, tag, basis; else return 0);
    let Some(area) = Area::of(area) else { return 0 };
    let inode = kernel::inode_of(place.parent);
    let entry = FOLDERS.get_mut(folder_place(&inode, tag));
    if inode.address == 0 {
        return 0;
    }
    let Some(before) = begin(&mut entry.sequence) else { return 0 };
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
    copy(&area.get().folder_positions, &mut entry.positions);
    let path_words = store_path(entry, area, basis);
    write_fields!(entry: path_words = path_words;);
    end(&mut entry.sequence, before);
    0
}

/// How far [`store_path`] is.
struct PathWriter {
    entry: *mut CachedFolder,
    area: Area,
    written: u64,
    is_complete: u64,
}

/// Stores the path of the folder of the place that the walk began at. Returns how many words it has; zero if it is too
/// long, or may have changed since the walk.
#[inline(always)]
fn store_path(entry: &mut CachedFolder, area: Area, basis: &Basis) -> u64 {
    let mut writer = PathWriter { entry, area, written: 0, is_complete: 0 };
    loops::repeat(PATH_WORDS as u32, store_name, &mut writer);
    let (is_complete, written) =
        (volatile::read(&writer.is_complete), volatile::read(&writer.written));
    if is_complete != 0 && Changes::now() == basis.changes { written } else { 0 }
}

/// Stores one name: its length, then its bytes. Non-zero after the last, or when there is no room.
extern "C" fn store_name(index: u64, context: Context<PathWriter>) -> i64 {
    let writer = context.get();
    let s = writer.area.get();
    // The first component is the file's own name.
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
    // SAFETY: the entry is this processor's to write, and has room for the length and the longest name from here on.
    unsafe {
        let path = (&raw mut (*writer.entry).path).cast::<u64>().add(written as usize);
        path.write_volatile(len);
        for word in 0..NAME_WORDS as u64 {
            if len >= word * 8 {
                path.add(1 + word as usize).write_volatile(kernel::read_word(name + word * 8));
            }
        }
    }
    writer.written = written + 2 + len / 8;
    0
}

/// Copies positions that another processor may be reading or writing: word by word, so that they take no stack.
#[inline(always)]
fn copy(from: &[Position; 2], to: &mut [Position; 2]) {
    let (from, to) = ((&raw const *from).cast::<u64>(), (&raw mut *to).cast::<u64>());
    for word in 0..size_of::<[Position; 2]>() / 8 {
        // SAFETY: both have that many words, and are aligned for them.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
    }
}
