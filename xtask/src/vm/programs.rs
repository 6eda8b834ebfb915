//! The programs that booting takes: the machine's own where it has them, else Debian's packages
//! unpacked into the cache. Owns the folder `programs` of the cache.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    apt::Lists,
    process::find,
    project::{cache, make_whole},
};

/// Where the packages put programs and libraries.
const PROGRAM_FOLDERS: [&str; 4] = ["usr/bin", "bin", "usr/sbin", "sbin"];
const LIBRARY_FOLDERS: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// Where a program lies, after its package was unpacked if need be.
///
/// # Errors
/// When the package can't be had or doesn't hold it.
pub(super) fn path(program: &str) -> Result<PathBuf> {
    let package = match program {
        "qemu-system-x86_64" => "qemu-system-x86",
        // Another busybox may need libraries, which the first root hasn't.
        "busybox" => "busybox-static",
        "xz" => "xz-utils",
        other => other,
    };
    if program != "busybox"
        && let Some(path) = find(program)
    {
        return Ok(path);
    }
    let folder = cache()?.join("programs").join(package);
    if !folder.exists() {
        let lists = Lists::of_machine()
            .with_context(|| format!("`{program}` is missing: install `{package}`"))?;
        make_whole(&folder, |part| lists.unpack_with_needs(&[package], part))?;
    }
    let places = PROGRAM_FOLDERS.map(|place| folder.join(place).join(program));
    let found = places.into_iter().find(|path| path.exists());
    found.with_context(|| format!("Debian's package `{package}` holds no `{program}`"))
}

/// A command for a program, with the libraries that were unpacked beside it.
///
/// # Errors
/// As [`path`].
pub(super) fn command(program: &str) -> Result<Command> {
    let path = path(program)?;
    let mut command = Command::new(&path);
    command.env_remove("LD_LIBRARY_PATH");
    let packages = cache()?.join("programs");
    if let Some(package) = path.strip_prefix(&packages).ok().and_then(|rest| rest.iter().next()) {
        let folders = LIBRARY_FOLDERS.map(|place| packages.join(package).join(place));
        let folders = std::env::join_paths(folders).context("the cache's path holds a colon")?;
        command.env("LD_LIBRARY_PATH", folders);
    }
    Ok(command)
}
