//! Work areas for what does not fit on the 512-byte stack.
//!
//! A program can be preempted by another task's, so an area of one's own CPU is not one's own: each is
//! taken by an exchange and given back.

use agent_common::rule::{AffixKey, EdgeKey};
use aya_ebpf::{btf_maps::lpm_trie::Key, helpers::generated::bpf_get_smp_processor_id};

use crate::{
    atomic, loops,
    maps::SCRATCH,
    values::{SCRATCHES, Scratch},
};

/// Areas that are tried before giving up.
const TRIES: u32 = 16;

impl Scratch {
    /// Where the affix's bytes begin.
    #[inline(always)]
    pub(crate) fn affix_bytes(&mut self) -> *mut u8 {
        (&raw mut self.affix).cast::<u8>().wrapping_add(12)
    }

    /// The affix's key.
    #[inline(always)]
    pub(crate) fn affix_key(&self) -> &Key<AffixKey> {
        // SAFETY: any words are a key, which is packed.
        unsafe { &*(&raw const self.affix).cast() }
    }

    /// Makes the key name a step from `node`, with no bytes yet. Written word by word and volatile: the
    /// compiler would make it a call of `memset`, which is a loop of single bytes here.
    #[inline(always)]
    pub(crate) fn set_key(&mut self, node: u32, kind: u8, len: u8) {
        let head = u64::from(node) | u64::from(kind) << 32 | u64::from(len) << 40;
        for (word, value) in self.key.iter_mut().zip([head, 0, 0, 0]) {
            // SAFETY: a reference is valid.
            unsafe { core::ptr::write_volatile(word, value) };
        }
    }

    /// Where the key's bytes begin.
    #[inline(always)]
    pub(crate) fn key_bytes(&mut self) -> *mut u8 {
        (&raw mut self.key).cast::<u8>().wrapping_add(8)
    }

    /// The key.
    #[inline(always)]
    pub(crate) fn edge_key(&self) -> &EdgeKey {
        // SAFETY: any words are a key, and their alignment is above a key's.
        unsafe { &*(&raw const self.key).cast() }
    }
}

/// Takes a free area; `None` when too many are in use.
#[inline(always)]
pub(crate) fn acquire() -> Option<*mut Scratch> {
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
pub(crate) fn by_index<'a>(index: u32) -> Option<&'a mut Scratch> {
    // SAFETY: the map's value is valid, and ours.
    SCRATCH.get_ptr_mut(index).map(|scratch| unsafe { &mut *scratch })
}

/// Gives an area back.
#[inline(always)]
pub(crate) fn release(scratch: *mut Scratch) {
    // SAFETY: as in `acquire`.
    atomic::exchange(unsafe { &raw mut (*scratch).busy }, 0);
}

/// As [`loops::repeat`], with an area as the context.
#[inline(always)]
pub(crate) fn repeat(
    times: u32,
    step: extern "C" fn(u64, *mut *mut Scratch) -> i64,
    area: *mut Scratch,
) {
    let mut context = area;
    loops::repeat(times, step, &mut context);
}
