//! Loops by the helper `bpf_loop`: the verifier goes through the body once, however often it runs.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;

/// What a loop's steps work on.
#[repr(transparent)]
pub(crate) struct Context<T>(*mut T);

impl<T> Context<T> {
    /// Takes it: once in each step, and anew after an inner loop.
    #[inline(always)]
    pub(crate) fn get<'a>(&self) -> &'a mut T {
        // SAFETY: the helper passes a step what [`repeat`] was given, which is valid and not used otherwise meanwhile.
        unsafe { &mut *self.0 }
    }
}

/// Calls `step` with 0, 1, 2 … and the context, at most `times` times, until it returns non-zero.
///
/// Read with [`crate::volatile::read`] what the steps wrote.
#[inline(always)]
pub(crate) fn repeat<T>(times: u32, step: extern "C" fn(u64, Context<T>) -> i64, context: &mut T) {
    // SAFETY: `step` has the signature that the helper asks for, and the context lives for as long as the helper runs.
    unsafe { bpf_loop(times, step as *mut c_void, (&raw mut *context).cast(), 0) };
}
