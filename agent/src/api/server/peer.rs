//! The process at the other end of a connection: its credentials, as the kernel recorded them when it connected, and a
//! pidfd of it.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    os::unix::fs::MetadataExt as _,
    sync::OnceLock,
};

use agent_common::id::Tag;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::bpf::{Confinement, Enforcer};

/// `SO_PEERPIDFD` of Linux 6.5 (include/uapi/asm-generic/socket.h).
const SO_PEERPIDFD: libc::c_int = 77;

/// The process that made a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its process id when it connected.
    pub pid: u32,
    /// Its effective user id when it connected.
    pub uid: u32,
    /// Its groups when it connected: the effective one first, then the supplementary ones.
    pub groups: Vec<u32>,
    /// The process; `None` if it had exited when its connection was accepted.
    process: Option<OwnedFd>,
    /// The connection, to ask the kernel which session made it.
    connection: OwnedFd,
    /// The session that was started over this connection, which the connection belongs to from then on.
    started: OnceLock<Tag>,
}

impl Peer {
    /// The peer of a connected unix socket.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let socket = socket.as_fd();
        let credentials = rustix::net::sockopt::socket_peercred(socket)?;
        let pid = credentials.pid;
        let uid = credentials.uid.as_raw();
        let mut groups = vec![credentials.gid.as_raw()];
        groups.extend(supplementary_groups(socket)?);
        let process = match peer_pidfd(socket) {
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => open(pid, uid),
            found => found,
        };
        let pid = u32::try_from(pid.as_raw_nonzero().get()).map_err(io::Error::other)?;
        let process = match process {
            Err(error) if !is_gone(&error) => return Err(error),
            found => found.ok(),
        };
        let connection = socket.try_clone_to_owned()?;
        Ok(Self { pid, uid, groups, process, connection, started: OnceLock::new() })
    }

    /// The process; `None` if it had exited when its connection was accepted.
    pub fn process(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref().map(AsFd::as_fd)
    }

    /// Whether the process has another mount namespace than the daemon.
    ///
    /// # Errors
    /// It has exited, or the system does not tell.
    pub fn has_own_mounts(&self) -> io::Result<bool> {
        let process = self.process().ok_or(io::ErrorKind::NotFound)?;
        let theirs = mounts_of(&self.pid.to_string())?;
        // Makes sure that the process id was not another process's by then.
        crate::bpf::is_there(process)?;
        Ok(theirs != mounts_of("self")?)
    }

    /// Notes that a session was started over this connection.
    pub fn has_started(&self, tag: Tag) {
        // A process of a session starts no other, so there is no second one.
        let _ = self.started.set(tag);
    }

    /// The peer's session. The connection's own counts first: the session that was started over it, or that the kernel
    /// recorded when it was made. If there is none, the process's tag counts: it may have been tagged since. A process
    /// that has exited adds nothing.
    pub fn confinement(&self, kernel: &dyn Enforcer) -> Confinement {
        if let Some(tag) = self.started.get() {
            return Confinement::Of(*tag);
        }
        match (kernel.connector_of(self.connection.as_fd()), self.process()) {
            (Confinement::None, Some(process)) => match kernel.tag_of(process) {
                Confinement::Unknown(error) if error.is_gone() => Confinement::None,
                found => found,
            },
            (found, _) => found,
        }
    }
}

/// What identifies a process's mount namespace.
fn mounts_of(process: &str) -> io::Result<(u64, u64)> {
    let namespace = fs::metadata(format!("/proc/{process}/ns/mnt"))?;
    Ok((namespace.dev(), namespace.ino()))
}

/// Whether a process could not be opened because it has exited.
fn is_gone(error: &io::Error) -> bool {
    // `SO_PEERPIDFD` returns different errors for it on different kernels (`pidfd_prepare`, kernel/fork.c).
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL | libc::ENODATA | libc::ENOENT))
        || error.kind() == io::ErrorKind::NotFound
}

/// Opens a process by its id, on kernels without [`SO_PEERPIDFD`]. Another process may have got the id since the peer
/// connected. So the process must have the same start time before and after it was opened, and the peer's user: nobody
/// can have another user's process taken for their own.
fn open(pid: Pid, uid: u32) -> io::Result<OwnedFd> {
    let before = start_time(pid)?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let same_user = effective_uid(pid)? == uid;
    if start_time(pid)? != before || !same_user {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(process)
}

/// When a process started, in clock ticks since boot: field 22 of proc(5)'s stat.
fn start_time(pid: Pid) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    after_name
        .split_ascii_whitespace()
        .nth(19)
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| io::Error::other("`stat` has no start time"))
}

/// How many threads a process has.
///
/// # Errors
/// It is gone.
pub fn threads(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/task"))?.count())
}

/// A process's effective user: the second number of proc(5)'s `Uid:`.
fn effective_uid(pid: Pid) -> io::Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))
        .and_then(|uids| uids.split_ascii_whitespace().nth(1)?.parse().ok())
        .ok_or_else(|| io::Error::other("`status` has no user"))
}

fn peer_pidfd(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut fd: RawFd = -1;
    let mut len = size_of::<RawFd>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, and `fd` has as many.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PEERPIDFD,
            (&raw mut fd).cast(),
            &raw mut len,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn supplementary_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups = vec![0u32; 64];
    loop {
        let mut len = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: the kernel writes at most `len` bytes, and `groups` has as many.
        let done = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let count = len as usize / size_of::<u32>();
        if done == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // Too little room: the kernel has put the length that is needed into `len`.
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_of_a_connection_to_itself_is_this_process() {
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = Peer::of(&one).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert_eq!(peer.groups[0], rustix::process::getegid().as_raw());
        let mine = Pid::from_raw(std::process::id().cast_signed()).unwrap();
        assert!(open(mine, peer.uid).is_ok());
        assert!(start_time(mine).unwrap() > 0);
        assert!(threads(peer.pid).unwrap() > 1);
    }
}
