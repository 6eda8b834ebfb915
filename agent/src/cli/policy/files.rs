//! Policy files as commands read them, and how a policy is described.

use std::path::Path;

use crate::{
    api::PolicySize,
    cli::{context::CliError, output::count},
    policy::{self, Diagnostic, Source},
};

/// The files of a folder, or one file.
pub(super) fn sources(path: &Path) -> Result<Vec<Source>, CliError> {
    let read = if path.is_dir() || !path.exists() {
        policy::read(path)
    } else {
        policy::source::read_file(path.to_owned()).map(|source| vec![source])
    };
    read.map_err(|error| CliError::failed(error.to_string()).status(2))
}

/// Prints diagnostics to standard error.
pub(super) fn warn(warnings: &[Diagnostic]) {
    for warning in warnings {
        eprintln!("{warning}\n");
    }
}

/// The size of a policy in words.
pub(super) fn size(size: PolicySize) -> String {
    format!(
        "{}, {}, {}, {}",
        count(size.tools, "tool"),
        count(size.profiles, "profile"),
        count(size.path_rules, "path rule"),
        count(size.network_rules, "network rule")
    )
}
