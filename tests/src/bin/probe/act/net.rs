//! Acts on internet sockets, and on the families that a session may not have.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    os::fd::{AsRawFd as _, OwnedFd},
};

use io_uring::{IoUring, opcode, types};

use super::{
    Outcome,
    call::{self, number, sockaddr, with_family},
};

const PAYLOAD: &[u8] = b"x";

/// Does the act, if it is one on the network.
pub(super) fn act(words: &[&str]) -> Option<Outcome> {
    Some(match words {
        ["socket", family, kind, protocol] => {
            socket(number(family), number(kind), number(protocol)).map(|_| String::new())
        }
        ["tcp", to] => tcp(address(to), 0),
        ["mptcp", to] => tcp(address(to), libc::IPPROTO_MPTCP),
        // Connected, disconnected, and connected to the second.
        ["tcp-again", first, second] => again(libc::SOCK_STREAM, address(first), address(second)),
        ["udp-again", first, second] => again(libc::SOCK_DGRAM, address(first), address(second)),
        ["tcp-uring", to] => uring(address(to)),
        ["fastopen", to] => for_address(address(to), libc::SOCK_STREAM, 0)
            .and_then(|socket| send_to(&socket, &sockaddr(address(to)), libc::MSG_FASTOPEN)),
        ["udp", to] => for_address(address(to), libc::SOCK_DGRAM, 0).and_then(|socket| {
            connect(&socket, &sockaddr(address(to)))?;
            send(&socket)
        }),
        ["udp-sendto", to] => for_address(address(to), libc::SOCK_DGRAM, 0)
            .and_then(|socket| send_to(&socket, &sockaddr(address(to)), 0)),
        // Connected to the first, and sent to the second.
        ["udp-aside", first, second] => {
            for_address(address(first), libc::SOCK_DGRAM, 0).and_then(|socket| {
                connect(&socket, &sockaddr(address(first)))?;
                send_to(&socket, &sockaddr(address(second)), 0)
            })
        }
        ["udp-sendmsg", to] => for_address(address(to), libc::SOCK_DGRAM, 0)
            .and_then(|socket| send_message(&socket, &mut sockaddr(address(to)))),
        // How many of the messages went out.
        ["udp-sendmmsg", all @ ..] => {
            let all: Vec<SocketAddr> = all.iter().map(|to| address(to)).collect();
            for_address(all[0], libc::SOCK_DGRAM, 0).and_then(|socket| send_many(&socket, &all))
        }
        // The address has no family, which an IPv4 socket takes for its own.
        ["udp-unspec", to] => for_address(address(to), libc::SOCK_DGRAM, 0).and_then(|socket| {
            send_to(&socket, &with_family(sockaddr(address(to)), libc::AF_UNSPEC), 0)
        }),
        // An IPv6 socket, and an IPv4 address as such.
        ["udp6-as-v4", to] => socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)
            .and_then(|socket| send_to(&socket, &sockaddr(address(to)), 0)),
        ["bind", kind, at] => {
            bound(kind, address(at)).and_then(|socket| own_port(&socket)).map(|p| p.to_string())
        }
        ["listen", at] => bound("tcp", address(at)).and_then(|socket| {
            listen(&socket)?;
            own_port(&socket).map(|port| port.to_string())
        }),
        ["getaddrinfo", name] => {
            (*name, 80).to_socket_addrs().map(|found| found.count().to_string())
        }
        ["getifaddrs"] => interfaces(),
        _ => return None,
    })
}

fn address(word: &str) -> SocketAddr {
    word.parse().unwrap_or_else(|_| panic!("not an endpoint: {word}"))
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC;
    call::open(libc::SYS_socket, [family as usize, kind as usize, protocol as usize])
}

fn for_address(address: SocketAddr, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    socket(family, kind, protocol)
}

fn fd(socket: &OwnedFd) -> usize {
    socket.as_raw_fd() as usize
}

fn connect(socket: &OwnedFd, to: &[u8]) -> io::Result<()> {
    call::call(libc::SYS_connect, [fd(socket), to.as_ptr() as usize, to.len()]).map(drop)
}

fn listen(socket: &OwnedFd) -> io::Result<()> {
    call::call(libc::SYS_listen, [fd(socket), 8]).map(drop)
}

fn send(socket: &OwnedFd) -> Outcome {
    let payload = PAYLOAD.as_ptr() as usize;
    call::call(libc::SYS_sendto, [fd(socket), payload, PAYLOAD.len()]).map(|n| n.to_string())
}

fn send_to(socket: &OwnedFd, to: &[u8], flags: i32) -> Outcome {
    let (payload, to_at) = (PAYLOAD.as_ptr() as usize, to.as_ptr() as usize);
    let arguments = [fd(socket), payload, PAYLOAD.len(), flags as usize, to_at, to.len()];
    call::call(libc::SYS_sendto, arguments).map(|sent| sent.to_string())
}

fn tcp(to: SocketAddr, protocol: i32) -> Outcome {
    let socket = for_address(to, libc::SOCK_STREAM, protocol)?;
    connect(&socket, &sockaddr(to))?;
    send(&socket)
}

fn again(kind: i32, first: SocketAddr, second: SocketAddr) -> Outcome {
    let socket = for_address(first, kind, 0)?;
    connect(&socket, &sockaddr(first))?;
    connect(&socket, &with_family(sockaddr(first), libc::AF_UNSPEC))?;
    connect(&socket, &sockaddr(second))?;
    send(&socket)
}

/// Connects with io_uring, the way its worker threads do.
fn uring(to: SocketAddr) -> Outcome {
    let mut ring = IoUring::new(4)?;
    let socket = for_address(to, libc::SOCK_STREAM, 0)?;
    let target = sockaddr(to);
    let connect = opcode::Connect::new(
        types::Fd(socket.as_raw_fd()),
        target.as_ptr().cast(),
        u32::try_from(target.len()).map_err(io::Error::other)?,
    )
    .build()
    .flags(io_uring::squeue::Flags::ASYNC);
    // SAFETY: the address and the socket outlive the entry's completion, which is waited for.
    unsafe { ring.submission().push(&connect) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map_or(-libc::EIO, |entry| entry.result());
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    send(&socket)
}

/// `struct iovec`, `struct msghdr` and `struct mmsghdr` as the kernel has them, of one message.
struct Message {
    vector: [usize; 2],
    header: [usize; 8],
}

impl Message {
    fn new(name: &[u8]) -> Box<Self> {
        let mut message = Box::new(Self { vector: [0; 2], header: [0; 8] });
        message.vector = [PAYLOAD.as_ptr() as usize, PAYLOAD.len()];
        message.header[0] = name.as_ptr() as usize;
        message.header[1] = name.len();
        message.header[2] = (&raw const message.vector) as usize;
        message.header[3] = 1;
        message
    }
}

fn send_message(socket: &OwnedFd, to: &mut [u8]) -> Outcome {
    let message = Message::new(to);
    let header = (&raw const message.header) as usize;
    call::call(libc::SYS_sendmsg, [fd(socket), header, 0]).map(|sent| sent.to_string())
}

fn send_many(socket: &OwnedFd, all: &[SocketAddr]) -> Outcome {
    let names: Vec<Vec<u8>> = all.iter().map(|to| sockaddr(*to)).collect();
    let messages: Vec<Box<Message>> = names.iter().map(|name| Message::new(name)).collect();
    // The headers in a row, each followed by its length.
    let headers: Vec<[usize; 8]> = messages.iter().map(|message| message.header).collect();
    let (at, count) = (headers.as_ptr() as usize, headers.len());
    call::call(libc::SYS_sendmmsg, [fd(socket), at, count, 0]).map(|sent| sent.to_string())
}

fn bound(kind: &str, at: SocketAddr) -> io::Result<OwnedFd> {
    let kind = if kind == "udp" { libc::SOCK_DGRAM } else { libc::SOCK_STREAM };
    let socket = for_address(at, kind, 0)?;
    let name = sockaddr(at);
    call::call(libc::SYS_bind, [fd(&socket), name.as_ptr() as usize, name.len()])?;
    Ok(socket)
}

/// The port that a socket has.
fn own_port(socket: &OwnedFd) -> io::Result<u16> {
    let mut name = [0u8; 28];
    let mut len = 28u32;
    let (name_at, len_at) = ((&raw mut name) as usize, (&raw mut len) as usize);
    call::call(libc::SYS_getsockname, [fd(socket), name_at, len_at])?;
    Ok(u16::from_be_bytes([name[2], name[3]]))
}

/// How many addresses the host's interfaces have: by netlink, as libc asks.
fn interfaces() -> Outcome {
    let mut list = std::ptr::null_mut();
    // SAFETY: the list is written by the call and given back below.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut count = 0;
    let mut next = list;
    while !next.is_null() {
        count += 1;
        // SAFETY: an entry of the list that `getifaddrs` made.
        next = unsafe { (*next).ifa_next };
    }
    // SAFETY: the list is what `getifaddrs` made, and not used after this.
    unsafe { libc::freeifaddrs(list) };
    Ok(count.to_string())
}
