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

pub use act::{refuse, refuse_without_standing};
pub use endpoint::{endpoint, is_usable, is_usable_alone};
pub use file::{allows, allows_any_name, file, is_known, name, set_id};
pub use gain::refuse_gain;
