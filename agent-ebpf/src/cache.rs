//! The cache: the rights that were found to be allowed on a file, where the rules stand at a folder, and the
//! endpoints that were found to be allowed.
//!
//! An entry answers only for the policy, the place, the session and the state of its authority for which
//! it was decided, and only while nothing on the host was renamed or mounted since. Readers and writers
//! race: an entry is written under an odd sequence number, and a reader that saw the number move looks
//! elsewhere.

use core::ffi::c_void;

use agent_common::{
    access::Rights,
    authority::Session,
    cache::{CachedFolder, CachedRights, InodeIdentity, NAME_WORDS, PATH_WORDS},
    id::{Generation, LabelId, SessionId, Tag},
    limits::{COMPONENTS, ENDPOINTS_KEPT, FILES_KEPT, FOLDERS_KEPT},
    rule::{NO_NODE, Position},
};
use aya_ebpf::helpers::generated::bpf_loop;

use crate::{
    atomic,
    check::Endpoint,
    kernel::{self, Changes, OpenFile, Place},
    maps::{ENDPOINTS, FILES, FOLDERS},
    scratch::{Component, Scratch},
    walk,
};

/// Reads a field that another processor may be writing.
macro_rules! field {
    ($entry:ident.$($field:tt)+) => {
        // SAFETY: a reference is valid.
        unsafe { core::ptr::read_volatile(&raw const $entry.$($field)+) }
    };
}

/// Writes a field of an entry that is ours. Field by field, since a whole entry is too much for the stack.
macro_rules! write {
    ($entry:ident: $($field:ident $(. $part:ident)? = $value:expr;)*) => {
        // SAFETY: a reference is valid.
        $(unsafe { core::ptr::write_volatile(&raw mut $entry.$field $(. $part)?, $value) };)*
    };
}

/// What a decision rests on beside the rules: read before it is made, kept with what it found.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Basis {
    /// The policy.
    pub generation: u32,
    /// The session's epoch.
    pub epoch: u32,
    /// The kernel's counters.
    pub changes: Changes,
}

impl Basis {
    /// The policy and the epoch, as an entry has them.
    #[inline(always)]
    pub fn stamp(&self) -> u64 {
        stamp(self.generation, self.epoch)
    }
}

/// A policy's generation, and a session's epoch.
#[inline(always)]
pub fn stamp(generation: u32, epoch: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(epoch)
}

/// The session's epoch, read anew.
#[inline(always)]
pub fn epoch(session: &Session) -> u32 {
    // SAFETY: a reference is valid; volatile, so that it comes before what is read of the entry later.
    unsafe { core::ptr::read_volatile(&raw const session.epoch) }
}

/// A place, of a power of two many, for what is not spread evenly.
#[inline(always)]
fn place(numbers: u64, many: usize) -> u32 {
    // Fibonacci hashing: the upper bits of a product with 2^64 divided by the golden ratio.
    let mixed = numbers.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - many.trailing_zeros())) as u32
}

/// Begins to write an entry, whose sequence number that is: the number of before; `None` while another writes.
#[inline(always)]
fn begin(sequence: *mut u32) -> Option<u32> {
    // SAFETY: a map's value is valid.
    let before = unsafe { sequence.read_volatile() };
    (before & 1 == 0 && atomic::replace(sequence, before, before + 1)).then_some(before)
}

/// Ends what [`begin`] began.
#[inline(always)]
fn end(sequence: *mut u32, before: u32) {
    atomic::replace(sequence, before + 1, before + 2);
}

/// What the entry of a file is compared with; each part is read when it is its turn.
pub trait Site {
    /// Address of the mount.
    fn mount(&self) -> u64;
    /// Address of the dentry.
    fn dentry(&self) -> u64;
    /// Address of the dentry's parent, zero for a dentry that lost its name, and hash and length of the name.
    fn name(&self) -> (u64, u64);
    /// The kernel's counters.
    fn changes(&self) -> Changes;
}

impl Site for (&Place, &Changes) {
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

impl Site for OpenFile {
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
/// for the policy and the epoch of the stamp.
#[inline(always)]
pub fn allows(
    inode: *const c_void,
    site: &impl Site,
    rights: Rights,
    session: SessionId,
    stamp: u64,
) -> bool {
    let (number, generation) = kernel::number_and_generation(inode);
    // SAFETY: a map's value is valid.
    let entry = unsafe { &*FILES.at(file_place(number, generation, session)) };
    let sequence = field!(entry.sequence);
    // Field by field, not a copy of the whole: the stack is short. The sequence number tells of a writer
    // that came between.
    sequence & 1 == 0
        && fits(entry, (number, generation), site, session, stamp)
        && u32::from(rights.0) & !field!(entry.rights) == 0
        && field!(entry.sequence) == sequence
}

/// Where the entry for a file and a session lies.
#[inline(always)]
fn file_place(number: u64, generation: u32, session: SessionId) -> u32 {
    place(number ^ u64::from(generation) << 32 ^ session.0, FILES_KEPT)
}

/// Whether an entry was decided from the same.
#[inline(always)]
fn fits(
    entry: &CachedRights,
    (number, generation): (u64, u32),
    site: &impl Site,
    session: SessionId,
    stamp: u64,
) -> bool {
    if field!(entry.stamp) != stamp
        || field!(entry.session) != session
        || field!(entry.number) != number
        || field!(entry.generation) != generation
        || field!(entry.mount) != site.mount()
        || field!(entry.dentry) != site.dentry()
    {
        return false;
    }
    let changes = site.changes();
    if field!(entry.renames) != changes.renames || field!(entry.mounts) != changes.mounts {
        return false;
    }
    let (parent, name) = site.name();
    parent != 0 && field!(entry.parent) == parent && field!(entry.name) == name
}

/// Keeps what a decision allowed; together with what an entry of the same basis allows already. Not inlined:
/// its stack is free again before the walk of a refusal needs it.
#[inline(never)]
pub fn keep(inode: *const c_void, place: &Place, rights: Rights, tag: &Tag, basis: &Basis) {
    let (number, generation) = kernel::number_and_generation(inode);
    // SAFETY: a map's value is valid.
    let entry = unsafe { &mut *FILES.at(file_place(number, generation, tag.session)) };
    let Some(before) = begin(&raw mut entry.sequence) else { return };
    let site = (place, &basis.changes);
    let is_same = fits(entry, (number, generation), &site, tag.session, basis.stamp());
    let already = if is_same { entry.rights } else { 0 };
    write!(entry:
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
        rights = already | u32::from(rights.0);
    );
    end(&raw mut entry.sequence, before);
}

/// Where the entry for a folder and a session lies.
#[inline(always)]
fn folder_place(inode: &InodeIdentity, tag: &Tag) -> u32 {
    place(inode.number ^ u64::from(inode.generation) << 32 ^ tag.session.0, FOLDERS_KEPT)
}

/// An entry for a folder as it was at a sequence number.
#[derive(Clone, Copy)]
pub struct Folder {
    entry: &'static CachedFolder,
    sequence: u32,
}

impl Folder {
    /// Whether a name leads on from where the rules stand.
    #[inline(always)]
    pub fn leads_on(self) -> bool {
        let leads_on = |side: &Position| field!(side.alive) != 0 && field!(side.node) != NO_NODE;
        leads_on(&self.entry.positions[0]) || leads_on(&self.entry.positions[1])
    }

    /// The label of what is in the folder, by one of the two kinds of rules, if no name leads on.
    #[inline(always)]
    pub fn unnamed(self, side: usize) -> LabelId {
        let position = &self.entry.positions[side];
        LabelId(if field!(position.alive) != 0 {
            field!(position.below)
        } else {
            field!(position.here)
        })
    }

    /// Copies where the rules stand.
    #[inline(always)]
    pub fn positions(self, to: &mut [Position; 2]) {
        copy(&raw const self.entry.positions, to);
    }

    /// Whether what was read of it is whole.
    #[inline(always)]
    pub fn is_whole(self) -> bool {
        let entry = self.entry;
        field!(entry.sequence) == self.sequence
    }
}

/// Where the rules stand at a folder, if that is known. After a rename somewhere the folder's path is compared
/// with the one that it had.
#[inline(always)]
pub fn folder(place: &Place, tag: &Tag, basis: &Basis) -> Option<Folder> {
    let inode = kernel::inode_of(place.parent);
    // SAFETY: a map's value is valid.
    let entry = unsafe { &*FOLDERS.at(folder_place(&inode, tag)) };
    let sequence = field!(entry.sequence);
    let fits = sequence & 1 == 0
        && field!(entry.generation.0) == basis.generation
        && field!(entry.session) == tag.session
        && field!(entry.dentry) == place.parent
        && field!(entry.mount) == place.mount
        && field!(entry.mounts) == basis.changes.mounts
        && field!(entry.inode.address) == inode.address
        && field!(entry.inode.number) == inode.number
        && field!(entry.inode.generation) == inode.generation;
    if !fits {
        return None;
    }
    let folder = Folder { entry, sequence };
    if field!(entry.renames) != basis.changes.renames {
        return renew(folder, place, basis);
    }
    Some(folder)
}

/// Makes an entry answer for the count of renames as it is now, if its path is the same and nobody wrote since
/// the sequence number was read.
#[inline(always)]
fn renew(folder: Folder, place: &Place, basis: &Basis) -> Option<Folder> {
    let Folder { entry, sequence } = folder;
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
    Some(Folder { entry, sequence: sequence + 2 })
}

/// Keeps where the rules stand at the folder of a place, and its path, as the walk in the area found both.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn keep_folder(
    place: *const Place,
    tag: *const Tag,
    basis: *const Basis,
    area: *mut Scratch,
) -> u32 {
    known!(place, tag, basis; else return 0);
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
    write!(entry:
        generation = Generation(basis.generation);
        session = tag.session;
        inode.address = inode.address;
        inode.number = inode.number;
        inode.generation = inode.generation;
        mount = place.mount;
        dentry = place.parent;
        renames = basis.changes.renames;
        mounts = basis.changes.mounts;
    );
    // SAFETY: the area is ours until it is released.
    copy(unsafe { &raw const (*area).folder_positions }, &raw mut entry.positions);
    let entry = &raw mut *entry;
    let path_words = keep_path(entry, area, basis);
    // SAFETY: a map's value is valid.
    let entry = unsafe { &mut *entry };
    write!(entry: path_words = path_words;);
    end(&raw mut entry.sequence, before);
    0
}

/// Where [`keep_path`] is.
struct Note {
    entry: *mut CachedFolder,
    area: *mut Scratch,
    written: u64,
    whole: u64,
}

/// Writes the path of the folder of the place that was walked from; how many words it has, or zero where it is
/// too long, or may not be what the walk saw.
#[inline(always)]
fn keep_path(entry: *mut CachedFolder, area: *mut Scratch, basis: &Basis) -> u64 {
    let mut note = Note { entry, area, written: 0, whole: 0 };
    // SAFETY: the callback has the signature that the helper asks for, and the context is on the stack for as
    // long as the helper runs.
    unsafe { bpf_loop(PATH_WORDS as u32, keep_name as *mut c_void, (&raw mut note).cast(), 0) };
    // SAFETY: a reference is valid; read anew, since the callback wrote.
    let (whole, written) = unsafe {
        ((&raw const note.whole).read_volatile(), (&raw const note.written).read_volatile())
    };
    if whole != 0 && Changes::now() == basis.changes { written } else { 0 }
}

/// Writes one name; non-zero after the last, or when there is no room.
extern "C" fn keep_name(index: u64, context: *mut Note) -> i64 {
    // SAFETY: the context is `keep_path`'s.
    let note = unsafe { &mut *context };
    // SAFETY: the area is ours until it is released.
    let s = unsafe { &*note.area };
    // The first is the object's.
    let which = index + 1;
    if which >= COMPONENTS as u64 || which >= s.count {
        note.whole = 1;
        return 1;
    }
    let Component { name, len, .. } = s.components[which as usize];
    let written = note.written;
    if written > (PATH_WORDS - 1 - NAME_WORDS) as u64 || len >= 8 * NAME_WORDS as u64 {
        return 1;
    }
    // SAFETY: at least as many words follow in the entry as a name has at most.
    let path = unsafe { (&raw mut (*note.entry).path).cast::<u64>().add(written as usize) };
    // SAFETY: as above.
    unsafe { path.write_volatile(len) };
    for word in 0..NAME_WORDS as u64 {
        if len >= word * 8 {
            // SAFETY: as above.
            unsafe { path.add(1 + word as usize).write_volatile(kernel::word(name + word * 8)) };
        }
    }
    note.written = written + 2 + len / 8;
    0
}

/// Whether an entry says that the session may use an endpoint, for the policy and the state of its authority that
/// the stamp ([`crate::check::stamp`]) stands for.
#[inline(always)]
pub fn allows_endpoint(tag: &Tag, endpoint: &Endpoint, stamp: u64) -> bool {
    // SAFETY: a map's value is valid.
    let entry = unsafe { &*ENDPOINTS.at(endpoint_place(tag, endpoint)) };
    let sequence = field!(entry.sequence);
    sequence & 1 == 0
        && field!(entry.stamp) == stamp
        && field!(entry.session) == tag.session
        && field!(entry.address[0]) == endpoint.address.0[0]
        && field!(entry.address[1]) == endpoint.address.0[1]
        && field!(entry.port) == endpoint.port
        && field!(entry.flow) == endpoint.flow
        && field!(entry.sequence) == sequence
}

/// Keeps that an endpoint is allowed.
#[inline(always)]
pub fn keep_endpoint(tag: &Tag, endpoint: &Endpoint, stamp: u64) {
    // SAFETY: a map's value is valid.
    let entry = unsafe { &mut *ENDPOINTS.at(endpoint_place(tag, endpoint)) };
    let Some(before) = begin(&raw mut entry.sequence) else { return };
    write!(entry:
        stamp = stamp;
        session = tag.session;
        address = endpoint.address.0;
        port = endpoint.port;
        flow = endpoint.flow;
    );
    end(&raw mut entry.sequence, before);
}

/// Where the entry for an endpoint and a session lies.
#[inline(always)]
fn endpoint_place(tag: &Tag, endpoint: &Endpoint) -> u32 {
    let [high, low] = endpoint.address.0;
    let ends = u64::from(endpoint.port) << 16 | u64::from(endpoint.flow);
    place(high ^ low.rotate_left(32) ^ ends ^ tag.session.0, ENDPOINTS_KEPT)
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
