//! Which session made a socket, and the socket's roles: what the session uses it for.
//!
//! Making a socket's own storage takes as long as deciding some five connections. So the owner of a new socket lies in
//! an array, at a place that follows from the socket's cookie: a number that the kernel gives a socket once, and never to
//! another. Only if a living socket has that place already is storage made.

use core::ffi::c_void;

use agent_common::id::Tag;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;

use crate::{
    atomic, kernel,
    maps::{SOCKET_OWNERS, SOCKETS},
    member, offset,
    request::Address,
    values::{Owner, OwnerEntry},
    volatile,
};

/// [`Owner::roles`]: it was connected, or sent to an address.
pub(crate) const ROLE_CONNECTS: u32 = 1;
/// [`Owner::roles`]: it was bound to a port of the session's choice, or listens.
pub(crate) const ROLE_LISTENS: u32 = 2;
/// [`Owner::roles`]: it was connected to a unix socket that the session did not make.
pub(crate) const ROLE_UNIX_PEER: u32 = 4;
/// The bits of all roles in [`Owner::roles`]. The bits above count changes, so that a check of the socket notices a role
/// that comes meanwhile.
pub(crate) const ALL_ROLES: u32 = 7;
/// One change, in that count.
const CHANGE: u32 = ALL_ROLES + 1;

impl Owner {
    /// The owner of a new socket.
    #[inline(always)]
    pub(crate) fn new(tag: &Tag) -> Self {
        Self { tag: *tag, stamp: 0, peer: Address([0; 2]), port: 0, local_port: 0, roles: 0 }
    }

    /// The stamp as it is now, read before what it answers for.
    #[inline(always)]
    pub(crate) fn stamp_now(&self) -> u64 {
        volatile::read(&self.stamp)
    }

    /// The roles, and the count of their changes, as they are now.
    #[inline(always)]
    pub(crate) fn roles_now(&self) -> u32 {
        volatile::read(&self.roles)
    }

    /// Adds a role, after whatever changes with it, and has the socket checked anew.
    #[inline(always)]
    fn add_role(&mut self, role: u32) {
        atomic::or(&raw mut self.roles, role);
        atomic::add(&raw mut self.roles, CHANGE);
        self.forget_stamp();
    }

    /// Stores that the socket may be used in these roles, unless they changed meanwhile.
    #[inline(always)]
    pub(crate) fn store_usable(&mut self, stamp: u64, roles: u32) {
        let before = self.stamp_now();
        // A change of roles forgets the stamp afterwards: either that comes after this, or the change is seen here.
        atomic::replace(&raw mut self.stamp, before, stamp);
        if self.roles_now() != roles {
            self.forget_stamp();
        }
    }

    /// Forgets the stamp, after whatever was written before.
    #[inline(always)]
    fn forget_stamp(&mut self) {
        volatile::write(&mut self.stamp, 0);
    }
}

/// Cookie of an entry that is being written. No socket has it: cookies are counted up, from one.
const TAKEN: u64 = u64::MAX;

/// The owner of a socket, which is null or a pointer that the verifier has typed.
#[inline(always)]
pub(crate) fn of(sock: *const c_void) -> Option<&'static mut Owner> {
    if sock.is_null() {
        return None;
    }
    if let Some(entry) = entry_of(sock) {
        return Some(&mut entry.owner);
    }
    SOCKET_OWNERS.get(sock)
}

/// The array entry of a socket, if it has one: it is this socket's for as long as the socket lives.
#[inline(always)]
fn entry_of(sock: *const c_void) -> Option<&'static mut OwnerEntry> {
    let cookie: u64 = member!(sock, sock_cookie);
    let entry = SOCKETS.get_mut(cookie as u32);
    (cookie != 0 && volatile::read(&entry.cookie) == cookie).then_some(entry)
}

/// Records the session that makes a socket. When memory is short, the socket has no owner, and its own session treats it
/// as one from outside.
#[inline(always)]
pub(crate) fn record(sock: *const c_void, tag: &Tag) {
    // SAFETY: the socket is a pointer that the verifier has typed.
    let cookie = unsafe { bpf_get_socket_cookie(sock.cast_mut()) };
    let entry = SOCKETS.get_mut(cookie as u32);
    let before = volatile::read(&entry.cookie);
    let sock_before = volatile::read(&entry.sock);
    if cookie == 0
        || is_alive(sock_before, before)
        || !atomic::replace(&raw mut entry.cookie, before, TAKEN)
    {
        SOCKET_OWNERS.create(sock, &mut Owner::new(tag));
        return;
    }
    volatile::write(&mut entry.sock, sock as u64);
    volatile::write(&mut entry.owner, Owner::new(tag));
    volatile::write(&mut entry.cookie, cookie);
}

/// Whether the socket that had this cookie at that address may still exist. The memory of a socket that is gone has no
/// references, or is another socket with another cookie.
#[inline(always)]
fn is_alive(sock: u64, cookie: u64) -> bool {
    cookie == TAKEN
        || (cookie != 0
            && kernel::read_word(sock + offset!(sock_cookie)) == cookie
            && kernel::read_word(sock + offset!(sock_references)) as u32 != 0)
}

/// Adds a role to a socket that the session made. Others are checked without roles.
#[inline(always)]
pub(crate) fn add_role(sock: *const c_void, tag: &Tag, role: u32) {
    if let Some(owner) = of(sock)
        && owner.tag.session == tag.session
        && owner.roles_now() & role == 0
    {
        owner.add_role(role);
    }
}

/// Records that a socket that the session made is bound or listens, so that each connection which it accepts has an owner
/// from its beginning.
#[inline(always)]
pub(crate) fn record_listening(sock: *const c_void, tag: &Tag) {
    if sock.is_null() {
        return;
    }
    if let Some(entry) = entry_of(sock) {
        let mut owner = volatile::read(&entry.owner);
        if owner.tag.session == tag.session && owner.roles & ROLE_LISTENS == 0 {
            // The kernel copies only storage to what a socket accepts. The socket itself goes on with its entry.
            owner.roles |= ROLE_LISTENS;
            owner.stamp = 0;
            SOCKET_OWNERS.create(sock, &mut owner);
        }
    }
    add_role(sock, tag, ROLE_LISTENS);
}

/// Records where a socket that the session made is connected or sends to.
#[inline(always)]
pub(crate) fn record_peer(sock: *const c_void, tag: &Tag, peer: Address, port: u16) {
    if let Some(owner) = of(sock)
        && owner.tag.session == tag.session
        && (owner.roles_now() & ROLE_CONNECTS == 0 || owner.peer != peer || owner.port != port)
    {
        owner.peer = peer;
        owner.port = port;
        owner.add_role(ROLE_CONNECTS);
    }
}
