//! Remit: the reference monitor for AI agents on the host.
//!
//! Layers, the lowest first; a module uses those before it, and no two files use each other in a circle:
//!
//! - `policy` compiles policy files into tables. It reads files and does no other I/O; it knows neither aya nor tokio.
//! - `incident` turns the kernel's events into the log, and reads the log. `canary` checks that enforcement holds. Neither
//!   knows the others.
//! - `settings` (the daemon's settings file), `troubles` (what the daemon can't do at the moment), `groups` (control groups),
//!   `vitals` (the daemon's measurements).
//! - `bpf` loads the kernel programs and writes their maps, from `policy`'s tables. The only user of aya.
//! - `session` owns the sessions and is the only writer of their maps, through [`bpf::Enforcer`].
//! - `api` has the types of the control interface, none of them the kernel's or the registry's, its client and its server.
//! - `cli` knows sessions only through `api`'s client. Without a daemon it uses `policy` (to check files), `bpf` (`doctor`)
//!   and `daemon::teardown`.
//! - `daemon` composes all of them.
#![cfg_attr(
    not(test),
    deny(
        clippy::allow_attributes,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod api;
pub mod bpf;
pub mod canary;
pub mod cli;
pub mod daemon;
pub mod groups;
pub mod incident;
pub mod policy;
pub mod session;
pub mod settings;
pub mod troubles;
pub mod vitals;
