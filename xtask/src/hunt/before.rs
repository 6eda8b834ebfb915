//! Remit as it was at an earlier commit: laid out and built in a folder of the cache, by its own build.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    process::{capture_text, run},
    project::{cache, make_folder, root},
    say,
};

/// Builds the commit, unless that was done before; returns the folder of its binaries.
///
/// # Errors
/// When there is no such commit, or it can't be built.
pub(super) fn build(commit: &str) -> Result<PathBuf> {
    let mut resolve = git();
    resolve.args(["rev-parse", "--verify", "--quiet", &format!("{commit}^{{commit}}")]);
    let full = capture_text(&mut resolve).with_context(|| format!("no commit `{commit}`"))?;
    let full = full.trim();
    let cache = cache()?;
    let folder = cache.join("before").join(full);
    let binaries = folder.join("target/release");
    if binaries.join("remitd").exists() {
        return Ok(binaries);
    }
    say::step(format!("building Remit as it was at {full}"));
    make_folder(&folder)?;
    let files = folder.join("files.tar");
    run(git().args(["archive", "--output"]).arg(&files).arg(full))?;
    run(Command::new("tar").arg("-xf").arg(&files).arg("-C").arg(&folder))?;
    let mut build = Command::new("cargo");
    build.current_dir(&folder).args(["xtask", "build"]).env("REMIT_CACHE", &cache);
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_TARGET_DIR", "LD_LIBRARY_PATH"]
    {
        build.env_remove(name);
    }
    run(&mut build)?;
    Ok(binaries)
}

fn git() -> Command {
    let mut command = Command::new("git");
    command.arg("-C").arg(root());
    command
}
