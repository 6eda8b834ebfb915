//! Memory that a start or a large policy took, and that is needed no more.

/// Gives it back to the host. What the kernel says of its types alone takes tens of megabytes while it is read,
/// and the allocator would keep them for as long as the daemon runs.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the function has no precondition.
    unsafe {
        libc::malloc_trim(0);
    }
}
