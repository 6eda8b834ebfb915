//! The seam to the kernel side: starting it, and what is remembered of that.

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
        self, Enforcer, Vacancies,
        load::{Fingerprint, LoadError, Start},
        pins::Pins,
    },
    incident::EventSource,
    settings::Settings,
};

/// The kernel side, as the daemon uses it.
pub(super) struct Kernel {
    /// Sessions, rules and tags.
    pub(super) enforcer: Box<dyn Enforcer>,
    /// The ring buffer.
    pub(super) events: Box<dyn EventSource + Send>,
    /// Readable when the ring buffer has something.
    pub(super) wake: Option<OwnedFd>,
    /// Readable when a session has no task any more.
    pub(super) vacancies: Vacancies,
    /// Which load of the programs counts the events.
    pub(super) epoch: String,
}

/// Why the kernel side does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The programs are not in force: what the process that loads them said.
    #[error("{0}")]
    Refused(String),
    /// The process that loads them said nothing.
    #[error("can't load the kernel programs: {0}")]
    Apart(#[from] ApartError),
    /// What is loaded can't be used.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// What is kept in the state directory of what is pinned.
#[derive(Deserialize, Serialize)]
pub(super) struct Loaded {
    /// The object, and what it was told of the kernel.
    fingerprint: String,
    /// Which making of the maps counts the events.
    pub(super) epoch: String,
}

/// Where that is.
fn place(settings: &Settings) -> PathBuf {
    settings.state_dir.join("kernel.json")
}

/// What the last start wrote down.
pub(super) fn known(settings: &Settings) -> Option<Loaded> {
    serde_json::from_slice(&fs::read(place(settings)).ok()?).ok()
}

/// Writes down what is loaded, unless that stands there.
fn write(path: &Path, loaded: &Loaded) -> io::Result<()> {
    let text = serde_json::to_vec(loaded)?;
    if fs::read(path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    let whole = path.with_extension("json.new");
    fs::write(&whole, text)?;
    fs::rename(&whole, path)
}

/// Puts the programs in force, or takes over those that are.
pub(super) fn start(settings: &Settings) -> Result<Kernel, StartError> {
    let pins = Pins::new(&settings.pin_dir);
    let path = place(settings);
    let known = known(settings);
    let fingerprint = known.as_ref().map(|known| Fingerprint(known.fingerprint.clone()));
    // The kernel's types and the loader take tens of megabytes.
    let load = || bpf::load::start(&pins, fingerprint.as_ref()).map_err(|error| error.to_string());
    // A copy has one thread of ours only, and locks that others held would stay so in it.
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
        // The next start replaces the programs by the same ones, which takes longer and no more.
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
