//! Who may use whom, as tables: the only place to edit when a file is moved or made. `rules` applies them.
//!
//! A module is named by its path below the crate's `src`: `cache/folder`. `hooks/*` stands for all below `hooks`,
//! `hooks/**` for `hooks` and all below.

/// The layers of `agent-ebpf`, the lowest first: a module uses modules of its own layer and of those above it in
/// this table, nothing else.
pub(super) const KERNEL_LAYERS: &[&[&str]] = &[
    &["main", "atomic", "kernel", "kernel/*", "loops"],
    &["cache", "request", "task_storage", "expiry", "mounts"],
    &["values"],
    &["maps"],
    &[
        "standing",
        "scratch",
        "subject",
        "given",
        "socket_owner",
        "cache/file",
        "cache/endpoint",
        "object_owner",
    ],
    &["matching", "check/judge"],
    &["walk"],
    &["emit", "cache/folder", "control_socket"],
    &["check/endpoint", "check/folder", "check/gain"],
    &["check"],
    &["check/socket"],
    &["hooks", "hooks/*", "connections", "packets", "probe", "processes", "tasks"],
];

/// What some modules of a crate may not use.
pub(super) struct Ban {
    /// The crate's folder.
    pub(super) krate: &'static str,
    /// The modules that it is for.
    pub(super) of: &'static [&'static str],
    /// Modules among those that it is not for.
    pub(super) but: &'static [&'static str],
    /// Modules of the same crate, or crates, that may not be used.
    pub(super) not: &'static [&'static str],
    /// What would be right.
    pub(super) instead: &'static str,
}

/// What may not be used, besides what a layer forbids.
pub(super) const BANS: &[Ban] = &[];
