//! The signal that Rust's runtime changes: it ignores SIGPIPE before `main` runs, and a command would inherit that.

use std::{
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

/// Whether SIGPIPE was ignored when this program was executed.
static WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// The C library runs what is in this section before it calls the `main` that the runtime's changes are in.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = note;

extern "C" fn note() {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action the call only writes the present one, which `action` has room for.
    let done = unsafe { libc::sigaction(libc::SIGPIPE, ptr::null(), action.as_mut_ptr()) };
    if done == 0 {
        // SAFETY: the call has filled it in.
        let action = unsafe { action.assume_init() };
        WAS_IGNORED.store(action.sa_sigaction == libc::SIG_IGN, Ordering::Relaxed);
    }
}

/// Handles SIGPIPE as when this program was executed. All other signals are still handled so.
pub(super) fn restore() {
    let action = if WAS_IGNORED.load(Ordering::Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL };
    // SAFETY: neither action runs code in this process.
    unsafe { libc::signal(libc::SIGPIPE, action) };
}
