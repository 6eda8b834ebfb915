//! Whether open sockets may still be used, wherever they come from.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    decision::Reason,
    event::{OBJECT_SOCKET, Operation},
    id::Tag,
};

use super::{
    act::{refuse, refuse_without_standing},
    endpoint::{endpoint, is_usable, is_usable_alone},
    file::name,
};
use crate::{
    control_socket, given,
    kernel::{
        self, AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, IPPROTO_MPTCP, IPPROTO_TCP, IPPROTO_UDP,
        MAY_WRITE, Place, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM, is_datagrams,
        is_internet, peek, socket_inode,
    },
    member, offset,
    request::{Act, Address, Endpoint, FileRequest, Flags},
    socket_ends::{local_end, pending_end, remote_end},
    socket_owner::{self, ALL_ROLES, ROLE_CONNECTS, ROLE_LISTENS, ROLE_UNIX_PEER},
    standing::{self, has_standing, is_audited, is_quarantined},
    subject,
    verdict::EACCES,
};

/// The only netlink protocol that a libc needs: it looks up names and lists interfaces.
const NETLINK_ROUTE: u32 = 0;

/// Decides the use of a socket by a descriptor of it.
#[inline(never)]
pub(crate) fn use_of_descriptor(file: *const c_void, mask: u32) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let sock = kernel::socket_of(file);
    if sock.is_null() {
        return 0;
    }
    // Before 6.5 a splice sends without `socket_sendmsg`.
    if mask & MAY_WRITE != 0 {
        let verdict = refuse_foreign_control(tag, sock);
        if verdict != 0 {
            return verdict;
        }
    }
    use_of_socket(tag, sock)
}

/// Decides the use of a socket by the running task. Not inlined, so that an untagged task does not pay for its registers.
#[inline(never)]
pub(crate) fn use_by_current(sock: *const c_void) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    use_of_socket(tag, sock)
}

/// As [`pending`], for the running task.
#[inline(never)]
pub(crate) fn pending_of_current(sock: *const c_void) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null() {
        return 0;
    }
    pending(tag, sk)
}

/// Decides an act on a socket that needs no tool: the session must have standing, or have been given the socket at its
/// start, if its inode is known.
#[inline(never)]
pub(crate) fn act_without_tool(
    tag: &Tag,
    sk: *const c_void,
    inode: *const c_void,
    operation: Operation,
) -> i32 {
    if has_standing(tag) || (!inode.is_null() && given::was_given(tag, inode)) {
        return 0;
    }
    refuse_without_standing(tag, &act_on_socket(sk, operation), EACCES)
}

/// An act on a socket, for a report that names no endpoint.
#[inline(always)]
pub(crate) fn act_on_socket(sk: *const c_void, operation: Operation) -> Act {
    let (kind, protocol) = (member!(u16, sk, sock_kind), member!(u16, sk, sock_protocol));
    act_on_kind(member!(u16, sk, sock_family), kind, protocol, operation)
}

/// An act on a socket of a family, kind and protocol.
#[inline(always)]
fn act_on_kind(family: u16, kind: u16, protocol: u16, operation: Operation) -> Act {
    Act { operation, object: OBJECT_SOCKET, arguments: [family, kind, protocol].map(u32::from) }
}

/// Decides the use of a socket. (A decision by path needs the stack that [`find_refusal`] takes: so one comes after the
/// other.)
#[inline(always)]
pub(crate) fn use_of_socket(tag: &Tag, sock: *const c_void) -> i32 {
    verdict_on_use(tag, sock, find_refusal(tag, sock))
}

/// The verdict on what [`find_refusal`] found.
#[inline(always)]
pub(crate) fn verdict_on_use(tag: &Tag, sock: *const c_void, found: Finding) -> i32 {
    match found {
        Finding::PEER_PATH => unix_peer(tag, sock),
        Finding::ALLOWED => 0,
        refused => report(tag, sock, refused),
    }
}

/// Whether a socket may be used, or what of it is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Finding(u64);

impl Finding {
    /// The use is allowed.
    const ALLOWED: Self = Self(0);
    /// The path of the unix socket at the other end decides.
    const PEER_PATH: Self = Self(1);
    /// The local end is refused.
    const LOCAL_END: Self = Self(2);
    /// The remote end is refused.
    const REMOTE_END: Self = Self(3);
    /// No session may have a socket of this kind.
    const KIND: Self = Self(4);
    /// The session may do nothing at all.
    const NO_STANDING: Self = Self(5);
    /// A part of a datagram waits in the socket, and the end that it goes to is refused.
    const PENDING_END: Self = Self(6);
    /// The local end of a datagram socket is refused that has sent nothing yet.
    pub(crate) const UNSENT: Self = Self(7);
}

/// Decides by what a socket was made and connected for, if the session made it, else by where it leads.
#[inline(never)]
pub(crate) fn find_refusal(tag: &Tag, sock: *const c_void) -> Finding {
    let sk: *const c_void = member!(sock, socket_sk);
    let inode = socket_inode(sock);
    if sk.is_null() || inode.is_null() {
        return Finding::ALLOWED;
    }
    let owner = match socket_owner::of(sk) {
        Some(owner) if owner.tag.session == tag.session => owner,
        _ => return find_refusal_of_foreign(tag, sk, inode),
    };
    // Read before the decision: whatever changes meanwhile changes the stamp.
    let stamp = standing::stamp(tag);
    if stamp != 0 && owner.stamp_now() == stamp {
        return Finding::ALLOWED;
    }
    let roles = owner.roles_now();
    if roles & ROLE_LISTENS != 0 && !may_listen(tag, sk) {
        return Finding::LOCAL_END;
    }
    if roles & ROLE_CONNECTS != 0 && !may_reach(tag, sk) {
        return Finding::REMOTE_END;
    }
    if is_datagrams(sk) && !may_send_pending(tag, sk) {
        return Finding::PENDING_END;
    }
    if roles & ROLE_UNIX_PEER != 0 {
        return Finding::PEER_PATH;
    }
    if roles & ALL_ROLES == 0 {
        if !has_standing(tag) {
            return Finding::NO_STANDING;
        }
        if is_datagrams(sk) {
            // Without a port it can't receive. When it gets one, it is checked again.
            if member!(u16, sk, sock_num) == 0 {
                return Finding::ALLOWED;
            }
            // Everybody can send to the port, as to one that the session chose.
            if !may_listen(tag, sk) {
                return Finding::UNSENT;
            }
        }
    }
    owner.store_usable(stamp, roles);
    Finding::ALLOWED
}

/// Whether the session that made a connection may not use it any more, so that it is reset. Not for a listening socket: it
/// accepts nothing meanwhile, and is usable again with the tool. Nor for what is refused only for a while. For an
/// iterator, not for hooks.
#[inline(always)]
pub(crate) fn is_lost(sk: *const c_void) -> bool {
    let Some(owner) = socket_owner::of(sk) else { return false };
    let (roles, tag): (u32, &Tag) = (owner.roles_now(), &owner.tag);
    if member!(u16, sk, sock_dport) == 0 || is_audited(tag) || is_quarantined(tag) {
        return false;
    }
    let is_lost = (roles & ROLE_LISTENS != 0 && !listens(tag, sk, is_usable_alone))
        || (roles & ROLE_CONNECTS != 0 && !is_usable_alone(tag, &remote_end(sk)));
    if is_lost {
        owner.local_port = member!(sk, sock_num);
    }
    is_lost
}

/// Decides the use of a socket that the session did not make: it came from outside.
#[inline(always)]
fn find_refusal_of_foreign(tag: &Tag, sk: *const c_void, inode: *const c_void) -> Finding {
    if given::was_given(tag, inode) {
        return Finding::ALLOWED;
    }
    let family: u16 = member!(sk, sock_family);
    if !may_have_kind(family, member!(sk, sock_kind), u32::from(member!(u16, sk, sock_protocol))) {
        return Finding::KIND;
    }
    if !has_standing(tag) {
        return Finding::NO_STANDING;
    }
    if family == AF_UNIX {
        // A socket with an address of its own is the end that was connected to.
        let named: u64 = peek(sk as u64 + offset!(unix_addr));
        return if named == 0 { Finding::PEER_PATH } else { Finding::ALLOWED };
    }
    if !is_internet(sk) {
        return Finding::ALLOWED;
    }
    if is_datagrams(sk) && !may_send_pending(tag, sk) {
        return Finding::PENDING_END;
    }
    let is_connected = member!(u16, sk, sock_dport) != 0;
    let is_bound = member!(u16, sk, sock_num) != 0;
    // It may be either end of a connection: one end has to be allowed.
    if (is_bound && may_listen(tag, sk)) || (is_connected && may_reach(tag, sk)) {
        return Finding::ALLOWED;
    }
    match (is_connected, is_bound) {
        (true, _) => Finding::REMOTE_END,
        (false, true) => Finding::LOCAL_END,
        (false, false) => Finding::ALLOWED,
    }
}

/// Whether the session may use the local end. Whoever may listen on all addresses may listen on each.
#[inline(never)]
fn may_listen(tag: &Tag, sk: *const c_void) -> bool {
    listens(tag, sk, is_usable)
}

/// As [`may_listen`], by `is_usable`.
#[inline(always)]
fn listens(tag: &Tag, sk: *const c_void, is_usable: impl Fn(&Tag, &Endpoint) -> bool) -> bool {
    let any =
        if member!(u16, sk, sock_family) == AF_INET { Address::v4(0) } else { Address([0; 2]) };
    let mut endpoint = local_end(sk);
    if is_usable(tag, &endpoint) {
        return true;
    }
    endpoint.address = any;
    is_usable(tag, &endpoint)
}

/// Whether the session may use the remote end.
#[inline(never)]
fn may_reach(tag: &Tag, sk: *const c_void) -> bool {
    is_usable(tag, &remote_end(sk))
}

/// Whether the session may send what waits in a datagram socket, if anything does.
#[inline(never)]
fn may_send_pending(tag: &Tag, sk: *const c_void) -> bool {
    pending_end(sk).is_none_or(|end| is_usable(tag, &end))
}

/// Decides what waits in a datagram socket before the rest of it is added: it goes to where the first part was sent,
/// whatever address comes with the rest.
#[inline(always)]
fn pending(tag: &Tag, sk: *const c_void) -> i32 {
    match pending_end(sk) {
        Some(end) => endpoint(tag, &end),
        None => 0,
    }
}

/// Decides whether what waits in a datagram socket may be sent, if anything does.
#[inline(always)]
pub(crate) fn send_pending(tag: &Tag, sock: *const c_void) -> i32 {
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null() || !is_datagrams(sk) {
        return 0;
    }
    let verdict = act_without_tool(tag, sk, socket_inode(sock), Operation::NetUse);
    if verdict != 0 { verdict } else { pending(tag, sk) }
}

/// Reports a refusal that [`find_refusal`] found, and returns the verdict.
#[inline(never)]
fn report(tag: &Tag, sock: *const c_void, refused: Finding) -> i32 {
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null() {
        return EACCES;
    }
    // The connection was reported when it was made.
    if is_audited(tag) {
        return 0;
    }
    if refused == Finding::KIND {
        return refuse(tag, &act_on_socket(sk, Operation::NetUse), Reason::Guard, EACCES);
    }
    if refused == Finding::NO_STANDING {
        return refuse_without_standing(tag, &act_on_socket(sk, Operation::NetUse), EACCES);
    }
    let end = match refused {
        Finding::LOCAL_END | Finding::UNSENT => local_end(sk),
        Finding::PENDING_END => match pending_end(sk) {
            Some(end) => end,
            // It was sent meanwhile. The caller can try again.
            None => return EACCES,
        },
        _ => remote_end(sk),
    };
    endpoint(tag, &end)
}

/// Decides by the path of the unix socket at the other end, if it has one.
#[inline(always)]
fn unix_peer(tag: &Tag, sock: *const c_void) -> i32 {
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null() {
        return 0;
    }
    let other: u64 = peek(sk as u64 + offset!(unix_peer));
    let place = if other == 0 { Place::at(0, 0) } else { Place::peek(other + offset!(unix_path)) };
    if place.dentry == 0 {
        return act_without_tool(tag, sk, ptr::null(), Operation::NetUse);
    }
    let mut request = FileRequest::new(Operation::NetUse, place, Rights::of(Right::Connect));
    request.flags = Flags::ON_DESCRIPTOR.with(Flags::MAY_BE_UNHASHED);
    name(tag, &request, ptr::null())
}

/// Whether a session may have a socket of this kind at all. Where it leads is decided when it is used.
#[inline(always)]
pub(crate) fn may_have_kind(family: u16, kind: u16, protocol: u32) -> bool {
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

/// As [`refuse_foreign_control`], for the running task.
#[inline(never)]
pub(crate) fn refuse_foreign_control_of_current(sock: *const c_void) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    refuse_foreign_control(tag, sock)
}

/// Refuses to send over a connection to the control socket that the session did not make, in audit mode too: what is sent
/// there is an act of control. Inlined: see [`crate::shared!`].
#[inline(always)]
fn refuse_foreign_control(tag: &Tag, sock: *const c_void) -> i32 {
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null()
        || member!(u16, sk, sock_family) != AF_UNIX
        || !control_socket::is_foreign(tag, sk)
    {
        return 0;
    }
    let (kind, protocol) = (member!(u16, sk, sock_kind), member!(u16, sk, sock_protocol));
    let act = act_on_kind(AF_UNIX, kind, protocol, Operation::NetUse);
    refuse(tag, &act, Reason::Guard, EACCES);
    EACCES
}
