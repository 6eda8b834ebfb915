//! Other programs, run to their end, with an error that names them.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a command and returns what it wrote.
///
/// # Errors
/// When it can't be run, or fails; with what it said.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {shown}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{shown} failed ({})\n{}", output.status, said.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{shown} wrote no UTF-8"))
}

/// Says on stderr what comes next.
pub(crate) fn say(text: impl AsRef<str>) {
    eprintln!("» {}", text.as_ref());
}
