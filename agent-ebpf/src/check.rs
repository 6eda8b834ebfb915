//! The checks that hooks ask for: object in, verdict out. The only caller of the decision.
//!
//! **What an error means.** For a tagged task everything that goes wrong on the way (no work area, no
//! table, no session entry) refuses; nothing is ever decided for an untagged one.

mod act;
mod endpoint;
mod file;
mod folder;
mod gain;
mod judge;
mod option;
mod socket;

pub(crate) use act::{refuse, refuse_without_standing};
pub(crate) use endpoint::endpoint;
pub(crate) use file::{allows, allows_any_name, file, is_known, name, set_id};
pub(crate) use gain::refuse_gain;
pub(crate) use option::{IP, IPV6, ROUTES, refuse_option, refuse_way, way};
pub(crate) use socket::{
    UNSENT, about, by_roles, conclude, flush, foreign, is_lost, may_exist, pending_now, socket,
    socket_used, used_now, without_tool,
};
