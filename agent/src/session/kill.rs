//! Killing all processes of a session.

use std::{fs, time::Duration};

use agent_common::id::Tag;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Error, Sessions};
use crate::bpf::Confinement;

/// Rounds over all processes before those that are left are left.
const ROUNDS: usize = 100;
/// Time that killed processes get to go.
const PAUSE: Duration = Duration::from_millis(50);

/// Kills the processes that carry the tag, and those that they made meanwhile, until none is left.
/// Gives their number.
///
/// # Errors
/// The kernel does not tell tags. What was killed until then is dead.
pub fn all(sessions: &Sessions, tag: Tag) -> Result<u64, Error> {
    let mut killed = std::collections::BTreeSet::new();
    for _ in 0..ROUNDS {
        let found = round(sessions, tag)?;
        if found.is_empty() {
            break;
        }
        killed.extend(found);
        std::thread::sleep(PAUSE);
    }
    Ok(killed.len() as u64)
}

/// Kills the tagged processes that are there now.
fn round(sessions: &Sessions, tag: Tag) -> Result<Vec<i32>, Error> {
    let mut found = Vec::new();
    for pid in processes() {
        // One that can't be opened any more is gone.
        let Some(pid) = Pid::from_raw(pid) else { continue };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let tagged = match sessions.lock().enforcer().tag_of(std::os::fd::AsFd::as_fd(&process)) {
            Confinement::Unknown(error) if error.is_gone() => false,
            Confinement::Unknown(error) => return Err(error.into()),
            found => found.is_of(tag),
        };
        if tagged && !is_dead(pid) && pidfd_send_signal(&process, Signal::KILL).is_ok() {
            found.push(pid.as_raw_nonzero().get());
        }
    }
    Ok(found)
}

/// The processes of the host.
pub(super) fn processes() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether a process has ended and only waits for its parent to notice.
fn is_dead(pid: Pid) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}
