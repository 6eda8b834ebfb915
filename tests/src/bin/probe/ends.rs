//! Sockets that are kept under a name, with whatever address, option or flag a call can bring.

use std::{
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        linux::net::SocketAddrExt as _,
        unix::net::{UnixDatagram, UnixListener},
    },
};

use crate::{
    Answer, State, Words,
    errno::Errno,
    file::{keep, kept, nothing},
    number,
    sys::{self, done, raw},
};

/// Tries an operation of this kind.
pub(crate) fn run(state: &mut State, name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        ("hold-socket", [key, family, kind]) => {
            keep(state, key, socket(number(family) as i32, number(kind) as i32))
        }
        ("hold-abstract", [key, name]) => {
            let listener =
                std::os::unix::net::SocketAddr::from_abstract_name(name.as_encoded_bytes())
                    .and_then(|name| UnixListener::bind_addr(&name));
            keep(state, key, listener.map(Into::into).map_err(Errno::from))
        }
        ("hold-unix-datagrams", [key, path]) => {
            keep(state, key, UnixDatagram::bind(path).map(Into::into).map_err(Errno::from))
        }
        // Connected to the path.
        ("hold-seqpacket", [key, path]) => {
            let made = socket(libc::AF_UNIX, libc::SOCK_SEQPACKET).and_then(|socket| {
                let name = [&[1, 0], path.as_encoded_bytes(), &[0]].concat();
                call(libc::SYS_connect, &socket, &name).map(|_| socket)
            });
            keep(state, key, made)
        }
        ("held-port", [key]) => port(kept(state, key)),
        ("held-connect", [key, to]) => call(libc::SYS_connect, kept(state, key), &name_of(to)),
        ("held-bind", [key, at]) => call(libc::SYS_bind, kept(state, key), &name_of(at)),
        // Names byte by byte, in hexadecimal; `-` for none of them.
        ("held-connect-name", [key, name]) => {
            call(libc::SYS_connect, kept(state, key), &bytes(name))
        }
        ("held-bind-name", [key, name]) => call(libc::SYS_bind, kept(state, key), &bytes(name)),
        ("held-send-name", [key, name]) => send(kept(state, key), 0, &bytes(name)),
        ("held-send-more", [key]) => {
            // SAFETY: the text has one byte.
            done(unsafe {
                let fd = kept(state, key).as_raw_fd();
                libc::send(fd, b"x".as_ptr().cast(), 1, libc::MSG_MORE)
            } as i64)
            .map(nothing)
        }
        ("held-send-more-to", [key, to]) => send(kept(state, key), libc::MSG_MORE, &name_of(to)),
        ("held-send-from", [key, source, to]) => send_from(kept(state, key), source, &name_of(to)),
        ("held-option", [key, level, option, value]) => {
            let (value, socket) = (number(value), kept(state, key));
            set(socket, number(level), number(option), &value.to_ne_bytes())
        }
        ("held-device", [key, device]) => {
            let socket = kept(state, key);
            let option = (libc::SOL_SOCKET as u32, libc::SO_BINDTODEVICE as u32);
            set(socket, option.0, option.1, device.as_encoded_bytes())
        }
        ("held-count", [key]) => count(kept(state, key), libc::FIONREAD),
        ("held-unsent", [key]) => count(kept(state, key), libc::TIOCOUTQ),
        // Waits for a moment.
        ("held-recv-wait", [key]) => {
            let moment = [0u64, 200_000].map(u64::to_ne_bytes).concat();
            let socket = kept(state, key);
            set(socket, libc::SOL_SOCKET as u32, libc::SO_RCVTIMEO as u32, &moment)
                .and_then(|_| receive(socket))
        }
        _ => return None,
    })
}

fn socket(family: i32, kind: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes numbers only.
    sys::owned(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) })
}

/// The `struct sockaddr_in` or `sockaddr_in6` of an endpoint.
fn name_of(word: &OsStr) -> Vec<u8> {
    let address = word.to_str().and_then(|text| text.parse().ok());
    match address.unwrap_or_else(|| panic!("no address {word:?}")) {
        SocketAddr::V4(v4) => {
            let port = v4.port().to_be_bytes();
            [&(libc::AF_INET as u16).to_ne_bytes()[..], &port, &v4.ip().octets(), &[0; 8]].concat()
        }
        SocketAddr::V6(v6) => {
            let head = [(libc::AF_INET6 as u16).to_ne_bytes(), v6.port().to_be_bytes()].concat();
            [&head[..], &[0; 4], &v6.ip().octets(), &[0; 4]].concat()
        }
    }
}

/// What a word of hexadecimal digits says.
fn bytes(word: &OsStr) -> Vec<u8> {
    let text = word.to_str().unwrap_or_default();
    let digits: Vec<u8> =
        text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A call that takes a socket and a name.
fn call(number: i64, socket: &OwnedFd, name: &[u8]) -> Answer {
    raw(number, [socket.as_raw_fd() as usize, name.as_ptr() as usize, name.len()]).map(nothing)
}

fn send(socket: &OwnedFd, flags: i32, name: &[u8]) -> Answer {
    let (fd, text) = (socket.as_raw_fd() as usize, b"x".as_ptr() as usize);
    let flags = (flags | libc::MSG_NOSIGNAL) as usize;
    raw(libc::SYS_sendto, [fd, text, 1, flags, name.as_ptr() as usize, name.len()]).map(nothing)
}

/// Sends with a source beside the message, as `IP_PKTINFO` says it.
fn send_from(socket: &OwnedFd, source: &OsStr, name: &[u8]) -> Answer {
    let source: Ipv4Addr = source.to_str().and_then(|text| text.parse().ok()).expect("an address");
    let mut vector = libc::iovec { iov_base: b"x".as_ptr().cast_mut().cast(), iov_len: 1 };
    // `struct cmsghdr`: its length, level (zero, `IPPROTO_IP`) and type; then the interface, the source and an address
    // that is not looked at.
    let head = u64::from(u32::from_ne_bytes(source.octets())) << 32;
    let mut control = [28u64, (libc::IP_PKTINFO as u64) << 32, head, 0];
    // SAFETY: a record of numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = name.as_ptr().cast_mut().cast();
    message.msg_namelen = name.len() as u32;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the record's pointers are of values on this stack.
    done(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) } as i64).map(nothing)
}

fn set(socket: &OwnedFd, level: u32, option: u32, value: &[u8]) -> Answer {
    let fd = socket.as_raw_fd() as usize;
    let (at, len) = (value.as_ptr() as usize, value.len());
    raw(libc::SYS_setsockopt, [fd, level as usize, option as usize, at, len]).map(nothing)
}

/// A number of bytes that `ioctl(2)` tells.
fn count(socket: &OwnedFd, command: u64) -> Answer {
    let mut bytes = 0i32;
    let at = (&raw mut bytes) as usize;
    raw(libc::SYS_ioctl, [socket.as_raw_fd() as usize, command as usize, at])?;
    Ok(bytes.to_string())
}

/// How many bytes came; none until the time is up.
fn receive(socket: &OwnedFd) -> Answer {
    let mut buffer = [0u8; 16];
    let (fd, at) = (socket.as_raw_fd() as usize, buffer.as_mut_ptr() as usize);
    match raw(libc::SYS_recvfrom, [fd, at, buffer.len()]) {
        Err(Errno(libc::EAGAIN)) => Ok("0".to_owned()),
        other => other.map(|bytes| bytes.to_string()),
    }
}

/// The port that a socket has.
fn port(socket: &OwnedFd) -> Answer {
    let mut name = [0u8; 28];
    let mut len = 28u32;
    let (name_at, len_at) = ((&raw mut name) as usize, (&raw mut len) as usize);
    raw(libc::SYS_getsockname, [socket.as_raw_fd() as usize, name_at, len_at])?;
    Ok(u16::from_be_bytes([name[2], name[3]]).to_string())
}
