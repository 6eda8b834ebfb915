//! Whether sockets that are open already may still be used, wherever they come from.

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

/// Decides about a descriptor of a socket.
#[inline(never)]
pub(crate) fn use_of_descriptor(file: *const c_void, mask: u32) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let sock = kernel::socket_of(file);
    if sock.is_null() {
        return 0;
    }
    // Before 6.5 a splice sends without `socket_sendmsg`.
    if mask & MAY_WRITE != 0 {
        let foreign = refuse_foreign_control(tag, sock);
        if foreign != 0 {
            return foreign;
        }
    }
    use_of_socket(tag, sock)
}

/// Decides whether the running task may use a socket. Not inlined, as opening a file.
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

/// Decides what is done with a socket and takes no tool: it takes a session that may do something at all, or a socket
/// that the session was given, if its inode is known.
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

/// What is done with a socket, for what names no endpoint.
#[inline(always)]
pub(crate) fn act_on_socket(sk: *const c_void, operation: Operation) -> Act {
    let (kind, protocol) = (member!(u16, sk, sock_kind), member!(u16, sk, sock_protocol));
    let arguments = [member!(u16, sk, sock_family), kind, protocol].map(u32::from);
    Act { operation, object: OBJECT_SOCKET, arguments }
}

/// Decides whether a socket may be used. (A path's decision needs the frames that [`find_refusal`] takes.)
#[inline(always)]
pub(crate) fn use_of_socket(tag: &Tag, sock: *const c_void) -> i32 {
    verdict_on_use(tag, sock, find_refusal(tag, sock))
}

/// The verdict on what [`find_refusal`] found.
#[inline(always)]
pub(crate) fn verdict_on_use(tag: &Tag, sock: *const c_void, found: u64) -> i32 {
    match found {
        BY_PATH => unix_peer(tag, sock),
        0 => 0,
        end => report(tag, sock, end),
    }
}

/// What [`find_refusal`] returns instead of zero: the path of the unix socket at the other end decides.
const BY_PATH: u64 = 1;
/// The local end is refused.
const LOCAL: u64 = 2;
/// The remote end is refused.
const REMOTE: u64 = 3;
/// The socket is of a kind that no session may have.
const KIND: u64 = 4;
/// The session may do nothing at all.
const STANDING: u64 = 5;
/// The end is refused that datagrams go to which wait for the rest of them.
const PENDING: u64 = 6;
/// The local end is refused of a datagram socket that has sent nothing yet.
pub(crate) const UNSENT: u64 = 7;

/// Decides by what a socket was made and connected for, if the session made it, else by where it leads.
#[inline(never)]
pub(crate) fn find_refusal(tag: &Tag, sock: *const c_void) -> u64 {
    let sk: *const c_void = member!(sock, socket_sk);
    let inode = socket_inode(sock);
    if sk.is_null() || inode.is_null() {
        return 0;
    }
    let owner = match socket_owner::of(sk) {
        Some(owner) if owner.tag.session == tag.session => owner,
        _ => return foreign_socket(tag, sk, inode),
    };
    // Read before it is decided: what changes meanwhile makes it another.
    let stamp = standing::stamp(tag);
    if stamp != 0 && owner.stamp_now() == stamp {
        return 0;
    }
    let roles = owner.roles_now();
    if roles & ROLE_LISTENS != 0 && !may_listen(tag, sk) {
        return LOCAL;
    }
    if roles & ROLE_CONNECTS != 0 && !may_reach(tag, sk) {
        return REMOTE;
    }
    if is_datagrams(sk) && !may_send_pending(tag, sk) {
        return PENDING;
    }
    if roles & ROLE_UNIX_PEER != 0 {
        return BY_PATH;
    }
    if roles & ALL_ROLES == 0 {
        if !has_standing(tag) {
            return STANDING;
        }
        if is_datagrams(sk) {
            // It has no port yet, and hears nobody; when it has one it is another matter.
            if member!(u16, sk, sock_num) == 0 {
                return 0;
            }
            // Everybody can send to it, as to one that was bound to a port of the session's choice.
            if !may_listen(tag, sk) {
                return UNSENT;
            }
        }
    }
    owner.cache_usable(stamp, roles);
    0
}

/// Whether a connection is one that the session that made it lost. A socket that listens is none: it stays as it
/// is, accepts nothing, and is usable again with the tool. Neither is what is only refused for a while. For a program
/// that no hook runs.
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

/// Decides about a socket that the session did not make: it came from outside.
#[inline(always)]
fn foreign_socket(tag: &Tag, sk: *const c_void, inode: *const c_void) -> u64 {
    if given::was_given(tag, inode) {
        return 0;
    }
    let family: u16 = member!(sk, sock_family);
    if !may_have_kind(family, member!(sk, sock_kind), u32::from(member!(u16, sk, sock_protocol))) {
        return KIND;
    }
    if !has_standing(tag) {
        return STANDING;
    }
    if family == AF_UNIX {
        // With an address of its own it is the end of who was connected to.
        let named: u64 = peek(sk as u64 + offset!(unix_addr));
        return if named == 0 { BY_PATH } else { 0 };
    }
    if !is_internet(sk) {
        return 0;
    }
    if is_datagrams(sk) && !may_send_pending(tag, sk) {
        return PENDING;
    }
    let is_connected = member!(u16, sk, sock_dport) != 0;
    let is_bound = member!(u16, sk, sock_num) != 0;
    // Which end of a connection it is can't be told: one of them has to be allowed.
    if (is_bound && may_listen(tag, sk)) || (is_connected && may_reach(tag, sk)) {
        return 0;
    }
    match (is_connected, is_bound) {
        (true, _) => REMOTE,
        (false, true) => LOCAL,
        (false, false) => 0,
    }
}

/// Whether the session may use the local end. Who may listen on all addresses may on each.
#[inline(never)]
fn may_listen(tag: &Tag, sk: *const c_void) -> bool {
    listens(tag, sk, is_usable)
}

/// As [`may_listen`], by who decides.
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

/// Decides about what waits in a datagram socket before the rest of it is added: to where the first part was sent it
/// goes, whatever address the rest has.
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

/// Reports a refusal, of what [`find_refusal`] found, and gives the verdict.
#[inline(never)]
fn report(tag: &Tag, sock: *const c_void, end: u64) -> i32 {
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null() {
        return EACCES;
    }
    // That it was connected was reported.
    if is_audited(tag) {
        return 0;
    }
    if end == KIND {
        return refuse(tag, &act_on_socket(sk, Operation::NetUse), Reason::NoTool, EACCES);
    }
    if end == STANDING {
        return refuse_without_standing(tag, &act_on_socket(sk, Operation::NetUse), EACCES);
    }
    let reached = match end {
        LOCAL | UNSENT => local_end(sk),
        PENDING => match pending_end(sk) {
            Some(end) => end,
            // It was sent meanwhile: to be tried again.
            None => return EACCES,
        },
        _ => remote_end(sk),
    };
    endpoint(tag, &reached)
}

/// Decides about the path of the unix socket at the other end, if it has one.
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
/// Decides about a connection to the control socket that the session did not make.
#[inline(never)]
pub(crate) fn foreign_control_of_current(sock: *const c_void) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    refuse_foreign_control(tag, sock)
}

/// The only netlink protocol that a libc needs: name look-up and interface listing.
const NETLINK_ROUTE: u32 = 0;
/// Whether a session may have such a socket at all; where it leads is decided when it is used.
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

/// Refuses to send over a connection to the control socket that the session did not make, in a session that is only
/// audited too: what is sent there is an act of control. Inlined: see [`crate::shared!`].
#[inline(always)]
pub(crate) fn refuse_foreign_control(tag: &Tag, sock: *const c_void) -> i32 {
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null()
        || member!(u16, sk, sock_family) != AF_UNIX
        || !control_socket::is_foreign(tag, sk)
    {
        return 0;
    }
    let (kind, protocol) = (member!(u16, sk, sock_kind), member!(u16, sk, sock_protocol));
    let arguments = [AF_UNIX, kind, protocol].map(u32::from);
    let act = Act { operation: Operation::NetUse, object: OBJECT_SOCKET, arguments };
    refuse(tag, &act, Reason::Guard, EACCES);
    EACCES
}
