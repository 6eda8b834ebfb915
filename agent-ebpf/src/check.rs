//! The checks that hooks ask for: a request in, a verdict out. The only callers of the decision.
//!
//! **Errors refuse.** Whatever goes wrong on the way for a tagged task (no work area, no table, no session entry)
//! refuses the operation. Nothing is ever decided for an untagged task.

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
pub(crate) use file::{allows, allows_every_name, file, is_cached_as_allowed, name, set_id};
pub(crate) use gain::refuse_gained_rights;
pub(crate) use option::{
    IP, IPV6, ROUTING_HEADERS, refuse_option, refuse_routing_option, routing_option,
};
pub(crate) use socket::{
    Finding, act_on_socket, act_without_tool, find_refusal, is_lost, may_have_kind,
    pending_of_current, refuse_foreign_control_of_current, send_pending, use_by_current,
    use_of_descriptor, use_of_socket, verdict_on_use,
};
