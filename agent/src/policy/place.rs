//! Places in policy files.

use std::{path::PathBuf, sync::Arc};

/// A place in a policy file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file.
    pub file: Arc<PathBuf>,
    /// Its line, from 1.
    pub line: u32,
    /// The character in that line, from 1.
    pub column: u32,
}
