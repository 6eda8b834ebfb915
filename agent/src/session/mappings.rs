//! What losing a tool means for what the kernel holds for processes: it has no way to take a mapping from one. The
//! policy says whether who used the tool is killed (`on_revoke`, [`marked`]); of who is not, the log says what it has
//! mapped.

use std::{collections::HashSet, fs, os::unix::ffi::OsStrExt as _, path::PathBuf};

use agent_common::{
    access::{Right, Rights},
    id::{Tag, ToolBit},
};

use super::{
    Error, Id, Sessions, kill, marked,
    registry::Object,
    witness::{Act, Control},
};
use crate::policy::OnRevoke;

/// A tool that a session lost, and of which something may be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The session.
    pub session: Id,
    /// The tool.
    pub tool: String,
    /// Its bit when it was held.
    pub bit: ToolBit,
    /// What the policy said that becomes of who used it.
    pub on_revoke: OnRevoke,
}

/// A mapping that the session may not make any more.
struct Left {
    path: String,
    tool: String,
}

/// Kills who used what was lost since the last look, where the policy says so, looks for mappings that are left, and
/// tells the log.
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
        let settled = marked::settle(sessions, id, &of_session).and(of(sessions, id, &of_session));
        if let Err(error) = &settled {
            tracing::error!("{error}");
        }
        outcome = outcome.and(settled);
    }
    outcome
}

/// Looks at all processes of a session, and tells of what they have mapped of tools that kill nobody.
fn of(sessions: &Sessions, id: Id, lost: &[&Lost]) -> Result<(), Error> {
    let blocked = |lost: &&&Lost| lost.on_revoke == OnRevoke::Block;
    let lost: Vec<&Lost> = lost.iter().filter(blocked).copied().collect();
    if lost.is_empty() {
        return Ok(());
    }
    let Some(slot) = sessions.lock().by_id(id).map(super::Session::slot) else { return Ok(()) };
    let tag = Tag { session: id.0, slot, marks: 0 };
    for (pid, _) in kill::processes_of(sessions, tag)? {
        for left in left(sessions, id, &lost, pid) {
            tell(sessions, id, pid, &left);
        }
    }
    Ok(())
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
            found.push(Left { path, tool: lost.tool.clone() });
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

fn tell(sessions: &Sessions, id: Id, pid: i32, left: &Left) {
    let mut registry = sessions.lock();
    let Some(session) = registry.by_id(id) else { return };
    let mut control = Control::of(Act::LeaveMapped, session, &super::Actor::daemon());
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
