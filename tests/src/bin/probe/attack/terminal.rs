//! Terminals: a pair of the process's own, in a session (of the terminals' kind) of its own.

use std::{
    ffi::CString,
    os::fd::{AsRawFd as _, OwnedFd},
};

use crate::{
    Answer, Words,
    errno::Errno,
    file::nothing,
    number,
    sys::{done, open, raw},
};

/// Tries an operation of this kind.
pub(super) fn run(name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        // A device control of the terminal that controls this process, which is made for it.
        ("terminal-control", [command, argument]) => {
            in_own_terminal(number(command), number(argument))
        }
        // Makes a pair and keeps it: the path of the other end.
        ("terminal-make", []) => make().map(|(master, slave)| {
            std::mem::forget(master);
            slave.to_string_lossy().into_owned()
        }),
        _ => return None,
    })
}

/// A new pair: the open end and the path of the other.
fn make() -> Result<(OwnedFd, CString), Errno> {
    let master = open(c"/dev/ptmx", libc::O_RDWR | libc::O_NOCTTY)?;
    let (mut unlock, mut place) = (0i32, 0u32);
    let fd = master.as_raw_fd() as usize;
    raw(libc::SYS_ioctl, [fd, libc::TIOCSPTLCK as usize, (&raw mut unlock) as usize])?;
    raw(libc::SYS_ioctl, [fd, libc::TIOCGPTN as usize, (&raw mut place) as usize])?;
    let path = CString::new(format!("/dev/pts/{place}")).map_err(|_| Errno(libc::EINVAL))?;
    Ok((master, path))
}

/// In a child: the terminal would stay with the process otherwise. The argument is a number, and its first
/// byte what a pointer to it points to.
fn in_own_terminal(command: u32, argument: u32) -> Answer {
    let by_value = [0x540e, 0x5423].contains(&command);
    // SAFETY: this process has one thread.
    let pid = done(unsafe { libc::fork() })?;
    if pid == 0 {
        let told = control(command, argument, by_value).map_or_else(|error| error.0, |_| 0);
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(told) }
    }
    let status = crate::sys::wait(i32::try_from(pid).unwrap_or_default())?;
    match libc::WEXITSTATUS(status) {
        0 if libc::WIFEXITED(status) => Ok(String::new()),
        error => Err(Errno(error)),
    }
}

fn control(command: u32, argument: u32, by_value: bool) -> Answer {
    // SAFETY: the call takes nothing; the closing of the terminal is not to end the child.
    unsafe {
        libc::setsid();
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
    }
    let (_master, path) = make()?;
    let slave = open(&path, libc::O_RDWR)?;
    let argument = u64::from(argument);
    let pointer = if by_value { argument as usize } else { (&raw const argument) as usize };
    raw(libc::SYS_ioctl, [slave.as_raw_fd() as usize, command as usize, pointer]).map(nothing)
}
