//! The canary: a process of the daemon's, in a session of its own, that tries one operation of each class that Remit
//! refuses, and a few that it allows. So broken enforcement is noticed within one interval.
//!
//! [`tries`] lists the operations, [`child`] is the process that tries them, [`judge`](fn@judge) makes a report from
//! its answers and from the refusals that the kernel reported. The daemon starts the process and logs the report.

pub mod child;
mod judge;
mod tries;

use std::path::{Path, PathBuf};

pub use judge::{Answer, Outcome, Report, Tried, judge};
pub use tries::{Call, TRIES, Try, Wants};

/// The file in the canary's folder that every session may read.
pub const ALLOWED: &str = "allowed";
/// The file that no tool covers.
pub const FORBIDDEN: &str = "forbidden";
/// The file that the canary tries to remove.
pub const DOOMED: &str = "doomed";
/// The file that the canary tries to rename.
pub const MOVED: &str = "moved";
/// The folder that the canary tries to remove.
pub const FOLDER: &str = "folder";
/// The socket that the daemon listens on.
pub const SOCKET: &str = "socket";
/// Names that exist only after an operation that should have been refused was not.
pub const TRACES: [&str; 6] =
    ["made", "made-node", "made-folder", "made-link", "made-symlink", "renamed"];

/// The canary's folder, beside the control socket: `/run/remit/control.canary`.
pub fn folder(socket: &Path) -> PathBuf {
    socket.with_extension("canary")
}
