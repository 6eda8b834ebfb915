//! The executables of the crate `tests`: built, found, and asked for what they hold.
//! It must not run a test.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;
use serde_json::Value;

use crate::{
    build,
    process::{capture_lines, capture_text},
    project::cargo,
};

/// Builds the integration tests and returns the executables that hold a test that matches.
///
/// # Errors
/// When they don't compile, or one can't list its tests.
pub(super) fn with_tests(filter: Option<&str>) -> Result<Vec<PathBuf>> {
    let mut command = cargo();
    command.args(["test", "--no-run", "--package", "tests"]);
    command.arg("--message-format=json-render-diagnostics");
    command.env(build::OBJECT_VARIABLE, build::object_path());
    let lines = capture_lines(&mut command)?;
    let mut executables = Vec::new();
    for path in lines.lines().filter_map(executable) {
        let mut list = Command::new(&path);
        // As the guest does: any of the words.
        let words = filter.into_iter().flat_map(str::split_whitespace);
        let tests = capture_text(list.args(["--list", "--format=terse"]).args(words))?;
        if tests.lines().any(|line| line.ends_with(": test")) {
            executables.push(path);
        }
    }
    executables.sort();
    Ok(executables)
}

/// Whether an executable's tests are for a host that can't enforce: it is named `unfit`.
pub(super) fn is_for_unfit_host(path: &Path) -> bool {
    // Cargo appends a hyphen and a hash.
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"unfit-"))
}

/// Whether an executable is the catalogue of attacks: it is named `attacks`.
pub(super) fn has_attacks(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"attacks-"))
}

/// The test executable that a line of cargo's messages names, if it names one.
fn executable(line: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message.get("profile")?.get("test")?.as_bool()?;
    let path = message.get("executable")?.as_str()?;
    is_test.then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_for_an_unfit_host_is_known_by_its_name() {
        assert!(is_for_unfit_host(Path::new("/t/deps/unfit-0123456789abcdef")));
        assert!(!is_for_unfit_host(Path::new("/t/unfit-1/all-0123456789abcdef")));
    }

    #[test]
    fn executable_is_that_of_a_test_only() {
        let line = |test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","profile":{{"test":{test}}},"executable":"/t/a"}}"#
            )
        };
        assert_eq!(executable(&line(true)), Some(PathBuf::from("/t/a")));
        assert_eq!(executable(&line(false)), None);
        assert_eq!(executable("plain text"), None);
    }
}
