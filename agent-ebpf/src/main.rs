//! Remit's kernel programs.
//!
//! `hook → subject → request → check → verdict and event`. A hook finds the tag of the running task ([`subject`]),
//! makes a [`request`] of its arguments, and asks [`check`], which alone calls the decision. A hook uses no other
//! hook and no map. [`kernel`] alone reads kernel structures, and [`maps`] alone defines maps.
#![no_std]
#![deny(
    clippy::allow_attributes,
    clippy::expect_used,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]
#![feature(core_intrinsics, asm_experimental_arch)]
#![expect(internal_features, reason = "atomics of this target: see `atomic`")]
#![no_main]

#[macro_use]
mod macros;

mod atomic;
mod cache;
mod check;
mod control_socket;
mod emit;
mod entries;
mod expiry;
mod given;
mod hooks;
mod iterators;
mod kernel;
mod loops;
mod map_access;
mod maps;
mod matching;
mod mounts;
mod object_owner;
mod packets;
mod probe;
mod request;
mod scratch;
mod session_tasks;
mod socket_ends;
mod socket_owner;
mod socket_storage;
mod standing;
mod subject;
mod task_storage;
mod terminal;
mod values;
mod verdict;
mod volatile;
mod walk;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel offers some helpers only to programs with a licence of this kind.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
