//! Sessions: which run, what tools each holds, and until when. Owns the registry, the only writer of the kernel's
//! session entries (through [`crate::bpf::Enforcer`]) and of the state directory.
//!
//! Order of writes: authority that grows is written to the state directory first and to the kernel second; authority
//! that shrinks, to the kernel first. So a daemon that crashes between the two leaves a session with less authority
//! than was meant, and never with a permission that no file explains.
//!
//! Lowest first: the types (`model`, `id`, `clock`, `error`), the state directory (`store`), the registry, its shared
//! handle ([`Sessions`]), and on top of them what needs the registry again and again ([`kill`], [`losses`],
//! [`policy_dir`], [`clearing`]).

pub mod acts;
pub mod clearing;
pub mod clock;
mod entry;
pub mod error;
pub mod folder;
pub mod gitdir;
pub mod id;
pub mod kill;
mod kill_users;
pub mod losses;
mod mappings;
pub mod model;
mod name;
pub mod policy_dir;
pub mod private;
pub mod registry;
mod removal;
mod sessions;
mod store;
mod variables;

#[cfg(test)]
pub(crate) mod testing;

pub use error::Error;
pub use id::Id;
pub use model::{Actor, Session};
pub use registry::Registry;
pub use sessions::Sessions;
