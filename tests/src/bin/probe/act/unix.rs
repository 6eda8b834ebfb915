//! Acts on unix sockets. A name that begins with `@` is an abstract one.

use std::{
    collections::HashMap,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::{LazyLock, Mutex, PoisonError},
};

use super::{Outcome, call};

/// Sockets that stay open until the process ends, by name.
static KEPT: LazyLock<Mutex<HashMap<String, OwnedFd>>> = LazyLock::new(Mutex::default);

/// Does the act, if it is one on unix sockets.
pub(super) fn act(words: &[&str]) -> Option<Outcome> {
    Some(match words {
        // Makes a socket that others reach, and keeps it.
        ["unix-bind", kind, name] => bind(kind, name),
        ["unix", kind, name] => socket(kind).and_then(|socket| {
            connect(&socket, name)?;
            send(&socket)
        }),
        // A connection that is kept, and a message over it.
        ["unix-keep", key, kind, name] => socket(kind).and_then(|socket| {
            connect(&socket, name)?;
            keep(key, socket);
            Ok(String::new())
        }),
        ["unix-send", key] => {
            let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
            send(kept.get(*key).unwrap_or_else(|| panic!("no socket {key}")))
        }
        ["unix-sendto", name] => socket("dgram").and_then(|socket| send_to(&socket, name)),
        // Connected to the first, and sent to the second.
        ["unix-aside", first, second] => socket("dgram").and_then(|socket| {
            connect(&socket, first)?;
            send_to(&socket, second)
        }),
        ["socketpair", kind] => pair(kind),
        _ => return None,
    })
}

fn kind(word: &str) -> usize {
    let kind = match word {
        "stream" => libc::SOCK_STREAM,
        "dgram" => libc::SOCK_DGRAM,
        "seqpacket" => libc::SOCK_SEQPACKET,
        other => panic!("no such kind of socket: {other}"),
    };
    (kind | libc::SOCK_CLOEXEC) as usize
}

fn socket(word: &str) -> io::Result<OwnedFd> {
    call::open(libc::SYS_socket, [libc::AF_UNIX as usize, kind(word), 0])
}

fn fd(socket: &OwnedFd) -> usize {
    socket.as_raw_fd() as usize
}

/// The `struct sockaddr_un` of a name.
fn sockaddr(name: &str) -> Vec<u8> {
    let family = (libc::AF_UNIX as u16).to_ne_bytes();
    match name.strip_prefix('@') {
        Some(name) => [&family[..], &[0], name.as_bytes()].concat(),
        None => [&family[..], name.as_bytes(), &[0]].concat(),
    }
}

fn bind(word: &str, name: &str) -> Outcome {
    let socket = socket(word)?;
    let at = sockaddr(name);
    call::call(libc::SYS_bind, [fd(&socket), at.as_ptr() as usize, at.len()])?;
    if word != "dgram" {
        call::call(libc::SYS_listen, [fd(&socket), 64])?;
    }
    keep(name, socket);
    Ok(String::new())
}

fn keep(key: &str, socket: OwnedFd) {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), socket);
}

fn connect(socket: &OwnedFd, name: &str) -> io::Result<()> {
    let to = sockaddr(name);
    call::call(libc::SYS_connect, [fd(socket), to.as_ptr() as usize, to.len()]).map(drop)
}

fn send(socket: &OwnedFd) -> Outcome {
    let text = b"x";
    let (at, len) = (text.as_ptr() as usize, text.len());
    // A peer that does not take it must not hold us up, nor end us.
    let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as usize;
    call::call(libc::SYS_sendto, [fd(socket), at, len, flags]).map(|sent| sent.to_string())
}

fn send_to(socket: &OwnedFd, name: &str) -> Outcome {
    let (text, to) = (b"x", sockaddr(name));
    let (at, to_at) = (text.as_ptr() as usize, to.as_ptr() as usize);
    let flags = libc::MSG_DONTWAIT as usize;
    let arguments = [fd(socket), at, text.len(), flags, to_at, to.len()];
    call::call(libc::SYS_sendto, arguments).map(|sent| sent.to_string())
}

fn pair(word: &str) -> Outcome {
    let mut ends = [0i32; 2];
    let ends_at = (&raw mut ends) as usize;
    call::call(libc::SYS_socketpair, [libc::AF_UNIX as usize, kind(word), 0, ends_at])?;
    // SAFETY: the kernel has just made both, for us.
    let [one, other] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    send(&one)?;
    let mut byte = [0u8; 1];
    let at = (&raw mut byte) as usize;
    call::call(libc::SYS_recvfrom, [fd(&other), at, 1]).map(|got| got.to_string())
}
