//! The host's name.

/// The host's name, as the kernel has it.
pub(super) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
