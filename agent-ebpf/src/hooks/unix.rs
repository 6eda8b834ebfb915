//! Unix sockets: decided by the path that the peer is bound to. A session may connect its own sockets with each
//! other.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    event::{OBJECT_ABSTRACT, Operation},
    id::Tag,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check, control_socket, emit,
    kernel::{self, Place, peek},
    member, offset,
    request::{Act, FileRequest},
    socket_owner::{self, ROLE_UNIX_PEER},
    standing, subject,
    verdict::EACCES,
};

/// Bytes of a `struct sockaddr_un` before its path.
const UNIX_HEAD: u64 = 2;

/// `int unix_stream_connect(struct sock *sock, struct sock *other, struct sock *newsk)`: stream and seqpacket
/// sockets, once the peer was found.
#[lsm(hook = "unix_stream_connect")]
pub(crate) fn unix_stream_connect(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let (sk, other): (*const c_void, *const c_void) = (context.arg(0), context.arg(1));
    let verdict = reach(tag, sk, ptr::null(), other);
    if verdict != 0 {
        return verdict;
    }
    if socket_owner::of(other).is_none_or(|owner| owner.tag.session != tag.session) {
        socket_owner::add_role(sk, tag, ROLE_UNIX_PEER);
    }
    control_socket::record_connector(tag, other, context.arg(2))
}

/// `int unix_may_send(struct socket *sock, struct socket *other)`: datagrams, of connected sockets and with an
/// address.
#[lsm(hook = "unix_may_send")]
pub(crate) fn unix_may_send(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let sock: *const c_void = context.arg(0);
    let sk: *const c_void = member!(sock, socket_sk);
    let other: *const c_void = member!(context.arg::<*const c_void>(1), socket_sk);
    if sk.is_null() || other.is_null() {
        return 0;
    }
    reach(tag, sk, kernel::socket_inode(sock), other)
}

/// Decides whether the session may talk to the other socket.
#[inline(always)]
fn reach(tag: &Tag, sk: *const c_void, inode: *const c_void, other: *const c_void) -> i32 {
    if socket_owner::of(other).is_some_and(|owner| owner.tag.session == tag.session) {
        return check::act_without_tool(tag, sk, inode, Operation::UnixConnect);
    }
    let address = other as u64;
    let place = Place::peek(address + offset!(unix_path));
    if place.dentry != 0 {
        let rights = Rights::of(Right::Connect);
        return check::name(
            tag,
            &FileRequest::new(Operation::UnixConnect, place, rights),
            ptr::null(),
        );
    }
    let name: u64 = peek(address + offset!(unix_addr));
    if name == 0 {
        // A socket without a name can be reached only by its other end: that of a pair, or of a connection that was
        // decided.
        return check::act_without_tool(tag, sk, inode, Operation::UnixConnect);
    }
    let len = peek::<u32>(name + offset!(unix_address_len));
    let at = name + offset!(unix_address_name) + UNIX_HEAD + 1;
    let act = Act { operation: Operation::UnixConnect, object: OBJECT_ABSTRACT, arguments: [0; 3] };
    emit::report_abstract_socket(tag, &act, at, u64::from(len).saturating_sub(UNIX_HEAD + 1));
    if standing::is_audited(tag) { 0 } else { EACCES }
}
