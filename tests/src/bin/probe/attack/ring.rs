//! Operations by io_uring, in the task itself or (`worker`) in a thread of the kernel.

use std::{
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};

use io_uring::{IoUring, opcode, squeue, types};

use crate::{Answer, State, Words, c, errno::Errno, file::kept, number};

/// Tries an operation of this kind.
pub(super) fn run(state: &mut State, name: &str, words: Words<'_>) -> Option<Answer> {
    let operation = name.strip_prefix("ring-")?;
    let (operation, flags) = match operation.strip_prefix("worker-") {
        Some(rest) => (rest, squeue::Flags::ASYNC),
        None => (operation, squeue::Flags::empty()),
    };
    let cwd = types::Fd(libc::AT_FDCWD);
    let texts: Vec<_> = words.iter().map(|word| c(word)).collect();
    let at = |place: usize| texts[place].as_ptr();
    let entry = match (operation, words) {
        ("open2", [_]) => {
            let how = types::OpenHow::new().flags(libc::O_CLOEXEC as u64);
            let entry = opcode::OpenAt2::new(cwd, at(0), &raw const how).build();
            return Some(submit(&entry.flags(flags)));
        }
        ("write", [_]) => opcode::OpenAt::new(cwd, at(0)).flags(libc::O_WRONLY).build(),
        ("create", [_]) => {
            opcode::OpenAt::new(cwd, at(0)).flags(libc::O_WRONLY | libc::O_CREAT).build()
        }
        ("unlink", [_]) => opcode::UnlinkAt::new(cwd, at(0)).build(),
        ("rename", [_, _]) => opcode::RenameAt::new(cwd, at(0), cwd, at(1)).build(),
        ("mkdir", [_]) => opcode::MkDirAt::new(cwd, at(0)).mode(0o755).build(),
        ("symlink", [_, _]) => opcode::SymlinkAt::new(cwd, at(0), at(1)).build(),
        ("link", [_, _]) => opcode::LinkAt::new(cwd, at(0), cwd, at(1)).build(),
        ("setxattr", [_, _]) => {
            opcode::SetXattr::new(at(1), b"1".as_ptr().cast(), at(0), 1).build()
        }
        ("socket", [family, kind, protocol]) => {
            let [family, kind, protocol] =
                [family, kind, protocol].map(|word| number(word).cast_signed());
            opcode::Socket::new(family, kind, protocol).build()
        }
        ("kept-read", [key]) => {
            let mut buffer = [0u8; 16];
            let fd = types::Fd(kept(state, key).as_raw_fd());
            let entry = opcode::Read::new(fd, buffer.as_mut_ptr(), 16).build();
            return Some(submit(&entry.flags(flags)));
        }
        ("kept-truncate", [key]) => {
            opcode::Ftruncate::new(types::Fd(kept(state, key).as_raw_fd()), 0).build()
        }
        ("cmd", [path]) => {
            let flag = libc::O_RDWR;
            return Some(crate::sys::open(&c(path), flag).and_then(|file| {
                let entry = opcode::UringCmd16::new(types::Fd(file.as_raw_fd()), 0x1234).build();
                submit(&entry.flags(flags))
            }));
        }
        ("credentials-setxattr", [_, _]) => {
            let entry = opcode::SetXattr::new(at(1), b"1".as_ptr().cast(), at(0), 1).build();
            return Some(with_former_credentials(entry));
        }
        ("credentials-open", [_]) => {
            let entry = opcode::OpenAt::new(cwd, at(0)).flags(libc::O_RDONLY | libc::O_CLOEXEC);
            return Some(with_former_credentials(entry.build()));
        }
        ("sendto", [to]) => return Some(send_to(to.to_str().unwrap_or_default(), flags, false)),
        ("sendmsg", [to]) => return Some(send_to(to.to_str().unwrap_or_default(), flags, true)),
        ("bind", [to]) => return Some(bind(to.to_str().unwrap_or_default(), flags)),
        _ => return None,
    };
    Some(submit(&entry.flags(flags)))
}

/// Submits one entry and waits for what comes of it. What it points to has to live in the caller.
fn submit(entry: &squeue::Entry) -> Answer {
    let mut ring = IoUring::new(4)?;
    // SAFETY: what the entry points to lives in the caller until this returns.
    unsafe { ring.submission().push(entry) }.map_err(|_| Errno(libc::EAGAIN))?;
    ring.submit_and_wait(1)?;
    for _ in 0..1000 {
        if let Some(answer) = ring.completion().next() {
            return match answer.result() {
                error if error < 0 => Err(Errno(-error)),
                value => Ok(value.to_string()),
            };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Errno(libc::ETIMEDOUT))
}

fn datagrams() -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    crate::sys::done(fd)?;
    // SAFETY: the call has just made it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The `struct sockaddr_in` of an IPv4 endpoint.
fn sockaddr(word: &str) -> [u8; 16] {
    let endpoint: std::net::SocketAddrV4 = word.parse().expect("an IPv4 endpoint");
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    bytes[2..4].copy_from_slice(&endpoint.port().to_be_bytes());
    bytes[4..8].copy_from_slice(&endpoint.ip().octets());
    bytes
}

/// A datagram with an address: by a message, or by `IORING_OP_SEND` with one.
fn send_to(word: &str, flags: squeue::Flags, message: bool) -> Answer {
    let (socket, mut name) = (datagrams()?, sockaddr(word));
    let fd = types::Fd(socket.as_raw_fd());
    let mut vector = libc::iovec { iov_base: b"x".as_ptr().cast_mut().cast(), iov_len: 1 };
    // SAFETY: a record of numbers and pointers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = 16;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    let entry = if message {
        opcode::SendMsg::new(fd, &raw const header).build()
    } else {
        let send = opcode::SendZc::new(fd, b"x".as_ptr(), 1);
        send.dest_addr(name.as_ptr().cast()).dest_addr_len(16).build()
    };
    submit(&entry.flags(flags))
}

fn bind(word: &str, flags: squeue::Flags) -> Answer {
    let (socket, name) = (datagrams()?, sockaddr(word));
    let fd = types::Fd(socket.as_raw_fd());
    submit(&opcode::Bind::new(fd, name.as_ptr().cast(), 16).build().flags(flags))
}

/// Submits an entry with the credentials that this process had before it changed them, in no other way
/// than that they are a new record.
fn with_former_credentials(entry: squeue::Entry) -> Answer {
    let mut ring = IoUring::new(4)?;
    let personality = ring.submitter().register_personality()?;
    // SAFETY: the call takes a number; the groups of root stay none.
    crate::sys::done(unsafe { libc::setgroups(0, std::ptr::null()) })?;
    let entry = entry.personality(personality);
    // SAFETY: what the entry points to lives in the caller.
    unsafe { ring.submission().push(&entry) }.map_err(|_| Errno(libc::EAGAIN))?;
    ring.submit_and_wait(1)?;
    match ring.completion().next().map(|answer| answer.result()) {
        Some(error) if error < 0 => Err(Errno(-error)),
        Some(value) => Ok(value.to_string()),
        None => Err(Errno(libc::ETIMEDOUT)),
    }
}
