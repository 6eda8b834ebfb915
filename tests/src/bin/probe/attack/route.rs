//! Datagrams by a way that the sender lays down: the address that was asked for stands in an option, and the
//! packet goes to the first host of the way.

use std::{
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::Mutex,
};

use crate::{
    Answer, Words,
    errno::Errno,
    file::nothing,
    sys::{done, owned, raw},
};

/// What sees all packets.
static SNIFFER: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// Tries an operation of this kind.
pub(super) fn run(name: &str, words: Words<'_>) -> Option<Answer> {
    let texts: Vec<&str> = words.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    Some(match (name, texts.as_slice()) {
        // A datagram to the first by way of the second, said to the socket or with the message.
        ("udp-by-way", [to, way]) => by_option(to, way),
        ("udp-by-way-of-message", [to, way]) => by_message(to, way),
        ("udp-plainly", [to]) => send(to, &[]),
        // Two datagrams by one call, the second by way of another host, or (`-`) not: how many were sent.
        ("udp-two", [to, way]) => two(to, way),
        ("sniff", []) => sniff(),
        // Whether a packet to the address was seen since.
        ("sniffed", [address]) => sniffed(address.parse().expect("an IPv4 address")),
        _ => return None,
    })
}

/// The option for a loose source route of one hop (`IPOPT_LSRR`, include/uapi/linux/ip.h).
fn option(way: &str) -> [u8; 8] {
    let [a, b, c, d] = way.parse::<Ipv4Addr>().expect("an IPv4 address").octets();
    [131, 7, 4, a, b, c, d, 0]
}

fn datagrams() -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes numbers only.
    owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })
}

fn by_option(to: &str, way: &str) -> Answer {
    let (socket, option) = (datagrams()?, option(way));
    let (fd, at) = (socket.as_raw_fd() as usize, option.as_ptr() as usize);
    raw(libc::SYS_setsockopt, [fd, libc::IPPROTO_IP as usize, libc::IP_OPTIONS as usize, at, 8])?;
    send_from(&socket, to, &[])
}

fn by_message(to: &str, way: &str) -> Answer {
    send(to, &option(way))
}

fn send(to: &str, option: &[u8]) -> Answer {
    send_from(&datagrams()?, to, option)
}

/// Sends with the option as `IP_RETOPTS` beside the message, where there is one.
fn send_from(socket: &OwnedFd, to: &str, option: &[u8]) -> Answer {
    let to: std::net::SocketAddrV4 = to.parse().expect("an IPv4 endpoint");
    let mut name = [0u8; 16];
    name[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    name[2..4].copy_from_slice(&to.port().to_be_bytes());
    name[4..8].copy_from_slice(&to.ip().octets());
    let mut vector = libc::iovec { iov_base: b"x".as_ptr().cast_mut().cast(), iov_len: 1 };
    // `struct cmsghdr`: its length, level (zero, `IPPROTO_IP`) and type, then the option.
    let mut control = [24u64, (libc::IP_RETOPTS as u64) << 32, 0];
    // SAFETY: a record of numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = name.as_mut_ptr().cast();
    message.msg_namelen = 16;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    if let Ok(option) = <[u8; 8]>::try_from(option) {
        control[2] = u64::from_ne_bytes(option);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
    }
    // SAFETY: the record's pointers are of values on this stack.
    done(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) } as i64).map(nothing)
}

fn sniff() -> Answer {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes numbers only. `ETH_P_ALL`, in network order.
    let socket = owned(unsafe { libc::socket(libc::AF_PACKET, kind, 0x0300) })?;
    *SNIFFER.lock().expect("nobody else has it") = Some(socket);
    Ok(String::new())
}

fn sniffed(address: Ipv4Addr) -> Answer {
    let kept = SNIFFER.lock().expect("nobody else has it").take().ok_or(Errno(libc::EBADF))?;
    let mut packet = [0u8; 256];
    // Until none is left: `EAGAIN`.
    while let Ok(length @ 20..) = {
        let at = packet.as_mut_ptr() as usize;
        raw(libc::SYS_recvfrom, [kept.as_raw_fd() as usize, at, packet.len()])
    } {
        let _read = length;
        if packet[16..20] == address.octets() {
            return Ok(String::new());
        }
    }
    Err(Errno(libc::EACCES))
}

/// `sendmmsg` of two datagrams to the same address, the second with a routing header of the second type
/// (`IPV6_RTHDR`, include/uapi/linux/in6.h).
fn two(to: &str, way: &str) -> Answer {
    let to: std::net::SocketAddrV6 = to.parse().expect("an IPv6 endpoint");
    // SAFETY: the call takes numbers only.
    let socket = owned(unsafe { libc::socket(libc::AF_INET6, libc::SOCK_DGRAM, 0) })?;
    let mut name = [0u8; 28];
    name[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
    name[2..4].copy_from_slice(&to.port().to_be_bytes());
    name[8..24].copy_from_slice(&to.ip().octets());
    let mut vector = libc::iovec { iov_base: b"x".as_ptr().cast_mut().cast(), iov_len: 1 };
    // `struct cmsghdr`, then next header, length, type, and how many hosts are left; and the host.
    let mut control = [40u64, 41 | 57 << 32, u64::from_ne_bytes([0, 2, 2, 1, 0, 0, 0, 0]), 0, 0];
    if let Ok(way) = way.parse::<std::net::Ipv6Addr>() {
        let octets = way.octets();
        let (high, low) = octets.split_at(8);
        control[3] = u64::from_ne_bytes(high.try_into().unwrap_or_default());
        control[4] = u64::from_ne_bytes(low.try_into().unwrap_or_default());
    }
    // SAFETY: records of numbers and pointers, for which zero is a value.
    let mut messages: [libc::mmsghdr; 2] = unsafe { std::mem::zeroed() };
    for message in &mut messages {
        message.msg_hdr.msg_name = name.as_mut_ptr().cast();
        message.msg_hdr.msg_namelen = 28;
        message.msg_hdr.msg_iov = &raw mut vector;
        message.msg_hdr.msg_iovlen = 1;
    }
    if way != "-" {
        messages[1].msg_hdr.msg_control = control.as_mut_ptr().cast();
        messages[1].msg_hdr.msg_controllen = size_of_val(&control);
    }
    // SAFETY: the records' pointers are of values on this stack.
    let sent = done(unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), 2, 0) })?;
    Ok(sent.to_string())
}
