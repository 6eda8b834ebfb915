//! Starts the kernel side, and remembers in the state directory what was loaded.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::apart::{ApartError, apart};
use crate::{
    api::server::peer::threads,
    bpf::{
        self, Enforcer, LoadError, Vacancies,
        load::{Fingerprint, Start},
        pins::Pins,
    },
    incident::EventSource,
    settings::Settings,
};

/// The kernel side, started.
pub(super) struct Kernel {
    /// Sessions, rules and tags.
    pub(super) enforcer: Box<dyn Enforcer>,
    /// The ring buffer.
    pub(super) events: Box<dyn EventSource + Send>,
    /// Readable when the ring buffer has something.
    pub(super) wake: Option<OwnedFd>,
    /// Readable when a session has no tasks left.
    pub(super) vacancies: Vacancies,
    /// Identifies the maps that count the events: another one means that the count began again.
    pub(super) epoch: String,
}

/// Why the kernel side could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The programs could not be loaded: the message of the process that loads them.
    #[error("{0}")]
    Refused(String),
    /// The process that loads the programs exited without a message.
    #[error("can't load the kernel programs: {0}")]
    Apart(#[from] ApartError),
    /// The loaded maps can't be used.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What the state directory remembers of the pinned programs and maps.
#[derive(Deserialize, Serialize)]
pub(super) struct Loaded {
    /// Identifies the object and the offsets that were written into it.
    fingerprint: String,
    /// Identifies the maps that count the events.
    pub(super) epoch: String,
}

/// The file with that.
fn file(settings: &Settings) -> PathBuf {
    settings.state_dir.join("kernel.json")
}

/// What the last start remembered.
pub(super) fn known(settings: &Settings) -> Option<Loaded> {
    serde_json::from_slice(&fs::read(file(settings)).ok()?).ok()
}

/// Writes the file, unless it is the same already.
fn write(path: &Path, loaded: &Loaded) -> io::Result<()> {
    let text = serde_json::to_vec(loaded)?;
    if fs::read(path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    let new = path.with_extension("json.new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

/// Loads and pins the programs, or takes over the pinned ones.
pub(super) fn start(settings: &Settings) -> Result<Kernel, StartError> {
    let pins = Pins::new(&settings.pin_dir);
    let path = file(settings);
    let known = known(settings);
    let fingerprint = known.as_ref().map(|known| Fingerprint(known.fingerprint.clone()));
    // The kernel's type information and the loader need tens of megabytes, so this runs in a process of its own.
    let load = || bpf::load::start(&pins, fingerprint.as_ref()).map_err(|error| error.to_string());
    // A fork has only the calling thread; locks of the others would stay locked in it for ever.
    let loaded = if threads(std::process::id()).is_ok_and(|count| count == 1) {
        apart(load)?
    } else {
        tracing::warn!(
            "the daemon has threads already: it loads the programs itself, and needs more memory"
        );
        load()
    };
    let (start, fingerprint) = loaded.map_err(StartError::Refused)?;
    let epoch = match known {
        Some(known) if start != Start::Fresh => known.epoch,
        _ => ulid::Ulid::new().to_string(),
    };
    let loaded = Loaded { fingerprint: fingerprint.0, epoch: epoch.clone() };
    if let Err(error) = write(&path, &loaded) {
        // The next start will replace the programs by the same ones. That only takes longer.
        tracing::error!("can't write `{}`: {error}", path.display());
    }
    match start {
        Start::Fresh => tracing::info!("kernel programs attached"),
        Start::Adopted => tracing::info!("kernel programs were in force and stay"),
        Start::Replaced => tracing::info!("kernel programs replaced by this version's"),
    }
    let events = bpf::Kernel::events(&pins)?;
    let wake = events.descriptor().ok();
    Ok(Kernel {
        enforcer: Box::new(bpf::Kernel::open(&pins)?),
        events: Box::new(events),
        wake,
        vacancies: bpf::Kernel::vacancies(&pins)?,
        epoch,
    })
}
