//! Macros for functions that several programs share.

/// Turns pointer arguments into references, or returns if one is null.
///
/// For functions that are visible from outside (`no_mangle`). The verifier goes through such a function once in each
/// program, without knowing its arguments; through any other function, once for each state in which it is called. So
/// a function that is large and called from several places is of the first kind. It takes numbers, and pointers to
/// whole values, which the verifier lets it use only after a comparison with null.
macro_rules! deref_or_return {
    ($($pointer:ident),+; else return $otherwise:expr) => {
        $(
            // SAFETY: null, or valid: the verifier checks each call.
            let Some($pointer) = (unsafe { $pointer.as_ref() }) else { return $otherwise };
        )+
    };
}

/// Declares a function whose body several programs share.
///
/// Each program has a place with the function's name and signature. The daemon fills all places with one program
/// (section `freplace/NAME`) before it attaches anything. So the kernel verifies the body once, not once for each
/// program that calls it, and the body has a stack of its own. A call of an empty place returns `otherwise`, which
/// refuses.
///
/// The kernel removes functions that no path calls, and afterwards looks up whether a place can be filled under the
/// number that the place had before (`func_info_aux` in `adjust_subprog_starts_after_remove`,
/// kernel/bpf/verifier.c). So a function that would be called only where constants of this kernel or of the caller
/// rule it out is inlined, or called behind a condition that the verifier can't decide.
macro_rules! shared {
    ($visibility:vis fn $name:ident($($argument:ident: $kind:ty),+) -> $result:ty, otherwise $otherwise:expr) => {
        /// The place of a shared function: see [`shared!`].
        #[unsafe(no_mangle)]
        #[inline(never)]
        $visibility extern "C" fn $name($($argument: $kind),+) -> $result {
            // The compiler must assume nothing about the arguments' use and the result.
            $(core::hint::black_box($argument);)+
            core::hint::black_box($otherwise)
        }
    };
}
