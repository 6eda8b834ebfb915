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
        // Takes the terminal of standard input for a process group of its own.
        ("take-terminal", []) => take(),
        ("hang-up", []) => raw(libc::SYS_vhangup, []).map(nothing),
        // A descriptor that signals: of a terminal (standard input) or of a pipe.
        ("signal-owner", [what]) => on(what, |fd| {
            raw(libc::SYS_fcntl, [fd, libc::F_SETOWN as usize, std::process::id() as usize])
        }),
        ("signal-number", [what]) => {
            on(what, |fd| raw(libc::SYS_fcntl, [fd, F_SETSIG, libc::SIGURG as usize]))
        }
        ("signal-on", [what]) => on(what, |fd| {
            let flags = raw(libc::SYS_fcntl, [fd, libc::F_GETFL as usize])? as usize;
            raw(libc::SYS_fcntl, [fd, libc::F_SETFL as usize, flags | libc::O_ASYNC as usize])?;
            raw(libc::SYS_fcntl, [fd, libc::F_SETFL as usize, flags & !libc::O_ASYNC as usize])
        }),
        ("signal-by-control", [what]) => on(what, |fd| {
            let (on, off) = (1i32, 0i32);
            raw(libc::SYS_ioctl, [fd, libc::FIOASYNC as usize, (&raw const on) as usize])?;
            raw(libc::SYS_ioctl, [fd, libc::FIOASYNC as usize, (&raw const off) as usize])
        }),
        _ => return None,
    })
}

/// `F_SETSIG` (include/uapi/asm-generic/fcntl.h).
const F_SETSIG: usize = 10;

/// Does something with a descriptor: of standard input, or of the one pipe that this process has.
fn on(what: &std::ffi::OsStr, act: impl Fn(usize) -> Result<i64, Errno>) -> Answer {
    static PIPE: std::sync::OnceLock<[i32; 2]> = std::sync::OnceLock::new();
    let fd = if what == "terminal" {
        0
    } else {
        PIPE.get_or_init(|| {
            let mut pipe = [0; 2];
            // SAFETY: the array takes two descriptors.
            unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) };
            pipe
        })[0]
    };
    act(usize::try_from(fd).unwrap_or_default()).map(nothing)
}

/// `tcsetpgrp(3)` to a process group of this process's own, as a shell does for itself.
fn take() -> Answer {
    // SAFETY: the calls take numbers; a session's leader has a group of its own already.
    unsafe {
        libc::signal(libc::SIGTTOU, libc::SIG_IGN);
        libc::setpgid(0, 0);
        done(libc::tcsetpgrp(0, libc::getpid())).map(nothing)
    }
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
