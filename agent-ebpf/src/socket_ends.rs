//! The two ends of internet sockets, as requests, and which address a destination reaches.

use core::ffi::c_void;

use agent_common::{
    access::{Right, Rights},
    event::Operation,
    rule::{FLOW_TCP_CONNECT, FLOW_TCP_LISTEN, FLOW_UDP_CONNECT, FLOW_UDP_LISTEN},
};

use crate::{
    kernel::{self, AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DGRAM, peek},
    member, offset,
    request::{Address, Endpoint},
    socket_owner,
};

/// The loopback addresses, which the unspecified address reaches.
const OWN_V4: Address = Address::v4(0x7f00_0001u32.to_be());
const OWN_V6: Address = Address([0, 1u64.to_be()]);

/// The address that a destination reaches. The kernel takes the unspecified address for its own host. By IPv4, that
/// is the address that the socket is bound to, if it is (`ip_route_output_key_hash_rcu`, net/ipv4/route.c). By IPv6,
/// it is the loopback address of the family that the socket is bound in (`tcp_v6_connect`, net/ipv6/tcp_ipv6.c;
/// `ip6_datagram_connect`, net/ipv6/datagram.c; `udpv6_sendmsg`, net/ipv6/udp.c).
///
/// `None` if it can't be told, since a device, or control data of the message, sets the source.
#[inline(always)]
pub(crate) fn reached(sk: *const c_void, address: Address, has_control: bool) -> Option<Address> {
    if address == Address([0; 2]) {
        let is_v6 = member!(u16, sk, sock_family) == AF_INET6;
        return Some(if is_v6 && is_v4(local_address(sk)) { OWN_V4 } else { OWN_V6 });
    }
    if address != Address::v4(0) {
        return Some(address);
    }
    let source = kernel::read_word(sk as u64 + offset!(inet_source)) as u32;
    let device = kernel::read_word(sk as u64 + offset!(inet_device)) as u32;
    if has_control || (source == 0 && device | member!(u32, sk, sock_device) != 0) {
        return None;
    }
    Some(if source == 0 { OWN_V4 } else { Address::v4(source) })
}

/// Whether an address is a mapped IPv4 one.
#[inline(always)]
fn is_v4(address: Address) -> bool {
    let Address([high, low]) = address;
    high == 0 && low as u32 == 0xffff_0000
}

/// The address that a socket is bound to.
#[inline(always)]
pub(crate) fn local_address(sk: *const c_void) -> Address {
    if member!(u16, sk, sock_family) == AF_INET {
        Address::v4(member!(sk, sock_rcv_saddr))
    } else {
        Address(peek(sk as u64 + offset!(sock_v6_rcv_saddr)))
    }
}

/// A socket's local end. For a socket that was reset, the end that it had: data that came before may still wait
/// there.
#[inline(always)]
pub(crate) fn local_end(sk: *const c_void) -> Endpoint {
    let mut port: u16 = member!(sk, sock_num);
    if port == 0
        && let Some(owner) = socket_owner::of(sk)
    {
        port = owner.local_port;
    }
    end(sk, local_address(sk), port, true)
}

/// The end that a socket is connected to; else the one that it sent to last.
#[inline(always)]
pub(crate) fn remote_end(sk: *const c_void) -> Endpoint {
    let port = u16::from_be(member!(sk, sock_dport));
    if port == 0 {
        return match socket_owner::of(sk) {
            Some(owner) => end(sk, owner.peer, owner.port, false),
            None => end(sk, Address([0; 2]), 0, false),
        };
    }
    let address = if member!(u16, sk, sock_family) == AF_INET {
        Address::v4(member!(sk, sock_daddr))
    } else {
        Address(peek(sk as u64 + offset!(sock_v6_daddr)))
    };
    end(sk, address, port, false)
}

/// The end that the first part of a datagram goes to, if one waits in the socket for the rest (`MSG_MORE`,
/// `UDP_CORK`). The end was set with the first part (`udp_push_pending_frames`, net/ipv4/udp.c and net/ipv6/udp.c).
#[inline(always)]
pub(crate) fn pending_end(sk: *const c_void) -> Option<Endpoint> {
    let at = sk as u64;
    let (address, port) = match kernel::read_word(at + offset!(udp_pending)) as u32 as u16 {
        0 => return None,
        AF_INET => (
            Address::v4(kernel::read_word(at + offset!(cork_v4_address)) as u32),
            kernel::read_word(at + offset!(cork_v4_port)),
        ),
        _ => (
            Address(peek(at + offset!(cork_v6_address))),
            kernel::read_word(at + offset!(cork_v6_port)),
        ),
    };
    Some(end(sk, address, u16::from_be(port as u16), false))
}

/// An end of a socket, as a request to use it.
#[inline(always)]
fn end(sk: *const c_void, address: Address, port: u16, is_local: bool) -> Endpoint {
    let datagrams = member!(u16, sk, sock_kind) == SOCK_DGRAM;
    let (flow, right) = match (is_local, datagrams) {
        (false, false) => (FLOW_TCP_CONNECT, Right::Connect),
        (false, true) => (FLOW_UDP_CONNECT, Right::Connect),
        (true, false) => (FLOW_TCP_LISTEN, Right::Listen),
        (true, true) => (FLOW_UDP_LISTEN, Right::Listen),
    };
    Endpoint {
        address,
        port,
        protocol: if datagrams { IPPROTO_UDP } else { IPPROTO_TCP } as u8,
        operation: Operation::NetUse,
        flow,
        rights: Rights::of(right),
    }
}
