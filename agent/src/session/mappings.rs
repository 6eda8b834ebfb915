//! File mappings that outlive the loss of a tool. The kernel has no way to take a mapping from a process, so the log
//! names each one that the session could not make any more. (Tools with `on_revoke = "kill"` leave none: `kill_users`.)

use std::{collections::HashSet, fs, os::unix::ffi::OsStrExt as _, path::PathBuf};

use agent_common::{
    access::{Right, Rights},
    id::Tag,
};

use super::{
    Actor, Error, Id, Session, Sessions,
    acts::{Act, Control},
    kill,
    model::Lost,
    registry::Object,
};
use crate::policy::OnRevoke;

/// A mapping that the session could not make any more.
struct Remaining {
    path: String,
    /// The lost tool that allowed it.
    tool: String,
}

/// Logs the mappings that processes of a session have by lost tools that kill nobody.
///
/// # Errors
/// The kernel does not tell which processes belong to the session.
pub(super) fn log_remaining(sessions: &Sessions, id: Id, lost: &[&Lost]) -> Result<(), Error> {
    let blocked = |lost: &&&Lost| lost.on_revoke == OnRevoke::Block;
    let lost: Vec<&Lost> = lost.iter().filter(blocked).copied().collect();
    if lost.is_empty() {
        return Ok(());
    }
    let Some(slot) = sessions.lock().by_id(id).map(Session::slot) else { return Ok(()) };
    let tag = Tag { session: id.0, slot, marks: 0 };
    for (pid, _) in kill::processes_of(sessions, tag)? {
        for mapping in remaining(sessions, id, &lost, pid) {
            log(sessions, id, pid, &mapping);
        }
    }
    Ok(())
}

/// The mappings of a process that its session could not make any more. They are read before the registry is locked,
/// since a process can make the reading slow.
fn remaining(sessions: &Sessions, id: Id, lost: &[&Lost], pid: i32) -> Vec<Remaining> {
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
        // A tool that the policy no longer has is not among those that would allow it.
        let tool = lost
            .iter()
            .find(|lost| verdict.would_allow.contains(&lost.tool))
            .or_else(|| lost.iter().find(|lost| registry.bits().bit(&lost.tool).is_none()));
        if let Some(lost) = tool {
            found.push(Remaining { path, tool: lost.tool.clone() });
        }
    }
    found
}

/// The files that a process has mapped, each with the rights that the mapping needed. The first thread with a readable
/// list is taken: all share the mappings, and of a thread that has exited, as the main thread may have, the list is
/// empty.
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

fn log(sessions: &Sessions, id: Id, pid: i32, mapping: &Remaining) {
    let mut registry = sessions.lock();
    let Some(session) = registry.by_id(id) else { return };
    let mut control = Control::of(Act::LeaveMapped, session, &Actor::daemon());
    control.tools = vec![mapping.tool.clone()];
    control.reason = Some(format!("process {pid} has `{}` mapped", mapping.path));
    registry.log_act(control);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapping_of_a_file_needs_the_rights_of_its_permissions() {
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
