//! Values of maps as references.

use core::borrow::Borrow;

use aya_ebpf::btf_maps::{Array, HashMap};

/// The value of a key in a hash map.
///
/// The kernel may use the value's memory for another key while it is read, if somebody removes this key: each caller
/// has an entry that lives as long as what it asks about, or can tell the wrong value.
#[inline(always)]
pub(crate) fn look_up<K, V, const MAX: usize, const FLAGS: usize>(
    map: &'static HashMap<K, V, MAX, FLAGS>,
    key: impl Borrow<K>,
) -> Option<&'static V> {
    // SAFETY: the memory stays the map's; for what it may hold, see above.
    unsafe { map.get(key) }
}

/// The value at an index of an array map, to write. A race leaves one of the values that were written.
#[inline(always)]
#[expect(clippy::mut_from_ref, reason = "a map's values are memory that programs share")]
pub(crate) fn value_mut<T, const MAX: usize, const FLAGS: usize>(
    map: &'static Array<T, MAX, FLAGS>,
    index: u32,
) -> Option<&'static mut T> {
    // SAFETY: a value of an array map is valid for as long as the program runs.
    map.get_ptr_mut(index).map(|value| unsafe { &mut *value })
}
