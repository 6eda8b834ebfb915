//! Why a session's own rules can't be made.

use crate::policy::{limit::LimitError, pattern::ExpandError};

/// A session whose own rules can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstantiateError {
    /// This can't be a variable's name.
    #[error("`{name}` can't be a variable: lower-case letters, digits and `_`, no digit first")]
    Name {
        /// What was given.
        name: String,
    },
    /// A variable's value can't stand where a path puts it.
    #[error(transparent)]
    Value(#[from] ExpandError),
    /// The tables are full.
    #[error(transparent)]
    Limit(#[from] LimitError),
}
