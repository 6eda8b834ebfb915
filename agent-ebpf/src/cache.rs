//! What was found before: the basis of an answer, and how entries are written.
//!
//! An entry answers only for the policy, the place, the session and the state of its authority for which
//! it was decided, and only while nothing on the host was renamed or mounted since. Readers and writers
//! race: an entry is written under an odd sequence number, and a reader that saw the number move looks
//! elsewhere.

mod basis;
mod endpoint;
mod entry;
mod file;
mod folder;

pub(crate) use basis::{Allowed, Basis, epoch, stamp};
pub(crate) use endpoint::{allows_endpoint, store_endpoint};
pub(crate) use file::{allows_file, store_file};
pub(crate) use folder::{Folder, find_folder, keep_rights, store_folder};
