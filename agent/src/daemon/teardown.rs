//! Taking enforcement off the host, with a line of the log that says so: before, since nothing is confined afterwards.

use super::{
    host, kernel,
    lock::{Lock, LockError},
};
use crate::{
    api::server::users,
    bpf::{LoadError, load},
    incident::{Act, Actor, Control, Journal, JournalError, Options, Outcome, Record},
    settings::Settings,
};

/// Why enforcement stays.
#[derive(Debug, thiserror::Error)]
pub enum TeardownError {
    /// A daemon runs.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The act can't be written down.
    #[error("can't write down that enforcement is taken off: {0}")]
    Journal(#[from] JournalError),
    /// Something pinned can't be removed.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Takes everything off the host: the daemon must not run.
///
/// # Errors
/// A daemon runs, the log can't be written, or the kernel keeps something.
pub fn run(settings: &Settings) -> Result<(), TeardownError> {
    let _locks = (Lock::take(&settings.state_dir)?, Lock::take_pins(&settings.pin_dir)?);
    let epoch = kernel::known(settings).map(|known| known.epoch).unwrap_or_default();
    let mut options = Options::new(&settings.log_dir, epoch);
    options.group = users::gid(&settings.group);
    let mut journal = Journal::open(options)?;
    journal.append(&[record(Outcome::Done, None)])?;
    let done = load::teardown(&settings.pin_dir);
    if let Err(error) = &done {
        journal.append(&[record(Outcome::Failed, Some(error.to_string()))])?;
    }
    Ok(done?)
}

/// The act, by the user of this process.
fn record(outcome: Outcome, detail: Option<String>) -> Record {
    let uid = rustix::process::getuid().as_raw();
    let by = Actor { uid, user: Some(users::name(uid)), pid: std::process::id(), session: None };
    Record::Control(Box::new(Control {
        outcome,
        detail,
        ..Control::new(host::name(), Act::Teardown, by)
    }))
}
