//! The one wrapper of the helper `bpf_loop`: bounded loops that the verifier goes through once, however often they run.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_loop;

/// Calls `step` with the numbers from zero on and the context, `times` at most, until it returns non-zero. The
/// compiler must not take for granted what `step` writes: read results with [`result`].
#[inline(always)]
pub(crate) fn repeat<T>(times: u32, step: extern "C" fn(u64, *mut T) -> i64, context: &mut T) {
    // SAFETY: `step` has the signature that the helper asks for, and the helper passes it the context, which lives
    // for as long as the helper runs.
    unsafe { bpf_loop(times, step as *mut c_void, (&raw mut *context).cast(), 0) };
}
