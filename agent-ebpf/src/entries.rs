//! Arrays of values that programs read at their addresses, without a helper.

use core::{cell::UnsafeCell, mem::MaybeUninit};

/// An array of `N` values, a power of two. A look-up takes 3 instructions; that of an array map takes 14.
///
/// Each static of this type has a section of its own, `.bss.NAME`. To the loader and the daemon it is an array map of
/// one value, which holds the whole array; the map's name is the section's `NAME` in capitals.
pub(crate) struct Entries<T, const N: usize>(UnsafeCell<MaybeUninit<[T; N]>>);

// SAFETY: programs on all processors share the array as they share a map's values: whoever accesses it sees to it
// that a race does no harm (sequence numbers, atomic operations, values that are read whole).
unsafe impl<T, const N: usize> Sync for Entries<T, N> {}

impl<T, const N: usize> Entries<T, N> {
    /// All zeroes, as the kernel makes it.
    pub(crate) const fn new() -> Self {
        const { assert!(N.is_power_of_two()) };
        Self(UnsafeCell::new(MaybeUninit::zeroed()))
    }

    /// The value at a place, modulo their number.
    #[inline(always)]
    pub(crate) fn at(&self, place: u32) -> *mut T {
        let place = place as usize & (N - 1);
        // SAFETY: the place is within the array.
        unsafe { self.0.get().cast::<T>().add(place) }
    }

    /// The value at a place, to read.
    #[inline(always)]
    pub(crate) fn get(&self, place: u32) -> &T {
        // SAFETY: the value is valid: it was zeroed, and all values here are of integers. For races, see `Sync`.
        unsafe { &*self.at(place) }
    }

    /// The value at a place, to read and write.
    #[inline(always)]
    #[expect(
        clippy::mut_from_ref,
        reason = "the array is memory that programs share, as a map's values are"
    )]
    pub(crate) fn get_mut(&self, place: u32) -> &mut T {
        // SAFETY: as in `get`.
        unsafe { &mut *self.at(place) }
    }
}
