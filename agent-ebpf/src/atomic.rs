//! Atomic operations of the BPF instruction set, which `core::sync::atomic` leaves out for this target.

use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd, atomic_xchg};

/// Adds, wrapping, and returns what was there. The pointer is a map's value, aligned.
#[inline(always)]
pub fn add(counter: *mut u64, more: u64) -> u64 {
    // SAFETY: map values are valid; whoever else touches this one does so atomically.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(counter, more) }
}

/// Writes and returns what was there. The pointer is a map's value, aligned.
#[inline(always)]
pub fn exchange(word: *mut u32, new: u32) -> u32 {
    // SAFETY: as in `add`.
    unsafe { atomic_xchg::<u32, { AtomicOrdering::SeqCst }>(word, new) }
}

/// Writes `new` where `old` is; whether it was. The pointer is a map's value, an integer of 32 or 64 bits, aligned.
#[inline(always)]
pub fn replace<T: Copy>(word: *mut T, old: T, new: T) -> bool {
    // SAFETY: as in `add`.
    unsafe {
        atomic_cxchg::<T, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word, old, new).1
    }
}
