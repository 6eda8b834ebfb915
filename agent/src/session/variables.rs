//! The variables that every session has, where they have a value.

/// Set by the daemon, and by nobody else.
const OWN: [&str; 8] = ["workdir", "session", "user", "home", "tmp", "cache", "gitdir", "worktree"];

/// Whether the daemon sets a variable for every session.
pub(super) fn is_own(name: &str) -> bool {
    OWN.contains(&name)
}
