//! Decisions that are kept.
//!
//! An entry answers only for what it was decided from: the same policy, place, session and state of the session's
//! authority, and only while nothing on the host was renamed or mounted since.

mod basis;
mod endpoint;
mod entry;
mod file;
mod folder;

pub(crate) use basis::{Allowed, Basis, epoch, stamp};
pub(crate) use endpoint::{allows_endpoint, store_endpoint};
pub(crate) use file::{allows_file, store_file};
pub(crate) use folder::{Folder, find_folder, keep_rights, store_folder};
