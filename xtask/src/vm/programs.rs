//! The programs that booting takes: the machine's own where it has them, else Debian's packages
//! unpacked into the cache. Owns the folder `programs` of the cache.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    apt::Lists,
    process::{capture_text, find},
    project::{cache, make_whole},
};

/// Where the packages put programs and libraries.
const PROGRAM_FOLDERS: [&str; 4] = ["usr/bin", "bin", "usr/sbin", "sbin"];
const LIBRARY_FOLDERS: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
const FIRMWARE_FOLDERS: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

const EMULATOR: &str = "qemu-system-x86_64";

/// Unpacks the programs that every boot takes, where the machine has not its own.
///
/// # Errors
/// As [`path`].
pub(super) fn fetch() -> Result<()> {
    ["busybox", "kmod", EMULATOR].into_iter().try_for_each(|program| path(program).map(drop))
}

/// Where a program that booting takes lies, after its package was unpacked if need be.
///
/// # Errors
/// When the package can't be had or doesn't hold it.
pub(super) fn path(program: &str) -> Result<PathBuf> {
    let package = match program {
        EMULATOR => "qemu-system-x86",
        // Another busybox may need libraries, which the first root hasn't.
        "busybox" => "busybox-static",
        "xz" => "xz-utils",
        other => other,
    };
    path_of(program, package)
}

/// Where a program of a package lies, after the package was unpacked if need be.
///
/// # Errors
/// When the package can't be had or doesn't hold it.
pub(crate) fn path_of(program: &str, package: &str) -> Result<PathBuf> {
    let is_emulator = program == EMULATOR;
    if program != "busybox"
        && let Some(path) = find(program)
        && !(is_emulator && is_old_emulator(&path))
    {
        return Ok(path);
    }
    let (folder, lists): (_, fn() -> Result<Lists>) = if is_emulator {
        (format!("{package}-backports"), Lists::of_machine_and_backports)
    } else {
        (package.to_owned(), Lists::of_machine)
    };
    let folder = cache()?.join("programs").join(folder);
    if !folder.exists() {
        let lists =
            lists().with_context(|| format!("`{program}` is missing: install `{package}`"))?;
        make_whole(&folder, |part| lists.unpack_with_needs(&[package], part))?;
    }
    let places = PROGRAM_FOLDERS.map(|place| folder.join(place).join(program));
    let found = places.into_iter().find(|path| path.exists());
    found.with_context(|| format!("Debian's package `{package}` holds no `{program}`"))
}

/// Whether a QEMU is older than 8.1: those run code of one processor that another has just patched,
/// so that kernels with several panic at a breakpoint (`int3`) once in some hundred minutes.
/// Mended by QEMU's commit deba78709a, "accel/tcg: Always lock pages before translation".
fn is_old_emulator(path: &Path) -> bool {
    let text = capture_text(Command::new(path).arg("--version")).unwrap_or_default();
    version(&text).is_some_and(|version| version < (8, 1))
}

/// The version in `QEMU emulator version 7.2.22 (Debian …)`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (_, rest) = text.split_once(" version ")?;
    let mut numbers = rest.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// A command for a program, with the libraries that were unpacked beside it.
///
/// # Errors
/// As [`path`].
pub(super) fn command(program: &str) -> Result<Command> {
    let path = path(program)?;
    let mut command = Command::new(&path);
    command.env_remove("LD_LIBRARY_PATH");
    if let Some(package) = unpacked(&path)? {
        let folders = LIBRARY_FOLDERS.map(|place| package.join(place));
        let folders = std::env::join_paths(folders).context("the cache's path holds a colon")?;
        command.env("LD_LIBRARY_PATH", folders);
    }
    Ok(command)
}

/// A command for QEMU, which is told where the firmware that was unpacked with it lies.
///
/// # Errors
/// As [`path`].
pub(super) fn emulator() -> Result<Command> {
    let mut emulator = command(EMULATOR)?;
    if let Some(package) = unpacked(Path::new(emulator.get_program()))? {
        for place in FIRMWARE_FOLDERS {
            emulator.arg("-L").arg(package.join(place));
        }
    }
    Ok(emulator)
}

/// The folder that a program's package was unpacked into; none where it is the machine's own.
fn unpacked(program: &Path) -> Result<Option<PathBuf>> {
    let packages = cache()?.join("programs");
    let package = program.strip_prefix(&packages).ok().and_then(|rest| rest.iter().next());
    Ok(package.map(|package| packages.join(package)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_is_read_from_what_the_emulator_says() {
        let text = "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2~bpo12+1)\nCopyright";
        assert_eq!(version(text), Some((10, 0)));
        assert!(version("QEMU emulator version 7.2.22").is_some_and(|old| old < (8, 1)));
        assert_eq!(version("no such thing"), None);
    }
}
