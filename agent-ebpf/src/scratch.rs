//! Work areas for what does not fit on the 512-byte stack.
//!
//! A program can be preempted by another task's, so an area of one's own CPU is not one's own: each is
//! taken by an exchange and given back.

use agent_common::{
    event::EventHeader,
    limits::{CHUNK_BYTES, COMPONENTS, PATH_BYTES},
    rule::{AffixKey, EdgeKey, Position},
};
use aya_ebpf::{btf_maps::lpm_trie::Key, helpers::generated::bpf_get_smp_processor_id};

use crate::{atomic, maps::SCRATCH};

/// Areas; a power of two. No more than the tasks that are inside a program at once are in use.
pub const SCRATCHES: usize = 64;
/// Areas that are tried before giving up.
const TRIES: u32 = 16;
/// Bytes of an event that are addressed; a power of two above header and three paths.
pub const EVENT_BYTES: usize = 16_384;

const _: () = assert!(size_of::<EventHeader>() + 3 * PATH_BYTES <= EVENT_BYTES);

/// Words of an [`EdgeKey`].
const KEY_WORDS: usize = size_of::<EdgeKey>() / 8;

const _: () = assert!(core::mem::offset_of!(EdgeKey, bytes) == 8 && CHUNK_BYTES == 24);

/// Words of an [`AffixKey`] behind its length in bits.
const AFFIX_WORDS: usize = size_of::<Key<AffixKey>>() / 4;
/// Where [`Scratch::affix`] has the bits that count.
pub const AFFIX_BITS: usize = 0;
/// Where [`Scratch::affix`] has the node.
pub const AFFIX_NODE: usize = 1;
/// Where [`Scratch::affix`] has the kind.
pub const AFFIX_KIND: usize = 2;

const _: () = assert!(core::mem::offset_of!(AffixKey, bytes) == 8);

impl Scratch {
    /// Where the affix's bytes begin.
    #[inline(always)]
    pub fn affix_bytes(&mut self) -> *mut u8 {
        (&raw mut self.affix).cast::<u8>().wrapping_add(12)
    }

    /// The affix's key.
    #[inline(always)]
    pub fn affix_key(&self) -> &Key<AffixKey> {
        // SAFETY: any words are a key, which is packed.
        unsafe { &*(&raw const self.affix).cast() }
    }

    /// Makes the key name a step from `node`, with no bytes yet. Written word by word and volatile: the
    /// compiler would make it a call of `memset`, which is a loop of single bytes here.
    #[inline(always)]
    pub fn set_key(&mut self, node: u32, kind: u8, len: u8) {
        let head = u64::from(node) | u64::from(kind) << 32 | u64::from(len) << 40;
        for (word, value) in self.key.iter_mut().zip([head, 0, 0, 0]) {
            // SAFETY: a reference is valid.
            unsafe { core::ptr::write_volatile(word, value) };
        }
    }

    /// Where the key's bytes begin.
    #[inline(always)]
    pub fn key_bytes(&mut self) -> *mut u8 {
        (&raw mut self.key).cast::<u8>().wrapping_add(8)
    }

    /// The key.
    #[inline(always)]
    pub fn edge_key(&self) -> &EdgeKey {
        // SAFETY: any words are a key, and their alignment is above a key's.
        unsafe { &*(&raw const self.key).cast() }
    }
}

/// One component of a path: its dentry and its name, by address.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Component {
    /// Address of the name.
    pub name: u64,
    /// Address of the dentry.
    pub dentry: u64,
    /// Bytes of the name.
    pub len: u64,
}

/// A work area.
#[repr(C)]
pub struct Scratch {
    /// One while it is taken.
    pub busy: u32,
    /// Its place in the map, while it is taken.
    pub index: u32,
    /// Walk: the dentry reached.
    pub dentry: u64,
    /// Walk: the mount that it is in.
    pub mount: u64,
    /// Walk: that mount's root.
    pub root: u64,
    /// Walk: the root of the mount below, while nothing was climbed since.
    pub covered_root: u64,
    /// Walk: components found, the last of the path first.
    pub count: u64,
    /// Walk: how it went, a `walk::` constant.
    pub status: u64,
    /// Walk: the object does not exist yet, or was just made: it may be out of its parent's list.
    pub fresh: u64,
    /// Walk: where it starts.
    pub start_mount: u64,
    /// Walk: where it starts.
    pub start_dentry: u64,
    /// Walk: changes when it began.
    pub renames: u32,
    /// Walk: changes when it began.
    pub mounts: u32,
    /// Matching: the policy's table.
    pub table: u32,
    /// Matching: slot of the session whose own rules apply.
    pub slot: u32,
    /// Matching: against the shared rules and the session's own.
    pub positions: [Position; 2],
    /// Matching: the same at the folder that the last component is in.
    pub folder_positions: [Position; 2],
    /// Walk: the dentry of that folder; zero where there is none.
    pub folder: u64,
    /// Walk: the mount that it was found in.
    pub folder_mount: u64,
    /// Matching: an [`EdgeKey`], as words.
    pub key: [u64; KEY_WORDS],
    /// Matching: a key of the affixes with its length in bits, as words.
    pub affix: [u32; AFFIX_WORDS],
    /// Alignment.
    pub reserved: u32,
    /// Matching: where the piece of the name that comes next begins.
    pub name: u64,
    /// Matching: bytes of the name from there on.
    pub rest: u64,
    /// Matching: the node that the pieces before led to.
    pub name_node: u32,
    /// Matching: not zero where the name is compared in small letters.
    pub folds: u32,
    /// Matching: not zero where a name can't be compared as its file system does.
    pub odd: u64,
    /// Matching: the end of a name.
    pub tail: [u8; 256],
    /// Matching: bytes of it that count.
    pub tail_len: u64,
    /// Event: bytes filled in.
    pub filled: u64,
    /// Event: where the path that is being written began.
    pub began: u64,
    /// Components found.
    pub components: [Component; COMPONENTS],
    /// The event.
    pub event: [u8; EVENT_BYTES + 512],
}

/// Takes a free area; `None` when too many are in use.
#[inline(always)]
pub fn acquire() -> Option<*mut Scratch> {
    // SAFETY: the helper has no precondition.
    let first = unsafe { bpf_get_smp_processor_id() } as u32;
    let mut tries = 0;
    while tries < TRIES {
        let index = (first * 4 + tries) & (SCRATCHES as u32 - 1);
        let scratch = SCRATCH.get_ptr_mut(index)?;
        // SAFETY: the map's value is valid; `busy` is only ever accessed atomically.
        if atomic::exchange(unsafe { &raw mut (*scratch).busy }, 1) == 0 {
            // SAFETY: the area is ours.
            unsafe { (*scratch).index = index };
            return Some(scratch);
        }
        tries += 1;
    }
    None
}

/// The area that is taken, by its place. (As a pointer to a whole value an area can be no key of a map before
/// 6.2: "type=mem expected=fp, …, map_value".)
#[inline(always)]
pub fn at<'a>(index: u32) -> Option<&'a mut Scratch> {
    // SAFETY: the map's value is valid, and ours.
    SCRATCH.get_ptr_mut(index).map(|scratch| unsafe { &mut *scratch })
}

/// Gives an area back.
#[inline(always)]
pub fn release(scratch: *mut Scratch) {
    // SAFETY: as in `acquire`.
    atomic::exchange(unsafe { &raw mut (*scratch).busy }, 0);
}
