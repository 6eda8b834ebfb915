//! Reading and writing entries while other processors do the same.
//!
//! An entry is written under an odd sequence number. A reader that saw an odd number, or sees another number
//! afterwards, treats the entry as missing.

use crate::atomic;

/// Reads a field that another processor may be writing.
macro_rules! read_field {
    ($entry:ident.$($field:tt)+) => {
        $crate::volatile::read(&$entry.$($field)+)
    };
}

/// Writes fields of an entry between [`begin`] and [`end`]. One by one, since a whole entry is too large for the
/// stack.
macro_rules! write_fields {
    ($entry:ident: $($field:ident $(. $part:ident)? = $value:expr;)*) => {
        $($crate::volatile::write(&mut $entry.$field $(. $part)?, $value);)*
    };
}

pub(super) use {read_field, write_fields};

/// A place among `many`, a power of two, for numbers that are not spread evenly.
#[inline(always)]
pub(super) fn place(numbers: u64, many: usize) -> u32 {
    // Fibonacci hashing: the upper bits of a product with 2^64 divided by the golden ratio.
    let mixed = numbers.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - many.trailing_zeros())) as u32
}

/// Begins to write the entry with this sequence number. Returns the number before; `None` while another processor
/// writes.
#[inline(always)]
pub(super) fn begin(sequence: &mut u32) -> Option<u32> {
    let before = crate::volatile::read(sequence);
    (before & 1 == 0 && atomic::replace(sequence, before, before + 1)).then_some(before)
}

/// Ends what [`begin`] began.
#[inline(always)]
pub(super) fn end(sequence: &mut u32, before: u32) {
    atomic::replace(sequence, before + 1, before + 2);
}
