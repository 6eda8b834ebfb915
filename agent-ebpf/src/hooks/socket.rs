//! Making, connecting and binding sockets, and sending.

use core::ffi::c_void;

use agent_common::{
    access::{Right, Rights},
    decision::Reason,
    event::{OBJECT_SOCKET, Operation},
    id::Tag,
    rule::{FLOW_TCP_CONNECT, FLOW_TCP_LISTEN, FLOW_UDP_CONNECT, FLOW_UDP_LISTEN},
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check,
    kernel::{
        self, AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, AF_UNSPEC, IPPROTO_TCP, IPPROTO_UDP,
        SOCK_DGRAM, SOCK_STREAM,
    },
    member,
    request::{Act, Address, Endpoint},
    socket_ends, socket_owner, subject,
    verdict::EACCES,
};

/// The low bits of a socket's type; the others are flags (`SOCK_TYPE_MASK`, include/linux/net.h).
const SOCK_TYPE: u32 = 0xf;
/// Offset of the address in a `struct sockaddr_in6` (include/uapi/linux/in6.h).
const IN6_ADDRESS: u64 = 8;
/// Lengths of the shortest addresses that the kernel takes: `struct sockaddr_in`, and `SIN6_LEN_RFC2133`
/// (include/uapi/linux/in.h, include/net/ipv6.h).
const IN_LEN: i32 = 16;
const IN6_LEN: i32 = 24;

/// `int socket_create(int family, int type, int protocol, int kern)`.
#[lsm(hook = "socket_create")]
pub(crate) fn socket_create(context: LsmContext) -> i32 {
    if context.arg::<i32>(3) != 0 {
        return 0;
    }
    let Some(tag) = &subject::current() else { return 0 };
    let family: u32 = context.arg(0);
    let kind = context.arg::<u32>(1) & SOCK_TYPE;
    let protocol: u32 = context.arg(2);
    let arguments = [family, kind, protocol];
    let act = Act { operation: Operation::NetSocket, object: OBJECT_SOCKET, arguments };
    let verdict = check::refuse_without_standing(tag, &act, EACCES);
    if verdict != 0 {
        return verdict;
    }
    if check::may_have_kind(family as u16, kind as u16, protocol) {
        return 0;
    }
    check::refuse(tag, &act, Reason::Guard, EACCES)
}

/// `int socket_post_create(struct socket *sock, int family, int type, int protocol, int kern)`: records the session
/// that makes a socket.
#[lsm(hook = "socket_post_create")]
pub(crate) fn socket_post_create(context: LsmContext) -> i32 {
    if context.arg::<i32>(4) != 0 {
        return 0;
    }
    let Some(tag) = &subject::current() else { return 0 };
    let sock: *const c_void = member!(context.arg::<*const c_void>(0), socket_sk);
    if sock.is_null() {
        return 0;
    }
    socket_owner::record(sock, tag);
    0
}

/// `int socket_connect(struct socket *sock, struct sockaddr *address, int addrlen)`.
#[lsm(hook = "socket_connect")]
pub(crate) fn socket_connect(context: LsmContext) -> i32 {
    if subject::is_surely_untagged() {
        return 0;
    }
    connect(context.arg(0), context.arg::<*const c_void>(1) as u64, context.arg(2))
}

/// Decides a connect. Not inlined: an untagged task should not pay for the registers that this needs.
#[inline(never)]
fn connect(sock: *const c_void, address: u64, len: i32) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    reach(tag, sock, Name { address, len, has_control: false }, Operation::NetConnect)
}

/// `int socket_sendmsg(struct socket *sock, struct msghdr *msg, int size)`: the end that the socket is connected to,
/// and an address that comes with the message, also of a TCP fast open. (A connected stream ignores such an
/// address.)
#[lsm(hook = "socket_sendmsg")]
pub(crate) fn socket_sendmsg(context: LsmContext) -> i32 {
    if subject::is_surely_untagged() { 0 } else { send(context.arg(0), context.arg(1)) }
}

/// Decides a message. Each part is a function of its own, since 6.1 has 512 bytes of stack for the frames of all
/// calls together.
#[inline(always)]
fn send(sock: *const c_void, message: *const c_void) -> i32 {
    let mut verdict = check::refuse_foreign_control_of_current(sock);
    if verdict == 0 && member!(u64, message, msghdr_control) != 0 {
        verdict = control_data(message);
    }
    let name_use = use_of_name(sock, message);
    if verdict == 0 && (name_use == NameUse::None || name_use == NameUse::Stream) {
        verdict = check::use_by_current(sock);
    }
    if verdict == 0 && name_use == NameUse::Datagram {
        verdict = check::pending_of_current(sock);
    }
    if verdict != 0 || name_use == NameUse::None || name_use == NameUse::Elsewhere {
        return verdict;
    }
    named(sock, message)
}

/// Decides the control data of a message.
#[inline(never)]
fn control_data(message: *const c_void) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    let routing_option = check::routing_option(message);
    if routing_option == 0 { 0 } else { check::refuse_routing_option(tag, routing_option) }
}

/// Decides the address that comes with a message.
#[inline(never)]
fn named(sock: *const c_void, message: *const c_void) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    let name = Name {
        address: member!(message, msghdr_name),
        len: member!(message, msghdr_namelen),
        has_control: member!(u64, message, msghdr_control) != 0,
    };
    reach(tag, sock, name, Operation::NetSend)
}

/// What the kernel does with an address that comes with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NameUse {
    /// Nothing: the message goes to where the socket is connected.
    None,
    /// It sends the message there, which `unix_may_send` decides.
    Elsewhere,
    /// It sends the message there, unless the message is the rest of one that waits.
    Datagram,
    /// If the stream is not connected yet, it connects it to there, if the message asks for that.
    Stream,
}

/// What the kernel does with the address of a message. Where that is uncertain: nothing.
#[inline(always)]
fn use_of_name(sock: *const c_void, message: *const c_void) -> NameUse {
    let address: u64 = member!(message, msghdr_name);
    let len: i32 = member!(message, msghdr_namelen);
    if address == 0 {
        return NameUse::None;
    }
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null() {
        return NameUse::None;
    }
    let (family, kind): (u16, u16) = (member!(sk, sock_family), member!(sk, sock_kind));
    // The address's family. One that is shorter than two bytes has none.
    let named = if len < 2 { AF_UNSPEC } else { kernel::read_word(address) as u16 };
    match (family, kind) {
        (AF_UNIX, SOCK_DGRAM) if len > 0 => NameUse::Elsewhere,
        (AF_INET, SOCK_DGRAM) => NameUse::Datagram,
        // Without a family, it means the connected peer (`udpv6_sendmsg`, net/ipv6/udp.c).
        (AF_INET6, SOCK_DGRAM) if named != AF_UNSPEC => NameUse::Datagram,
        // A connection to no family does nothing (`tcp_sendmsg_fastopen`, net/ipv4/tcp.c).
        (AF_INET | AF_INET6, SOCK_STREAM) if named != AF_UNSPEC => NameUse::Stream,
        _ => NameUse::None,
    }
}

/// `int socket_bind(struct socket *sock, struct sockaddr *address, int addrlen)`. With port zero the kernel chooses
/// a port, as for every socket that is not bound.
#[lsm(hook = "socket_bind")]
pub(crate) fn socket_bind(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let sock: *const c_void = context.arg(0);
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null() {
        return 0;
    }
    let address = context.arg::<*const c_void>(1) as u64;
    let name = Name { address, len: context.arg(2), has_control: false };
    match read_address(sk, &name, Operation::NetBind) {
        Read::Endpoint(address, port) if port != 0 => {
            listen(tag, sock, address, port, Operation::NetBind)
        }
        Read::Unreadable => unreadable(tag, sk, &name, Operation::NetBind),
        _ => check::act_without_tool(tag, sk, kernel::socket_inode(sock), Operation::NetBind),
    }
}

/// `int socket_listen(struct socket *sock, int backlog)`.
#[lsm(hook = "socket_listen")]
pub(crate) fn socket_listen(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let sock: *const c_void = context.arg(0);
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null() {
        return 0;
    }
    match member!(u16, sk, sock_family) {
        AF_INET | AF_INET6 => {
            let port: u16 = member!(sk, sock_num);
            listen(tag, sock, socket_ends::local_address(sk), port, Operation::NetListen)
        }
        AF_UNIX | AF_NETLINK => {
            check::act_without_tool(tag, sk, kernel::socket_inode(sock), Operation::NetListen)
        }
        _ => check::refuse(
            tag,
            &check::act_on_socket(sk, Operation::NetListen),
            Reason::Guard,
            EACCES,
        ),
    }
}

/// Decides the remote end that an address names.
#[inline(always)]
fn reach(tag: &Tag, sock: *const c_void, name: Name, operation: Operation) -> i32 {
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null() {
        return 0;
    }
    let (address, port) = match read_address(sk, &name, operation) {
        Read::Nothing => return 0,
        Read::Endpoint(address, port) => (address, port),
        Read::Unreadable => return unreadable(tag, sk, &name, operation),
    };
    let Some(address) = socket_ends::reached(sk, address, name.has_control) else {
        return unreadable(tag, sk, &name, operation);
    };
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
        socket_owner::record_peer(member!(sock, socket_sk), tag, address, port);
    }
    verdict
}

/// Refuses an address of which the meaning can't be told.
#[inline(never)]
fn unreadable(tag: &Tag, sk: *const c_void, name: &Name, operation: Operation) -> i32 {
    let mut act = check::act_on_socket(sk, operation);
    if name.len >= 2 {
        act.arguments[0] = u32::from(kernel::read_word(name.address) as u16);
    }
    check::refuse(tag, &act, Reason::Unresolved, EACCES)
}

/// Decides a local end.
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
        socket_owner::record_listening(member!(sock, socket_sk), tag);
    }
    verdict
}

/// An address in the arguments of a call.
#[derive(Clone, Copy)]
struct Name {
    /// Where the kernel has its copy.
    address: u64,
    /// How many bytes of it there are.
    len: i32,
    /// Whether the message has control data, which may say more.
    has_control: bool,
}

/// What an address means.
enum Read {
    /// Nothing to decide here: it is decided elsewhere (unix sockets), names no other end, or ends a connection.
    Nothing,
    /// An address, and a port in native order.
    Endpoint(Address, u16),
    /// Its meaning can't be told.
    Unreadable,
}

/// Reads a `struct sockaddr` of the internet families.
#[inline(always)]
fn read_address(sk: *const c_void, name: &Name, operation: Operation) -> Read {
    let of_socket: u16 = member!(sk, sock_family);
    if of_socket == AF_UNIX || of_socket == AF_NETLINK {
        return Read::Nothing;
    }
    if (of_socket != AF_INET && of_socket != AF_INET6) || name.len < 2 {
        return Read::Unreadable;
    }
    let head = kernel::read_word(name.address);
    let family = head as u16;
    // `sin_port` and `sin6_port` are the second two bytes, `sin_addr` the second four.
    let port = ((head >> 16) as u16).to_be();
    let v4 = Address::v4((head >> 32) as u32);
    match family {
        AF_INET if name.len >= IN_LEN => Read::Endpoint(v4, port),
        AF_INET6 if name.len >= IN6_LEN => {
            let address = name.address + IN6_ADDRESS;
            Read::Endpoint(
                Address([kernel::read_word(address), kernel::read_word(address + 8)]),
                port,
            )
        }
        // For an IPv4 socket, an address without a family in a message or a bind is an IPv4 one (`udp_sendmsg`,
        // net/ipv4/udp.c; `__inet_bind`, net/ipv4/af_inet.c). Elsewhere it ends a connection.
        AF_UNSPEC if operation as u8 == Operation::NetConnect as u8 => Read::Nothing,
        AF_UNSPEC if of_socket == AF_INET && name.len >= IN_LEN => Read::Endpoint(v4, port),
        _ => Read::Unreadable,
    }
}
