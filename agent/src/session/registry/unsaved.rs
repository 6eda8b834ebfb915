//! What the state directory lacks while it can't be written.

use std::collections::BTreeSet;

use crate::session::{Error, Id};

/// The files of the state directory that are out of date, because they could not be written.
#[derive(Default)]
pub(super) struct Unsaved {
    /// Sessions' files.
    pub(super) sessions: BTreeSet<Id>,
    /// The file of the generation and the tools' bits.
    pub(super) numbers: bool,
}

/// The message about a state directory that can't be written.
pub(super) fn unwritable(error: &Error) -> String {
    format!(
        "{error}: nothing that gives authority is done until it can be written; sessions can be revoked, quarantined \
         and ended"
    )
}
