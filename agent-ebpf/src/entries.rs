//! Arrays of values that programs read at their addresses.

use core::{cell::UnsafeCell, mem::MaybeUninit};

/// An array of so many values, a power of two, that is read at its address: a look-up takes three instructions, in
/// an array map's way fourteen. To the loader and the daemon it is an array map of one value, which is all of them;
/// its name is what follows `.bss.` in its section's, in capitals.
pub(crate) struct Entries<T, const N: usize>(UnsafeCell<MaybeUninit<[T; N]>>);

// SAFETY: whoever reads and writes says how what races comes out.
unsafe impl<T, const N: usize> Sync for Entries<T, N> {}

impl<T, const N: usize> Entries<T, N> {
    /// All zeroes.
    pub(crate) const fn new() -> Self {
        const { assert!(N.is_power_of_two()) };
        // The kernel makes it of zeroes.
        Self(UnsafeCell::new(MaybeUninit::zeroed()))
    }

    /// The value at a place, modulo their number.
    #[inline(always)]
    pub(crate) fn at(&self, place: u32) -> *mut T {
        let place = place as usize & (N - 1);
        // SAFETY: the place is within.
        unsafe { self.0.get().cast::<T>().add(place) }
    }
}
