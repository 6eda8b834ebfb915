//! Other programs: run to their end, with an error that names them.
//! It must not know what they are run for.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Runs a command whose output is the user's to see.
///
/// # Errors
/// When it can't be started or ends with another status than zero.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = name(command);
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("cannot run `{name}`"))?;
    if !status.success() {
        bail!("`{name}` failed ({status})");
    }
    Ok(())
}

/// Runs a command and returns what it wrote to stdout; its stderr is shown only when it fails.
///
/// # Errors
/// When it can't be started or ends with another status than zero.
pub(crate) fn capture(command: &mut Command) -> Result<Vec<u8>> {
    let name = name(command);
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{name}`"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{name}` failed ({})\n{}", output.status, stderr.trim_end());
    }
    Ok(output.stdout)
}

/// The same as [`capture`], for a command that writes text.
///
/// # Errors
/// As [`capture`], and when the output is not UTF-8.
pub(crate) fn capture_text(command: &mut Command) -> Result<String> {
    let output = capture(command)?;
    String::from_utf8(output).with_context(|| format!("`{}` wrote no UTF-8", name(command)))
}

/// The same as [`capture_text`], for a command whose stderr is the user's to see.
///
/// # Errors
/// As [`capture_text`].
pub(crate) fn capture_lines(command: &mut Command) -> Result<String> {
    command.stderr(Stdio::inherit());
    capture_text(command)
}

/// Where a program lies, by `PATH` and the folders of system programs.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| is_executable(candidate))
}

/// A command for a system program that may lie outside of the user's `PATH`.
pub(crate) fn system(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| program.into()))
}

/// Whether the effective user is root.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, touches no memory and can't fail.
    unsafe { libc::geteuid() == 0 }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn name(command: &Command) -> String {
    let program = command.get_program();
    let words = command.get_args().take(2);
    let first = Path::new(program).file_name().unwrap_or(program);
    std::iter::once(first)
        .chain(words)
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
