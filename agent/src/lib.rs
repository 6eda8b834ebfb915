//! Remit: the reference monitor for AI agents on the host.
//!
//! Who may use whom: `policy` uses `agent-common` alone and reads files, nothing else. `bpf` is the
//! only user of aya and takes `policy`'s tables. `session` owns the sessions and is the only writer of
//! their maps, through `bpf`'s [`bpf::Enforcer`]; `groups` are their control groups. `incident` turns events into the
//! log. `canary` tries whether it all holds, and knows none of them. `vitals` is what the daemon measures of itself,
//! `troubles` what it can't do. `api` holds the
//! wire types and no kernel type. `cli` uses `api`'s client and, for what is done without a daemon, `policy`
//! (to check files) and `bpf` (`doctor`, `teardown`). Only `daemon` sees all of them.
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
