//! The seam to the kernel side: starting it, asking whether the host can enforce, taking it off.

use std::{os::fd::OwnedFd, path::Path};

use crate::{bpf::Enforcer, incident::EventSource, settings::Settings};

/// The kernel side, as the daemon uses it.
pub(super) struct Kernel {
    /// Sessions, rules and tags.
    pub(super) enforcer: Box<dyn Enforcer>,
    /// The ring buffer.
    pub(super) events: Box<dyn EventSource + Send>,
    /// Readable when the ring buffer has something.
    pub(super) wake: Option<OwnedFd>,
    /// Which load of the programs counts the events.
    pub(super) epoch: String,
}

/// Why the kernel side does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There are no programs.
    #[error("this build has no kernel programs")]
    NoPrograms,
}

/// One thing that enforcement needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// Whether it is as it must be.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to change when it is not.
    pub advice: String,
}

/// Puts the programs in force, or takes over those that are.
pub(super) fn start(_: &Settings) -> Result<Kernel, StartError> {
    Err(StartError::NoPrograms)
}

/// Looks at everything that enforcement needs.
pub fn checks(_: &Path) -> Vec<Check> {
    let found = StartError::NoPrograms.to_string();
    let advice = "`cargo xtask build` makes one that has them".to_owned();
    vec![Check { name: "kernel programs", ok: false, found, advice }]
}

/// Takes enforcement off the host.
///
/// # Errors
/// What could not be removed.
pub fn teardown(_: &Path) -> Result<(), StartError> {
    Err(StartError::NoPrograms)
}
