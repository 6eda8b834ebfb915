//! The canary: a process of the daemon's own, in a session of its own, that tries one operation of each
//! class that Remit refuses, beside a few that it allows. Enforcement that broke shows within one interval,
//! before somebody makes use of it.
//!
//! [`tries`] says what is tried, [`child`] is the process that tries, [`judge`](fn@judge) makes a report of
//! what it answered and of what the kernel reported. The daemon starts the process and tells of the report.

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
/// A file for what would remove it.
pub const DOOMED: &str = "doomed";
/// A file for what would rename it.
pub const MOVED: &str = "moved";
/// A folder for what would remove it.
pub const FOLDER: &str = "folder";
/// The socket that the daemon listens on.
pub const SOCKET: &str = "socket";
/// Names that are there only where something was not refused.
pub const TRACES: [&str; 6] =
    ["made", "made-node", "made-folder", "made-link", "made-symlink", "renamed"];

/// The canary's folder, beside the control socket: `/run/remit/control.canary`.
pub fn folder(socket: &Path) -> PathBuf {
    socket.with_extension("canary")
}
