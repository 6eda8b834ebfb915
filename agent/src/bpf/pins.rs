//! Where the pins are: `PIN_DIR/v1/{maps,links,programs,shared}`, and how one is replaced.

use std::{
    fs, io,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use aya::maps::MapData;

use super::{error::LoadError, sys};

/// The version of the pins' layout: names and types of maps.
const LAYOUT: &str = "v1";
/// Magic number of the BPF file system (`BPF_FS_MAGIC`, include/uapi/linux/magic.h).
const BPF_FS: i64 = 0xcafe_4a11;
/// The end of the name of a pin that is about to replace another (the BPF file system allows no dot in names).
const NEW: &str = "-new";

/// Where the pins are.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Below the settings' `pin_dir`.
    pub fn new(pin_dir: &Path) -> Self {
        Self { root: pin_dir.join(LAYOUT) }
    }

    /// The folder of all pins.
    pub(super) fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// The folder of the maps.
    pub fn maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    /// The folder of the links, one for each hook.
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    /// The folder of the programs that are attached or run when they are needed.
    pub fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    /// The folder of the links of shared functions to the programs that call them, in a folder for each loading.
    pub fn shared(&self) -> PathBuf {
        self.root.join("shared")
    }

    /// The iterator that records the processes of all sessions when it is read. It does not exist where the daemon can
    /// read a task's tag itself.
    pub fn processes(&self) -> PathBuf {
        self.root.join("processes")
    }

    /// A pinned map.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn map(&self, name: &str) -> Result<MapData, LoadError> {
        let path = self.maps().join(name);
        MapData::from_pin(&path)
            .map_err(|error| LoadError::Pins { path, source: io::Error::other(error.to_string()) })
    }

    /// Makes the folders.
    pub(super) fn prepare(&self) -> Result<(), LoadError> {
        for path in [self.maps(), self.links(), self.programs(), self.shared()] {
            fs::create_dir_all(&path)
                .map_err(|source| LoadError::Pins { path: path.clone(), source })?;
        }
        let stat = rustix::fs::statfs(&self.root)
            .map_err(|error| LoadError::Pins { path: self.root.clone(), source: error.into() })?;
        if stat.f_type as i64 != BPF_FS {
            let source = io::Error::other("it is not in a BPF file system (`mount -t bpf`)");
            return Err(LoadError::Pins { path: self.root.clone(), source });
        }
        Ok(())
    }
}

/// Pins a program or link, and replaces an older pin of that name at once: there is no moment without either.
///
/// # Errors
/// What the kernel says.
pub(super) fn replace(object: BorrowedFd<'_>, folder: &Path, name: &str) -> io::Result<()> {
    let new = folder.join(format!("{name}{NEW}"));
    let _ = fs::remove_file(&new);
    sys::pin(object, &new)?;
    fs::rename(&new, folder.join(name))
}

/// The names of the pins in a folder.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.ends_with(NEW))
        .collect()
}
