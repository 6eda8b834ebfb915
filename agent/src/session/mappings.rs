//! What losing a tool means for files that are mapped: the kernel has no way to take a mapping from a process,
//! so the policy says whether such a process is killed (`on_revoke`), and the log says which mapping it was.

use std::{
    collections::HashSet,
    fs,
    os::{fd::AsFd as _, unix::ffi::OsStrExt as _},
    path::PathBuf,
};

use agent_common::{
    access::{Right, Rights},
    id::Tag,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{
    Id, Sessions, kill,
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
pub fn settle(sessions: &Sessions) {
    let lost = sessions.lock().take_lost();
    let mut ids: Vec<Id> = lost.iter().map(|lost| lost.session).collect();
    ids.dedup();
    for id in ids {
        let of_session: Vec<&Lost> = lost.iter().filter(|lost| lost.session == id).collect();
        of(sessions, id, &of_session);
    }
}

/// Looks at all processes of a session.
fn of(sessions: &Sessions, id: Id, lost: &[&Lost]) {
    let Some(slot) = sessions.lock().by_id(id).map(super::Session::slot) else { return };
    let tag = Tag { session: id.0, slot, reserved: 0 };
    for pid in kill::processes() {
        // One that can't be opened any more is gone, and so are its mappings.
        let Some(process) = Pid::from_raw(pid) else { continue };
        let Ok(process) = pidfd_open(process, PidfdFlags::empty()) else { continue };
        let found = sessions.lock().enforcer().tag_of(process.as_fd());
        if !found.is_of(tag) {
            continue;
        }
        let left = left(sessions, id, lost, pid);
        let kills = left.iter().any(|left| left.on_revoke == OnRevoke::Kill);
        let killed = kills && pidfd_send_signal(&process, Signal::KILL).is_ok();
        for left in left {
            tell(sessions, id, pid, &left, killed);
        }
    }
}

/// The mappings of a process that its session may not make any more.
fn left(sessions: &Sessions, id: Id, lost: &[&Lost], pid: i32) -> Vec<Left> {
    let registry = sessions.lock();
    let Some(session) = registry.by_id(id) else { return Vec::new() };
    let now = registry.clock().now().nanos();
    let mut found = Vec::new();
    for (path, rights) in mapped(pid) {
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

/// The files that a process has mapped, each with what the mappings took.
fn mapped(pid: i32) -> HashSet<(String, Rights)> {
    let maps = fs::read(format!("/proc/{pid}/maps")).unwrap_or_default();
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
