//! Runs a function in a process of its own. Its memory is freed with the process; in the daemon it would leave a
//! fragmented heap for as long as the daemon runs. Only usable while the daemon has one thread.

use std::{
    io::{self, PipeWriter, Read as _},
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitStatus,
};

use std::os::unix::process::ExitStatusExt as _;

use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Serialize, de::DeserializeOwned};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ApartError {
    /// The system refused something.
    #[error("can't use a process of its own for it: {0}")]
    System(#[from] io::Error),
    /// The process exited without a result.
    #[error("its process ended without an answer: {0}")]
    Ended(ExitStatus),
}

/// Runs a function in a fork of this process, and returns its result.
///
/// # Errors
/// There is no answer.
pub(super) fn apart<T: Serialize + DeserializeOwned>(
    work: impl FnOnce() -> T,
) -> Result<T, ApartError> {
    let (mut reader, writer) = io::pipe()?;
    // SAFETY: the daemon has one thread so far, so no lock is held by a thread that the child lacks.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error().into()),
        0 => answer(work, writer),
        child => child,
    };
    drop(writer);
    let mut text = Vec::new();
    let read = reader.read_to_end(&mut text);
    let mut status = 0;
    // SAFETY: the child is ours, and the status outlives the call.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error.into());
        }
    }
    read?;
    serde_json::from_slice(&text).map_err(|_| ApartError::Ended(ExitStatus::from_raw(status)))
}

/// What the child does: runs the function, writes the result, exits.
fn answer<T: Serialize>(work: impl FnOnce() -> T, mut writer: PipeWriter) -> ! {
    // Its result is of no use without the daemon. If this fails, it only exits a little later.
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // A panic was reported where it happened; the child must not return into the daemon's code.
    let answer = catch_unwind(AssertUnwindSafe(work)).ok();
    let told = answer.map(|answer| serde_json::to_writer(&mut writer, &answer).is_ok());
    // SAFETY: `_exit` has no precondition. It skips what the daemon does at its exit.
    unsafe { libc::_exit(i32::from(told != Some(true))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn function_run_apart_returns_its_result_and_changes_nothing_here() {
        let mut touched = false;
        let answer = apart(|| {
            touched = true;
            Err::<u32, String>(std::process::id().to_string())
        });
        let process = answer.unwrap().unwrap_err();
        assert_ne!(process, std::process::id().to_string());
        assert!(!touched);
    }

    #[test]
    fn process_that_exits_without_a_result_is_an_error() {
        let answer = apart(|| -> u32 { std::process::abort() });
        assert!(matches!(answer, Err(ApartError::Ended(status)) if status.signal().is_some()));
    }
}
