//! What losing a tool means for files that are mapped: the kernel has no way to take a mapping from a process,
//! so the policy says whether such a process is killed (`on_revoke`), and the log says which mapping it was.

use std::{
    collections::HashSet,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use agent_common::{
    access::{Right, Rights},
    id::Tag,
};
use rustix::process::{Signal, pidfd_send_signal};

use super::{
    Error, Id, Sessions, kill,
    registry::Object,
    witness::{Act, Control},
};
use crate::policy::OnRevoke;

/// A tool that a session lost, and of which mappings may be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The session.
    pub session: Id,
    /// The tool.
    pub tool: String,
    /// What the policy said that becomes of a process that has its files mapped.
    pub on_revoke: OnRevoke,
}

/// A mapping that the session may not make any more.
struct Left {
    path: String,
    tool: String,
    on_revoke: OnRevoke,
}

/// Looks for mappings of what was lost since the last look, kills whom the policy says, and tells the log.
/// Costs nothing where nothing was lost.
///
/// # Errors
/// Processes that the policy says are killed live on.
pub fn settle(sessions: &Sessions) -> Result<(), Error> {
    let lost = sessions.lock().take_lost();
    let mut ids: Vec<Id> = lost.iter().map(|lost| lost.session).collect();
    ids.dedup();
    let mut outcome = Ok(());
    for id in ids {
        let of_session: Vec<&Lost> = lost.iter().filter(|lost| lost.session == id).collect();
        let settled = of(sessions, id, &of_session);
        if let Err(error) = &settled {
            tracing::error!("{error}");
        }
        outcome = outcome.and(settled);
    }
    outcome
}

/// Looks at all processes of a session: once, or where some are to be killed, until none of those is left. Meanwhile
/// the session makes no new ones, which would have the mappings of those that made them.
fn of(sessions: &Sessions, id: Id, lost: &[&Lost]) -> Result<(), Error> {
    let Some(slot) = sessions.lock().by_id(id).map(super::Session::slot) else { return Ok(()) };
    let tag = Tag { session: id.0, slot, reserved: 0 };
    let mut told = HashSet::new();
    if lost.iter().all(|lost| lost.on_revoke != OnRevoke::Kill) {
        return look(sessions, tag, lost, &mut told).map(drop);
    }
    sessions.lock().hold_forks(slot, kill::PATIENCE)?;
    let settled = kill_all(sessions, tag, lost, &mut told);
    let released = sessions.lock().hold_forks(slot, Duration::ZERO);
    settled.and(released.map_err(Error::from))
}

/// Looks until no process is left that is to be killed.
fn kill_all(
    sessions: &Sessions,
    tag: Tag,
    lost: &[&Lost],
    told: &mut HashSet<(i32, String)>,
) -> Result<(), Error> {
    let begun = Instant::now();
    let mut clean = 0;
    while clean < kill::LOOKS {
        let found = look(sessions, tag, lost, told)?;
        if found.is_empty() {
            clean += 1;
            continue;
        }
        if begun.elapsed() > kill::PATIENCE {
            return Err(Error::Left { processes: found });
        }
        clean = 0;
        std::thread::sleep(kill::PAUSE);
    }
    Ok(())
}

/// Looks once at all processes of a session, kills those that the policy says, and gives their numbers.
fn look(
    sessions: &Sessions,
    tag: Tag,
    lost: &[&Lost],
    told: &mut HashSet<(i32, String)>,
) -> Result<Vec<i32>, Error> {
    let mut found = Vec::new();
    for (pid, process) in kill::processes_of(sessions, tag)? {
        let left = left(sessions, Id(tag.session), lost, pid);
        let kills = left.iter().any(|left| left.on_revoke == OnRevoke::Kill);
        if kills {
            found.push(pid);
        }
        let killed = kills && pidfd_send_signal(&process, Signal::KILL).is_ok();
        for left in left {
            // One that was killed may take a moment to go.
            if told.insert((pid, left.path.clone())) {
                tell(sessions, Id(tag.session), pid, &left, killed);
            }
        }
    }
    Ok(found)
}

/// The mappings of a process that its session may not make any more. They are read before the registry is asked for:
/// a process can make that take a while.
fn left(sessions: &Sessions, id: Id, lost: &[&Lost], pid: i32) -> Vec<Left> {
    let mapped = mapped(pid);
    let registry = sessions.lock();
    let Some(session) = registry.by_id(id) else { return Vec::new() };
    let now = registry.clock().now().nanos();
    let mut found = Vec::new();
    for (path, rights) in mapped {
        let object = Object::Path { path: &path, own_process: false };
        let verdict = registry.explain_at(session, rights, object, now);
        if verdict.refusal.is_none() {
            continue;
        }
        // One that the policy no longer has is not among those that would allow it.
        let of = lost
            .iter()
            .find(|lost| verdict.would_allow.contains(&lost.tool))
            .or_else(|| lost.iter().find(|lost| registry.bits().bit(&lost.tool).is_none()));
        if let Some(lost) = of {
            found.push(Left { path, tool: lost.tool.clone(), on_revoke: lost.on_revoke });
        }
    }
    found
}

/// The files that a process has mapped, each with what the mappings took. Its threads share them, and any that lives
/// tells: of one that has ended, as the main thread may have, the kernel says nothing.
fn mapped(pid: i32) -> HashSet<(String, Rights)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let maps = threads
        .filter_map(|thread| fs::read(thread.path().join("maps")).ok())
        .find(|maps| !maps.is_empty())
        .unwrap_or_default();
    maps.split(|byte| *byte == b'\n').filter_map(mapping).collect()
}

/// A line of `/proc/PID/maps` (proc(5)): `addresses rwxs offset device inode path`.
fn mapping(line: &[u8]) -> Option<(String, Rights)> {
    let slash = line.iter().position(|byte| *byte == b'/')?;
    let (head, path) = line.split_at_checked(slash)?;
    let head = str::from_utf8(head).ok()?;
    let mut words = head.split_ascii_whitespace().skip(1);
    let permissions = words.next()?.as_bytes();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    let has = |letter: u8| permissions.contains(&letter);
    let mut rights = Rights::NONE;
    if has(b'x') {
        rights = rights.with(Right::Exec);
    } else {
        rights = rights.with(Right::Read);
    }
    if has(b'w') && has(b's') {
        rights = rights.with(Right::Write);
    }
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(path));
    Some((path.to_string_lossy().into_owned(), rights))
}

fn tell(sessions: &Sessions, id: Id, pid: i32, left: &Left, killed: bool) {
    let mut registry = sessions.lock();
    let Some(session) = registry.by_id(id) else { return };
    let act = if killed { Act::Kill } else { Act::LeaveMapped };
    let mut control = Control::of(act, session, &super::Actor::daemon());
    control.tools = vec![left.tool.clone()];
    control.reason = Some(format!("process {pid} has `{}` mapped", left.path));
    registry.tell(control);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapping_is_of_a_file_and_takes_what_its_permissions_say() {
        let line = |permissions: &str, rest: &str| {
            mapping(format!("7f00-7f01 {permissions} 00000000 fe:00 12 {rest}").as_bytes())
        };
        let read = Rights::of(Right::Read);
        let some = |path: &str, rights| Some((path.to_owned(), rights));
        assert_eq!(line("r--p", "   /srv/a b"), some("/srv/a b", read));
        assert_eq!(line("rw-p", "/srv/a (deleted)"), some("/srv/a", read));
        assert_eq!(line("rw-s", "/srv/a"), some("/srv/a", read.with(Right::Write)));
        assert_eq!(line("r-xp", "/srv/a"), some("/srv/a", Rights::of(Right::Exec)));
        assert_eq!(line("rw-p", "[heap]"), None);
        assert_eq!(mapping(b""), None);
    }
}
