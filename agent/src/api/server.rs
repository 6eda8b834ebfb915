//! Answers on the control socket. For each request it is established once who asks (`caller`) and whether they may
//! ([`access`]); what is done is the registry's.
//!
//! Lowest first: who is at the other end ([`peer`], [`access`], `caller`), what all handlers share (`state`), the
//! handlers (one file each group of paths), their `routes`, and the `connection`s.

pub mod access;
mod attempts;
mod caller;
mod connection;
mod error;
mod incidents;
mod later;
pub mod log;
pub mod peer;
mod policy;
mod question;
mod routes;
mod sessions;
mod socket;
mod starting;
mod state;
pub mod users;
mod view;
mod vitals;

pub use self::{
    attempts::Attempts,
    connection::serve,
    error::ApiError,
    socket::{SocketError, bind},
    state::Server,
    vitals::canary_try,
};

#[cfg(test)]
mod tests;
