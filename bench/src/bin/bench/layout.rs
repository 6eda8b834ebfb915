//! The files that the loops use, and those of the daemon.

use std::{fs, io, path::Path};

use anyhow::{Context as _, Result};
use bench::{DEEP, DEEP_FILES, FILE, NAMES, PROGRAMS, REFUSED, WRITTEN};

/// What the daemon owns.
pub(crate) const HOME: &str = "/run/remit-bench";

/// Lays out everything: the programs, the files, the daemon's folders.
///
/// # Errors
/// When something can't be written.
pub(crate) fn make() -> Result<()> {
    for folder in ["policy.d", "state", "log", "socket"] {
        make_folder(&Path::new(HOME).join(folder))?;
    }
    make_folder(Path::new(PROGRAMS))?;
    let here = std::env::current_exe().context("this program has no path")?;
    let built = here.with_file_name("loops");
    fs::copy(&built, loops()).with_context(|| format!("cannot copy `{}`", built.display()))?;
    for file in [FILE, WRITTEN, REFUSED] {
        // A page, for the loops that read one.
        write(Path::new(file), &[b'x'; 4096])?;
    }
    deep_files()
}

/// The program of the loops, in memory as the files are.
pub(crate) fn loops() -> String {
    format!("{PROGRAMS}/loops")
}

/// Makes the files as they were for the column before. Every name on the way to them comes to the front of
/// its chain in the kernel's table of names, as a rename does it: what other programs opened since has
/// lengthened some chains. The folder of names is a new one: what a name costs there depends on how many
/// there were.
///
/// # Errors
/// When something can't be renamed or made.
pub(crate) fn refresh() -> Result<()> {
    for file in [FILE, WRITTEN, REFUSED] {
        let below_root = |path: &&Path| path.parent().is_some_and(|above| above != Path::new("/"));
        for path in Path::new(file).ancestors().take_while(below_root) {
            let away = path.with_extension("away");
            fs::rename(path, &away)
                .and_then(|()| fs::rename(&away, path))
                .with_context(|| format!("cannot rename `{}`", path.display()))?;
        }
    }
    let names = Path::new(NAMES);
    match fs::remove_dir_all(names) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{NAMES}`"))
        }
        _ => make_folder(names),
    }
}

/// Makes the files that are opened for the first time, in the place of those that were.
///
/// # Errors
/// When they can't be made.
pub(crate) fn deep_files() -> Result<()> {
    for number in 0..DEEP_FILES {
        let path = Path::new(DEEP).join(format!("{number:03}"));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("cannot remove a file");
            }
            _ => write(&path, b"x")?,
        }
    }
    Ok(())
}

/// Writes a file, with the folders above it.
///
/// # Errors
/// When it can't be written.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<()> {
    path.parent().map_or(Ok(()), make_folder)?;
    fs::write(path, content).with_context(|| format!("cannot write `{}`", path.display()))
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make `{}`", path.display()))
}
