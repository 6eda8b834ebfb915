//! Opening files by io_uring: by the task itself, by a worker of the kernel, by a polling thread.

use std::{
    os::fd::{FromRawFd as _, OwnedFd},
    time::Duration,
};

use io_uring::{IoUring, opcode, squeue, types};

use crate::{Answer, Words, c, errno::Errno, file::nothing};

/// Tries an operation of this kind.
pub(crate) fn run(name: &str, words: Words<'_>) -> Option<Answer> {
    let path = words.first();
    Some(match (name, path) {
        ("uring-read", Some(path)) => open(&c(path), squeue::Flags::empty(), false),
        ("uring-worker-read", Some(path)) => open(&c(path), squeue::Flags::ASYNC, false),
        ("uring-poll-read", Some(path)) => open(&c(path), squeue::Flags::empty(), true),
        _ => return None,
    })
}

fn open(path: &std::ffi::CStr, flags: squeue::Flags, polled: bool) -> Answer {
    let mut ring = if polled {
        let mut builder = IoUring::builder();
        builder.setup_sqpoll(1000).build(4)?
    } else {
        IoUring::new(4)?
    };
    let entry = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), path.as_ptr())
        .flags(libc::O_RDONLY | libc::O_CLOEXEC)
        .build()
        .flags(flags);
    // SAFETY: the path lives until the answer is there.
    unsafe { ring.submission().push(&entry) }.map_err(|_| Errno(libc::EAGAIN))?;
    ring.submit_and_wait(1)?;
    for _ in 0..1000 {
        if let Some(answer) = ring.completion().next() {
            return match answer.result() {
                error if error < 0 => Err(Errno(-error)),
                // SAFETY: the kernel has just made the descriptor.
                fd => Ok(nothing(unsafe { OwnedFd::from_raw_fd(fd) })),
            };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Errno(libc::ETIMEDOUT))
}
