//! Types that Remit's kernel programs and its daemon share.
//!
//! Everything here is plain data and pure functions: no maps, no kernel access, no allocation. Both
//! sides compile the same source, so a layout that is asserted here holds on both.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::allow_attributes,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod access;
pub mod authority;
pub mod cache;
pub mod decision;
pub mod event;
pub mod given;
pub mod id;
pub mod limits;
pub mod mark;
pub mod offsets;
#[cfg(feature = "user")]
mod pod;
pub mod rule;

/// Asserts a type's size and alignment at compile time: the layout is a contract with the kernel side.
#[macro_export]
macro_rules! assert_layout {
    ($type:ty, $size:expr, $align:expr) => {
        const _: () = {
            assert!(core::mem::size_of::<$type>() == $size);
            assert!(core::mem::align_of::<$type>() == $align);
        };
    };
}
