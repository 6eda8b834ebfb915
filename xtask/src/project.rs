//! Where things lie: the work tree, cargo's target folder, the cache of what was downloaded.
//! It must not know what is kept there.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map_or(here.clone(), Path::to_path_buf)
}

/// Cargo's target folder.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// Where the guests leave what came of the attacks, one folder for each kernel.
pub(crate) fn attack_results() -> PathBuf {
    target().join("attacks")
}

/// The folder for what is downloaded and made once: `$REMIT_CACHE`, or `target/xtask`.
///
/// # Errors
/// When the folder can't be made.
pub(crate) fn cache() -> Result<PathBuf> {
    let folder = match env::var_os("REMIT_CACHE").filter(|folder| !folder.is_empty()) {
        Some(folder) => root().join(folder),
        None => target().join("xtask"),
    };
    make_folder(&folder)?;
    Ok(folder)
}

/// Cargo, in the workspace, without what the outer cargo left in the environment.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "LD_LIBRARY_PATH"] {
        command.env_remove(name);
    }
    command
}

/// Makes a folder with its parents; one that exists is left as it is.
///
/// # Errors
/// When it can't be made.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))
}

/// Removes a folder with all that it holds; one that isn't there is no error.
///
/// # Errors
/// When it can't be removed.
pub(crate) fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Writes a file, so that a reader sees the old content or the new, never a part.
///
/// # Errors
/// When the folder can't be written.
pub(crate) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let part = neighbour(path, ".part");
    fs::write(&part, content)
        .and_then(|()| fs::rename(&part, path))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

/// Waits for the lock of `path`, which lasts until the file is dropped: the cache may be shared.
///
/// # Errors
/// When the lock's file can't be made.
pub(crate) fn lock(path: &Path) -> Result<fs::File> {
    let path = neighbour(path, ".lock");
    let file = fs::File::create(&path)
        .and_then(|file| file.lock().map(|()| file))
        .with_context(|| format!("cannot lock `{}`", path.display()))?;
    Ok(file)
}

fn neighbour(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(extension);
    PathBuf::from(name)
}

/// Makes a folder whole or not at all: `fill` fills a neighbour that then takes its name. One that
/// is there already is left as it is.
///
/// # Errors
/// When `fill` fails or the folder can't be renamed.
pub(crate) fn make_whole(folder: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if let Some(parent) = folder.parent() {
        make_folder(parent)?;
    }
    let _lock = lock(folder)?;
    if folder.exists() {
        return Ok(());
    }
    let part = neighbour(folder, ".part");
    remove_folder(&part)?;
    make_folder(&part)?;
    fill(&part)?;
    fs::rename(&part, folder).with_context(|| format!("cannot make `{}`", folder.display()))
}
