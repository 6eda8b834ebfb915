//! Sockets and network endpoints.

use core::ffi::c_void;

use agent_common::{
    access::{Right, Rights},
    decision::Reason,
    event::{OBJECT_SOCKET, Operation},
    id::Tag,
    rule::{FLOW_TCP_CONNECT, FLOW_TCP_LISTEN, FLOW_UDP_CONNECT, FLOW_UDP_LISTEN},
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use super::{held, options};
use crate::{
    check::{self, Act, Address, EACCES, Endpoint},
    kernel, member, socket_owner, subject,
};

const AF_UNSPEC: u16 = 0;
pub(super) const AF_UNIX: u16 = 1;
pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 10;
const AF_NETLINK: u16 = 16;
const SOCK_STREAM: u16 = 1;
pub(super) const SOCK_DGRAM: u16 = 2;
const SOCK_RAW: u16 = 3;
const SOCK_SEQPACKET: u16 = 5;
/// Low bits of a socket type: the rest are flags (`SOCK_TYPE_MASK`, include/linux/net.h).
const SOCK_TYPE: u32 = 0xf;
pub(super) const IPPROTO_TCP: u32 = 6;
pub(super) const IPPROTO_UDP: u32 = 17;
const IPPROTO_MPTCP: u32 = 262;
/// The only netlink protocol that a libc needs: name look-up and interface listing.
const NETLINK_ROUTE: u32 = 0;
/// Where `struct sockaddr_in6` has its address (include/uapi/linux/in6.h).
const IN6_ADDRESS: u64 = 8;

/// `int socket_create(int family, int type, int protocol, int kern)`.
#[lsm(hook = "socket_create")]
pub fn socket_create(context: LsmContext) -> i32 {
    if context.arg::<i32>(3) != 0 {
        return 0;
    }
    let Some(tag) = &subject::current() else { return 0 };
    let family: u32 = context.arg(0);
    let kind = context.arg::<u32>(1) & SOCK_TYPE;
    let protocol: u32 = context.arg(2);
    if may_exist(family as u16, kind as u16, protocol) {
        return 0;
    }
    let arguments = [family, kind, protocol];
    let act = Act { operation: Operation::NetSocket, object: OBJECT_SOCKET, arguments };
    check::refuse(tag, &act, Reason::NoTool, EACCES)
}

/// Whether a session may have such a socket at all; where it leads is decided when it is used.
#[inline(always)]
pub(super) fn may_exist(family: u16, kind: u16, protocol: u32) -> bool {
    match family {
        AF_UNIX => kind == SOCK_STREAM || kind == SOCK_DGRAM || kind == SOCK_SEQPACKET,
        AF_INET | AF_INET6 => match kind {
            SOCK_STREAM => protocol == 0 || protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP,
            SOCK_DGRAM => protocol == 0 || protocol == IPPROTO_UDP,
            _ => false,
        },
        AF_NETLINK => (kind == SOCK_RAW || kind == SOCK_DGRAM) && protocol == NETLINK_ROUTE,
        _ => false,
    }
}

/// `int socket_post_create(struct socket *sock, int family, int type, int protocol, int kern)`: writes
/// down whose socket it is.
#[lsm(hook = "socket_post_create")]
pub fn socket_post_create(context: LsmContext) -> i32 {
    if context.arg::<i32>(4) != 0 {
        return 0;
    }
    let Some(tag) = &subject::current() else { return 0 };
    let sock: *const c_void = member!(context.arg::<*const c_void>(0), socket_sk);
    if sock.is_null() {
        return 0;
    }
    socket_owner::set(sock, tag);
    0
}

/// `int socket_connect(struct socket *sock, struct sockaddr *address, int addrlen)`.
#[lsm(hook = "socket_connect")]
pub fn socket_connect(context: LsmContext) -> i32 {
    if subject::is_surely_untagged() {
        return 0;
    }
    connect(context.arg(0), context.arg::<*const c_void>(1) as u64, context.arg(2))
}

/// Not inlined, as opening a file.
#[inline(never)]
fn connect(sock: *const c_void, address: u64, len: i32) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    reach(tag, sock, address, len, Operation::NetConnect)
}

/// `int socket_sendmsg(struct socket *sock, struct msghdr *msg, int size)`: where the socket leads, and an
/// address that comes with the message, also of a TCP fast open. (A stream that is connected sends to where
/// it is connected, whatever comes with the message.)
#[lsm(hook = "socket_sendmsg")]
pub fn socket_sendmsg(context: LsmContext) -> i32 {
    if subject::is_surely_untagged() { 0 } else { send(context.arg(0), context.arg(1)) }
}

/// Not inlined, as opening a file.
#[inline(never)]
fn send(sock: *const c_void, message: *const c_void) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    if member!(u64, message, msghdr_control) != 0 {
        let way = options::way(message);
        if way != 0 {
            return options::refuse_way(tag, way);
        }
    }
    let address: u64 = member!(message, msghdr_name);
    if address == 0 || member!(u16, sock, socket_type) == SOCK_STREAM {
        let verdict = held::socket(tag, sock);
        if address == 0 || verdict != 0 {
            return verdict;
        }
    }
    let len: i32 = member!(message, msghdr_namelen);
    reach(tag, sock, address, len, Operation::NetSend)
}

/// `int socket_bind(struct socket *sock, struct sockaddr *address, int addrlen)`. Port zero is a port that
/// the kernel chooses, as it does for every socket that is not bound.
#[lsm(hook = "socket_bind")]
pub fn socket_bind(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let sock: *const c_void = context.arg(0);
    let address = context.arg::<*const c_void>(1) as u64;
    let Some((address, port)) = read_address(sock, address, context.arg(2), Operation::NetBind)
    else {
        return 0;
    };
    if port == 0 {
        return 0;
    }
    listen(tag, sock, address, port, Operation::NetBind)
}

/// `int socket_listen(struct socket *sock, int backlog)`.
#[lsm(hook = "socket_listen")]
pub fn socket_listen(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let sock: *const c_void = context.arg(0);
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null() {
        return 0;
    }
    let family: u16 = member!(sk, sock_family);
    if family != AF_INET && family != AF_INET6 {
        return 0;
    }
    let port: u16 = member!(sk, sock_num);
    listen(tag, sock, held::local_address(sk), port, Operation::NetListen)
}

/// Decides an outgoing endpoint.
#[inline(always)]
fn reach(tag: &Tag, sock: *const c_void, address: u64, len: i32, operation: Operation) -> i32 {
    let Some((address, port)) = read_address(sock, address, len, operation) else { return 0 };
    let address = own_host_for_any(address);
    let datagrams = member!(u16, sock, socket_type) == SOCK_DGRAM;
    let endpoint = Endpoint {
        address,
        port,
        protocol: if datagrams { IPPROTO_UDP } else { IPPROTO_TCP } as u8,
        operation,
        flow: if datagrams { FLOW_UDP_CONNECT } else { FLOW_TCP_CONNECT },
        rights: Rights::of(Right::Connect),
    };
    let verdict = check::endpoint(tag, &endpoint);
    if verdict == 0 {
        socket_owner::note_peer(member!(sock, socket_sk), tag, address, port);
    }
    verdict
}

/// Decides a local endpoint.
#[inline(always)]
fn listen(
    tag: &Tag,
    sock: *const c_void,
    address: Address,
    port: u16,
    operation: Operation,
) -> i32 {
    let datagrams = member!(u16, sock, socket_type) == SOCK_DGRAM;
    let endpoint = Endpoint {
        address,
        port,
        protocol: if datagrams { IPPROTO_UDP } else { IPPROTO_TCP } as u8,
        operation,
        flow: if datagrams { FLOW_UDP_LISTEN } else { FLOW_TCP_LISTEN },
        rights: Rights::of(Right::Listen),
    };
    let verdict = check::endpoint(tag, &endpoint);
    if verdict == 0 {
        socket_owner::note_listening(member!(sock, socket_sk), tag);
    }
    verdict
}

/// The kernel takes the unspecified address of a destination for the own host.
#[inline(always)]
fn own_host_for_any(address: Address) -> Address {
    if address == Address([0, 0]) {
        Address([0, 1u64.to_be()])
    } else if address == Address::v4(0) {
        Address::v4(0x7f00_0001u32.to_be())
    } else {
        address
    }
}

/// Address and port of a `struct sockaddr` of the internet families; `None` for what is decided
/// elsewhere (unix sockets) or undoes a connection.
#[inline(always)]
fn read_address(
    sock: *const c_void,
    address: u64,
    len: i32,
    operation: Operation,
) -> Option<(Address, u16)> {
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null() || len < 2 {
        return None;
    }
    let of_socket: u16 = member!(sk, sock_family);
    if of_socket != AF_INET && of_socket != AF_INET6 {
        return None;
    }
    let head = kernel::word(address);
    let family = head as u16;
    // `sin_port` and `sin6_port` are the second two bytes, `sin_addr` the second four.
    let port = ((head >> 16) as u16).to_be();
    let v4 = Address::v4((head >> 32) as u32);
    match family {
        AF_INET => Some((v4, port)),
        AF_INET6 => {
            let address = address + IN6_ADDRESS;
            Some((Address([kernel::word(address), kernel::word(address + 8)]), port))
        }
        // An IPv4 socket takes a message or a name without a family for IPv4 (`udp_sendmsg`,
        // net/ipv4/udp.c; `__inet_bind`, net/ipv4/af_inet.c). Elsewhere it undoes a connection.
        AF_UNSPEC if of_socket == AF_INET && operation as u8 != Operation::NetConnect as u8 => {
            Some((v4, port))
        }
        _ => None,
    }
}
