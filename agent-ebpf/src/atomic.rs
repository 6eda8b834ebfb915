//! Atomic operations of the BPF instruction set, which `core::sync::atomic` leaves out for this target.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_or, atomic_xadd, atomic_xchg};

/// Adds, wrapping, and returns what was there. The pointer is a map's value, an integer of 32 or 64 bits, aligned.
#[inline(always)]
pub(crate) fn add<T: Copy>(counter: *mut T, more: T) -> T {
    // SAFETY: map values are valid; whoever else touches this one does so atomically.
    unsafe { atomic_xadd::<T, T, { AtomicOrdering::SeqCst }>(counter, more) }
}

/// Sets bits and returns what was there. The pointer is a map's value, an integer of 32 or 64 bits, aligned.
#[inline(always)]
pub(crate) fn or<T: Copy>(word: *mut T, bits: T) -> T {
    // SAFETY: as in `add`.
    unsafe { atomic_or::<T, T, { AtomicOrdering::SeqCst }>(word, bits) }
}

/// Writes and returns what was there. The pointer is a map's value, aligned.
#[inline(always)]
pub(crate) fn exchange(word: *mut u32, new: u32) -> u32 {
    // SAFETY: as in `add`.
    unsafe { atomic_xchg::<u32, { AtomicOrdering::SeqCst }>(word, new) }
}

/// Writes `new` where `old` is; whether it was. The pointer is a map's value, an integer of 32 or 64 bits, aligned.
#[inline(always)]
pub(crate) fn replace<T: Copy>(word: *mut T, old: T, new: T) -> bool {
    // SAFETY: as in `add`.
    unsafe {
        atomic_cxchg::<T, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new).1
    }
}
