//! Requests to the daemon's control socket, without any program in between.

use std::{
    io,
    os::{fd::FromRawFd as _, unix::net::UnixStream},
};

use tests::http;

use super::Outcome;

/// Does the act, if it is one of these.
pub(super) fn act(words: &[&str]) -> Option<Outcome> {
    match words {
        // The status and the body, in one line.
        ["http", socket, method, path] => Some(request(socket, method, path, "")),
        ["http", socket, method, path, body] => Some(request(socket, method, path, body)),
        // The same over a connection that a child made, which is gone.
        ["http-orphan", socket, method, path, body] => {
            Some(orphan(socket).and_then(|stream| said(http::ask(stream, method, path, body))))
        }
        _ => None,
    }
}

pub(super) fn request(socket: &str, method: &str, path: &str, body: &str) -> Outcome {
    said(http::request(socket, method, path, body))
}

fn said(answer: io::Result<http::Response>) -> Outcome {
    answer.map(|answer| answer.to_string())
}

/// A connection whose maker has ended and was waited for.
fn orphan(path: &str) -> io::Result<UnixStream> {
    // SAFETY: the call takes numbers.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made, and nothing else owns it.
    let stream = unsafe { UnixStream::from_raw_fd(fd) };
    // SAFETY: all zeroes is an address.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the child makes two system calls; the address outlives them.
    let mut status = unsafe {
        let child = libc::fork();
        if child == 0 {
            let len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
            libc::_exit(libc::connect(fd, (&raw const address).cast(), len));
        }
        child
    };
    // SAFETY: the status is there to be written.
    let waited = unsafe { libc::waitpid(status, &raw mut status, 0) };
    if waited > 0 && status == 0 { Ok(stream) } else { Err(io::ErrorKind::NotConnected.into()) }
}
