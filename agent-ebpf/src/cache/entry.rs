//! How entries are read and written while others do the same.

use crate::atomic;

/// Reads a field that another processor may be writing.
macro_rules! read_field {
    ($entry:ident.$($field:tt)+) => {
        // SAFETY: a reference is valid.
        unsafe { core::ptr::read_volatile(&raw const $entry.$($field)+) }
    };
}

/// Writes a field of an entry that is ours. Field by field, since a whole entry is too much for the stack.
macro_rules! write_fields {
    ($entry:ident: $($field:ident $(. $part:ident)? = $value:expr;)*) => {
        // SAFETY: a reference is valid.
        $(unsafe { core::ptr::write_volatile(&raw mut $entry.$field $(. $part)?, $value) };)*
    };
}

pub(super) use {read_field, write_fields};

/// A place, of a power of two many, for what is not spread evenly.
#[inline(always)]
pub(super) fn place(numbers: u64, many: usize) -> u32 {
    // Fibonacci hashing: the upper bits of a product with 2^64 divided by the golden ratio.
    let mixed = numbers.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - many.trailing_zeros())) as u32
}

/// Begins to write an entry, whose sequence number that is: the number of before; `None` while another writes.
#[inline(always)]
pub(super) fn begin(sequence: *mut u32) -> Option<u32> {
    // SAFETY: a map's value is valid.
    let before = unsafe { sequence.read_volatile() };
    (before & 1 == 0 && atomic::replace(sequence, before, before + 1)).then_some(before)
}

/// Ends what [`begin`] began.
#[inline(always)]
pub(super) fn end(sequence: *mut u32, before: u32) {
    atomic::replace(sequence, before + 1, before + 2);
}
