//! The use of open sockets, wherever they come from. (Files: [`super::descriptor`].)
//!
//! Making and connecting sockets is decided in [`super::socket`]; here, whether they may still be used. The hooks on
//! the data path are attached only while some session may lose what it has open (`bpf/attachment` in the daemon).

use core::{ffi::c_void, ptr};

use agent_common::{
    access::{Right, Rights},
    event::Operation,
};
use aya_ebpf::{macros::lsm, programs::LsmContext};

use crate::{
    check::{self, Finding},
    given,
    kernel::{self, AF_UNIX, Place, socket_inode},
    member, offset,
    request::{FileRequest, Flags},
    standing, subject,
};

/// `SOL_TCP` and `TCP_ZEROCOPY_RECEIVE` (include/uapi/linux/tcp.h): an option that receives data.
const SOL_TCP: u32 = 6;
const TCP_ZEROCOPY_RECEIVE: u32 = 35;
/// `MSG_DONTWAIT` (include/linux/socket.h). The kernel sets it too if the descriptor does not block.
const MSG_DONTWAIT: u32 = 0x40;
/// What a receive returns that finds nothing (`EAGAIN`).
const EAGAIN: i32 = -11;

/// `int socket_recvmsg(struct socket *sock, struct msghdr *msg, int size, int flags)`.
#[lsm(hook = "socket_recvmsg")]
pub(crate) fn socket_recvmsg(context: LsmContext) -> i32 {
    if subject::is_surely_untagged() { 0 } else { received(context.arg(0), context.arg(3)) }
}

/// Decides a receive. Not inlined: an untagged task should not pay for the registers that this needs.
#[inline(never)]
fn received(sock: *const c_void, flags: u32) -> i32 {
    let Some(tag) = &subject::look_up() else { return 0 };
    let found = check::find_refusal(tag, sock);
    // Programs look for datagrams before they send any. As long as none came, that is the answer.
    if found == Finding::UNSENT
        && flags & MSG_DONTWAIT != 0
        && !standing::is_audited(tag)
        && is_quiet(sock)
    {
        return EAGAIN;
    }
    check::verdict_on_use(tag, sock, found)
}

/// Whether no datagram waits. (The kernel moves them to a second queue when somebody asks for one.)
#[inline(always)]
fn is_quiet(sock: *const c_void) -> bool {
    let sk: *const c_void = member!(sock, socket_sk);
    !sk.is_null()
        && member!(u32, sk, sock_queued) == 0
        && kernel::read_word(sk as u64 + offset!(udp_queued)) as u32 == 0
}

/// `int socket_getsockopt(struct socket *sock, int level, int optname)`: one option receives data.
#[lsm(hook = "socket_getsockopt")]
pub(crate) fn socket_getsockopt(context: LsmContext) -> i32 {
    if context.arg::<u32>(1) != SOL_TCP || context.arg::<u32>(2) != TCP_ZEROCOPY_RECEIVE {
        return 0;
    }
    let Some(tag) = &subject::current() else { return 0 };
    check::use_of_socket(tag, context.arg(0))
}

/// `int socket_accept(struct socket *sock, struct socket *newsock)`.
#[lsm(hook = "socket_accept")]
pub(crate) fn socket_accept(context: LsmContext) -> i32 {
    let Some(tag) = &subject::current() else { return 0 };
    let sock: *const c_void = context.arg(0);
    let sk: *const c_void = member!(sock, socket_sk);
    if sk.is_null() {
        return 0;
    }
    if member!(u16, sk, sock_family) != AF_UNIX {
        return check::use_of_socket(tag, sock);
    }
    // To make the path of a unix socket took the right to create it.
    let place = Place::peek(sk as u64 + offset!(unix_path));
    let inode = socket_inode(sock);
    if place.dentry == 0 {
        return check::act_without_tool(tag, sk, inode, Operation::NetUse);
    }
    if inode.is_null() || given::was_given(tag, inode) {
        return 0;
    }
    let mut request = FileRequest::new(Operation::NetUse, place, Rights::of(Right::Create));
    request.flags = Flags::ON_DESCRIPTOR.with(Flags::MAY_BE_UNHASHED);
    check::name(tag, &request, ptr::null())
}
