//! Atomic operations of the BPF instruction set, which `core::sync::atomic` leaves out for this target.
//!
//! They take pointers to integers of 32 or 64 bits in map values, which are valid and aligned. Whoever changes one of
//! these integers on another processor does so by one instruction too.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_or, atomic_xadd, atomic_xchg};

/// Adds, wrapping, and returns the value before.
#[inline(always)]
pub(crate) fn add<T: Copy>(counter: *mut T, more: T) -> T {
    // SAFETY: see the module: the pointer is valid and aligned, and others access the integer atomically.
    unsafe { atomic_xadd::<T, T, { AtomicOrdering::SeqCst }>(counter, more) }
}

/// Sets bits and returns the value before.
#[inline(always)]
pub(crate) fn or<T: Copy>(word: *mut T, bits: T) -> T {
    // SAFETY: as in `add`.
    unsafe { atomic_or::<T, T, { AtomicOrdering::SeqCst }>(word, bits) }
}

/// Writes, and returns the value before.
#[inline(always)]
pub(crate) fn exchange(word: *mut u32, new: u32) -> u32 {
    // SAFETY: as in `add`.
    unsafe { atomic_xchg::<u32, { AtomicOrdering::SeqCst }>(word, new) }
}

/// Writes `new` if the value is `old`, and returns whether it was.
#[inline(always)]
pub(crate) fn replace<T: Copy>(word: *mut T, old: T, new: T) -> bool {
    // SAFETY: as in `add`.
    unsafe {
        atomic_cxchg::<T, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new).1
    }
}
