//! Volatile reads and writes: the compiler neither drops, repeats, moves nor merges them. For memory that another
//! processor, the daemon or a callback changes meanwhile.

use core::ptr;

/// Reads a value anew.
#[inline(always)]
pub(crate) fn read<T: Copy>(value: &T) -> T {
    // SAFETY: a reference is valid and aligned.
    unsafe { ptr::read_volatile(value) }
}

/// Writes a value.
#[inline(always)]
pub(crate) fn write<T>(value: &mut T, new: T) {
    // SAFETY: a reference is valid and aligned.
    unsafe { ptr::write_volatile(value, new) };
}
