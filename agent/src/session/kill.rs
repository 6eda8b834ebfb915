//! Killing all processes of a session.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

use agent_common::id::Tag;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{Error, Id, Sessions};
use crate::bpf::Confinement;

/// How long killing may take; processes that live on then are an error.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long killed processes get to exit before the next look.
pub(super) const PAUSE: Duration = Duration::from_millis(20);
/// How many looks at all processes in a row have to find none. More than one: a fork that was under way when forks were
/// stopped may appear behind the place that a look has come to.
pub(super) const LOOKS: usize = 2;

/// Kills the processes of a session that has ended, which can't fork any more. Returns how many were killed.
///
/// # Errors
/// Some live on although they were killed, or the kernel does not tell tags. Those that were killed until then are
/// dead.
pub fn all(sessions: &Sessions, tag: Tag) -> Result<u64, Error> {
    let mut killed = BTreeSet::new();
    let begun = Instant::now();
    let mut clean = 0;
    while clean < LOOKS {
        let found = processes_of(sessions, tag)?;
        if found.is_empty() {
            clean += 1;
            continue;
        }
        if begun.elapsed() > PATIENCE {
            return Err(Error::Left { processes: found.iter().map(|(pid, _)| *pid).collect() });
        }
        clean = 0;
        // By the control group, if the session has one: all at once, a process that is being forked at this moment too.
        let groups = sessions.lock().groups().clone();
        let by_group = groups.kill(&Id(tag.session).to_string()).unwrap_or_else(|error| {
            tracing::warn!("can't kill by the control group: {error}");
            false
        });
        for (pid, process) in found {
            if pidfd_send_signal(&process, Signal::KILL).is_ok() || by_group {
                killed.insert(pid);
            }
        }
        std::thread::sleep(PAUSE);
    }
    Ok(killed.len() as u64)
}

/// The processes that carry a tag and have not exited.
///
/// # Errors
/// The kernel does not tell tags.
pub(super) fn processes_of(sessions: &Sessions, tag: Tag) -> Result<Vec<(i32, OwnedFd)>, Error> {
    let mut found = Vec::new();
    for number in processes() {
        // A process that can't be opened has exited.
        let Some(pid) = Pid::from_raw(number) else { continue };
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        let tagged = match sessions.lock().enforcer().tag_of(process.as_fd()) {
            Confinement::Unknown(error) if error.is_gone() => false,
            Confinement::Unknown(error) => return Err(error.into()),
            found => found.is_of(tag),
        };
        if tagged && !has_exited(process.as_fd()) {
            found.push((number, process));
        }
    }
    Ok(found)
}

/// The processes of the host.
fn processes() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether all threads of a process have exited, and it only waits for its parent to notice. (The main thread may exit
/// before the others.)
fn has_exited(process: BorrowedFd<'_>) -> bool {
    let mut descriptors = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut descriptors, Some(&now)), Ok(ready) if ready > 0)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn exited_process_is_recognized_before_it_is_waited_for() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        assert!(!has_exited(process.as_fd()));
        drop(child.stdin.take());
        while !has_exited(process.as_fd()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.wait().unwrap();
    }
}
