//! Gives memory back to the host after a change or a large policy.

/// Gives freed memory back to the host: the allocator would keep it for as long as the daemon runs.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function has no precondition.
    unsafe {
        libc::malloc_trim(0);
    }
}
