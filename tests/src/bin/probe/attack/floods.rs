//! More of something than a table may hold: processes, sockets.

use std::os::fd::OwnedFd;

use crate::{
    Answer, State, Words,
    errno::Errno,
    number,
    sys::{self, done, owned},
};

/// Tries an operation of this kind.
pub(super) fn run(name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        // As many children, alive at the same time; each then does the operation. Done if one of them can.
        ("flood", [count, operation @ ..]) => flood(number(count), operation),
        // A fork that fails midway: its user namespace is refused, or there are too many processes. Where it
        // does not fail, the child ends at once.
        ("fail-fork", [reason]) => fail_fork(reason.to_str().unwrap_or_default()),
        // The operation while so many sockets of this process are open.
        ("sockets", [count, operation @ ..]) => sockets(number(count), operation),
        _ => return None,
    })
}

fn flood(count: u32, operation: Words<'_>) -> Answer {
    let mut gate = [0; 2];
    // SAFETY: the array takes two descriptors.
    done(unsafe { libc::pipe2(gate.as_mut_ptr(), libc::O_CLOEXEC) })?;
    let (waiting, opened) = (owned(gate[0])?, owned(gate[1])?);
    let mut children = Vec::new();
    for _ in 0..count {
        // SAFETY: this process has one thread.
        match done(unsafe { libc::fork() }) {
            Ok(0) => wait_and_try(&waiting, opened, operation),
            Ok(pid) => children.push(i32::try_from(pid).unwrap_or_default()),
            Err(_) => break,
        }
    }
    let made = children.len();
    // All read the end of the pipe at once.
    drop(opened);
    let (mut allowed, mut refused) = (0, 0);
    for child in children {
        match libc::WEXITSTATUS(sys::wait(child)?) {
            0 => allowed += 1,
            1 => refused += 1,
            _ => {}
        }
    }
    match (allowed, refused) {
        (0, refused) if refused == made => Err(Errno(libc::EACCES)),
        (allowed, 0) if allowed == made => Ok(made.to_string()),
        (0, _) => Err(Errno(libc::EIO)),
        (allowed, _) => Ok(format!("{allowed} of {made}")),
    }
}

fn wait_and_try(waiting: &OwnedFd, opened: OwnedFd, operation: Words<'_>) -> ! {
    drop(opened);
    let status = match sys::read(waiting, 1) {
        Ok(_) => match crate::run(&mut State::default(), operation) {
            Ok(_) => 0,
            Err(error) if error.0 == libc::EACCES => 1,
            Err(_) => 2,
        },
        Err(_) => 2,
    };
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(status) }
}

fn sockets(count: u32, operation: Words<'_>) -> Answer {
    let limit = libc::rlimit { rlim_cur: u64::from(count) + 64, rlim_max: u64::from(count) + 64 };
    // SAFETY: the record outlives the call. An ordinary user may have less; then there are fewer.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    let mut all = Vec::new();
    for _ in 0..count {
        // SAFETY: the call takes numbers only.
        match owned(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) }) {
            Ok(socket) => all.push(socket),
            Err(_) => break,
        }
    }
    // One for the operation itself.
    all.truncate(all.len().saturating_sub(16));
    crate::run(&mut State::default(), operation)
}

fn fail_fork(reason: &str) -> Answer {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the record is ours, as below.
    done(unsafe { libc::getrlimit(libc::RLIMIT_NPROC, &raw mut limit) })?;
    let none = libc::rlimit { rlim_cur: 0, rlim_max: limit.rlim_max };
    let forked = if reason == "limit" {
        // SAFETY: see above.
        done(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const none) })?;
        // SAFETY: this process has one thread.
        done(unsafe { libc::fork() })
    } else {
        // `struct clone_args` (include/uapi/linux/sched.h), with `CLONE_NEWUSER`.
        let arguments = [0x1000_0000u64, 0, 0, 0, u64::from(17u32), 0, 0, 0];
        sys::raw(libc::SYS_clone3, [arguments.as_ptr() as usize, size_of_val(&arguments)])
    };
    if forked == Ok(0) {
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(0) };
    }
    // SAFETY: see above.
    done(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) })?;
    if let Ok(pid) = forked {
        sys::wait(i32::try_from(pid).unwrap_or_default())?;
    }
    Ok(String::new())
}
