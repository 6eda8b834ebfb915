//! How functions are declared that several programs share.

/// Makes references of the pointers that a function of its own got, or returns.
///
/// The verifier goes through a function that is seen from outside (`no_mangle`) once a program, on its own,
/// knowing nothing of its arguments; through any other one again for each state that it is called in. What is big
/// and called from several places is therefore of that kind. It takes numbers and pointers to whole values, and
/// the verifier lets it use those only after it has looked whether they are null.
macro_rules! deref_or_return {
    ($($pointer:ident),+; else return $otherwise:expr) => {
        $(
            // SAFETY: null, or valid: the verifier sees to it.
            let Some($pointer) = (unsafe { $pointer.as_ref() }) else { return $otherwise };
        )+
    };
}

/// Declares a function that the programs share: each has a place of that name and signature, which the daemon fills
/// with one program (section `freplace/NAME`) before it attaches anything. So the kernel goes through its body once,
/// and not once for each program that calls it; and the body has a stack of its own.
///
/// Where the place is empty, a call does nothing and gives `otherwise`, which refuses.
///
/// The kernel takes functions away that no path leads to, and then looks up whether a place can be filled under the
/// number that it had before (`func_info_aux` in `adjust_subprog_starts_after_remove`, kernel/bpf/verifier.c): what is
/// called only where constants rule it out, on a kernel or by a caller, is therefore inlined, or called behind a
/// condition that the verifier can't decide.
macro_rules! shared {
    ($visibility:vis fn $name:ident($($argument:ident: $kind:ty),+) -> $result:ty, otherwise $otherwise:expr) => {
        /// The place of what the programs share.
        #[unsafe(no_mangle)]
        #[inline(never)]
        $visibility extern "C" fn $name($($argument: $kind),+) -> $result {
            // So that the compiler takes for granted neither what is done with the arguments nor the result.
            $(core::hint::black_box($argument);)+
            core::hint::black_box($otherwise)
        }
    };
}
