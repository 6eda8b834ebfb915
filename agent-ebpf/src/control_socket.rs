//! The daemon's control socket. Who connects to it is written down on the connection itself, for the daemon to ask:
//! a process can be gone when it asks, the connection can't.

use core::ffi::c_void;

use agent_common::id::Tag;

use crate::{
    kernel::{AF_UNIX, Place, peek},
    maps::{CONNECTORS, CONTROL_SOCKET},
    member, offset, socket_owner,
};

/// What connecting to the control socket returns when it can't be written down who did (`ENOMEM`).
const ENOMEM: i32 = -12;

/// The dentry of the control socket; zero while the daemon has not told.
#[inline(always)]
fn known_dentry() -> u64 {
    CONTROL_SOCKET.get(0).copied().unwrap_or(0)
}

/// Remembers the control socket, which listens at a socket's address. The daemon has it told before it listens.
#[inline(always)]
pub(crate) fn remember(sk: *const c_void) {
    if member!(u16, sk, sock_family) == AF_UNIX
        && let Some(slot) = CONTROL_SOCKET.get_ptr_mut(0)
    {
        let place = Place::peek(sk as u64 + offset!(unix_path));
        // SAFETY: the map's value is valid.
        unsafe { slot.write(place.dentry) };
    }
}

/// Writes down on a new connection which session makes it, if it is one to the control socket. Where that is not
/// known, every connection may be.
#[inline(always)]
pub(crate) fn note_connector(tag: &Tag, listener: *const c_void, accepted: *const c_void) -> i32 {
    let known = known_dentry();
    if known != 0 && Place::peek(listener as u64 + offset!(unix_path)).dentry != known {
        return 0;
    }
    let mut copy = *tag;
    let noted = CONNECTORS.get_or_create(accepted, &mut copy);
    if noted.is_null() { ENOMEM } else { 0 }
}

/// Whether a socket is a connection to the control socket that the session did not make: it came from outside, with
/// the authority of who made it.
#[inline(always)]
pub(crate) fn is_foreign(tag: &Tag, sk: *const c_void) -> bool {
    if socket_owner::of(sk).is_some_and(|owner| owner.tag.session == tag.session) {
        return false;
    }
    let peer: u64 = peek(sk as u64 + offset!(unix_peer));
    let known = known_dentry();
    peer != 0 && known != 0 && Place::peek(peer + offset!(unix_path)).dentry == known
}
