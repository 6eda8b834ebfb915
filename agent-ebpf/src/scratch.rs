//! Work areas for what does not fit on the 512-byte stack.
//!
//! A program can be preempted by one of another task on the same processor, so an area for each processor would not be
//! enough: each is taken by an atomic exchange, and released.

use agent_common::rule::{AffixKey, EdgeKey};
use aya_ebpf::{btf_maps::lpm_trie::Key, helpers::generated::bpf_get_smp_processor_id};

use crate::{
    atomic,
    loops::{self, Context},
    maps::SCRATCH,
    values::{SCRATCHES, Scratch},
    volatile,
};

/// Areas that are tried before giving up.
const TRIES: u32 = 16;

/// A work area that this program has taken, until it releases it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Area(*mut Scratch);

impl Area {
    /// The area behind a function's argument; `None` for null.
    #[inline(always)]
    pub(crate) fn of(area: *mut Scratch) -> Option<Self> {
        (!area.is_null()).then_some(Self(area))
    }

    /// The area with these contents.
    #[inline(always)]
    pub(crate) fn with(contents: &mut Scratch) -> Self {
        Self(contents)
    }

    /// Its contents. Take them anew after a loop whose steps take them.
    #[inline(always)]
    pub(crate) fn get<'a>(self) -> &'a mut Scratch {
        // SAFETY: a value of a map is valid, and nobody else has this one until it is released.
        unsafe { &mut *self.0 }
    }

    /// As an argument of a function that the verifier goes through on its own.
    #[inline(always)]
    pub(crate) fn pointer(self) -> *mut Scratch {
        self.0
    }
}

/// Takes a free area; `None` when too many are in use.
#[inline(always)]
pub(crate) fn acquire() -> Option<Area> {
    // SAFETY: the helper has no precondition.
    let first = unsafe { bpf_get_smp_processor_id() } as u32;
    let mut tries = 0;
    while tries < TRIES {
        let index = (first * 4 + tries) & (SCRATCHES as u32 - 1);
        let area = Area(SCRATCH.get_ptr_mut(index)?);
        if atomic::exchange(area.busy(), 1) == 0 {
            area.get().index = index;
            return Some(area);
        }
        tries += 1;
    }
    None
}

/// The area that was taken, by its index. (Before 6.2 the verifier takes no key of a map from an area that is a
/// function's argument: "type=mem expected=fp, …, map_value".)
#[inline(always)]
pub(crate) fn by_index(index: u32) -> Option<Area> {
    SCRATCH.get_ptr_mut(index).map(Area)
}

/// Releases an area.
#[inline(always)]
pub(crate) fn release(area: Area) {
    atomic::exchange(area.busy(), 0);
}

/// As [`loops::repeat`], with an area as the context.
#[inline(always)]
pub(crate) fn repeat(times: u32, step: extern "C" fn(u64, Context<Area>) -> i64, area: Area) {
    let mut context = area;
    loops::repeat(times, step, &mut context);
}

impl Area {
    /// Where it says whether it is taken: only ever accessed atomically.
    #[inline(always)]
    fn busy(self) -> *mut u32 {
        // SAFETY: a value of a map is valid.
        unsafe { &raw mut (*self.0).busy }
    }
}

impl Scratch {
    /// Where the affix's bytes begin.
    #[inline(always)]
    pub(crate) fn affix_bytes(&mut self) -> *mut u8 {
        (&raw mut self.affix).cast::<u8>().wrapping_add(12)
    }

    /// The affix's key.
    #[inline(always)]
    pub(crate) fn affix_key(&self) -> &Key<AffixKey> {
        // SAFETY: the words have the key's size, any bytes are a key, and it needs no alignment.
        unsafe { &*(&raw const self.affix).cast() }
    }

    /// Makes the edge's key that of a step from `node`, with no bytes of a name yet. Word by word and volatile: else the
    /// compiler calls `memset`, which is a loop of single bytes here.
    #[inline(always)]
    pub(crate) fn set_key(&mut self, node: u32, kind: u8, len: u8) {
        let head = u64::from(node) | u64::from(kind) << 32 | u64::from(len) << 40;
        for (word, value) in self.key.iter_mut().zip([head, 0, 0, 0]) {
            volatile::write(word, value);
        }
    }

    /// Where the edge key's bytes begin.
    #[inline(always)]
    pub(crate) fn key_bytes(&mut self) -> *mut u8 {
        (&raw mut self.key).cast::<u8>().wrapping_add(8)
    }

    /// The edge's key.
    #[inline(always)]
    pub(crate) fn edge_key(&self) -> &EdgeKey {
        // SAFETY: the words have the key's size and at least its alignment, and any bytes are a key.
        unsafe { &*(&raw const self.key).cast() }
    }
}
