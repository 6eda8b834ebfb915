//! Remit's kernel programs.
//!
//! `hook → subject → object → decide → verdict and event`. A hook finds the subject ([`subject`]),
//! names the object, and asks [`check`], which alone calls the decision. A hook calls no other hook and
//! touches no map. [`kernel`] alone reads kernel structures, [`maps`] alone defines maps.
#![no_std]
#![feature(core_intrinsics, asm_experimental_arch)]
#![expect(internal_features, reason = "atomics of this target: see `atomic`")]
#![no_main]

mod atomic;
mod cache;
mod check;
mod emit;
mod given;
mod hooks;
mod kernel;
mod maps;
mod matching;
mod mounts;
mod object_owner;
mod probe;
mod processes;
mod scratch;
mod socket_owner;
mod subject;
mod task_storage;
mod walk;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The helpers that programs may call depend on it.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
