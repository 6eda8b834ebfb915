//! The daemon's control socket. The session that makes a connection to it is recorded on the connection itself: when the
//! daemon asks, the process may be gone; the connection is not.

use core::ffi::c_void;

use agent_common::id::Tag;

use crate::{
    kernel::{AF_UNIX, Place, peek},
    map_access::value_mut,
    maps::{CONNECTORS, CONTROL_SOCKET},
    member, offset, socket_owner,
};

/// What connecting to the control socket returns if the session can't be recorded (`ENOMEM`).
const ENOMEM: i32 = -12;

/// The dentry of the control socket; zero while it is unknown.
#[inline(always)]
fn known_dentry() -> u64 {
    CONTROL_SOCKET.get(0).copied().unwrap_or(0)
}

/// Remembers the control socket: the one at this address, which is bound. The daemon sees to it before it listens.
#[inline(always)]
pub(crate) fn remember(sk: *const c_void) {
    if member!(u16, sk, sock_family) == AF_UNIX
        && let Some(dentry) = value_mut(&CONTROL_SOCKET, 0)
    {
        *dentry = Place::peek(sk as u64 + offset!(unix_path)).dentry;
    }
}

/// Records the session that makes a connection, on the accepted socket, if the connection leads to the control socket.
/// While the control socket is unknown, every connection may lead to it.
#[inline(always)]
pub(crate) fn record_connector(tag: &Tag, listener: *const c_void, accepted: *const c_void) -> i32 {
    let known = known_dentry();
    if known != 0 && Place::peek(listener as u64 + offset!(unix_path)).dentry != known {
        return 0;
    }
    let mut copy = *tag;
    if CONNECTORS.create(accepted, &mut copy) { 0 } else { ENOMEM }
}

/// Whether a socket is a connection to the control socket that the session did not make: whoever made it, outside, has
/// other authority there.
#[inline(always)]
pub(crate) fn is_foreign(tag: &Tag, sk: *const c_void) -> bool {
    if socket_owner::of(sk).is_some_and(|owner| owner.tag.session == tag.session) {
        return false;
    }
    let peer: u64 = peek(sk as u64 + offset!(unix_peer));
    let known = known_dentry();
    peer != 0 && known != 0 && Place::peek(peer + offset!(unix_path)).dentry == known
}
