//! Whose a socket is, and what it is used for.
//!
//! Making a socket's own storage takes as long as deciding some five connections, so a new socket's owner lies in an
//! array, at a place that follows from the socket's cookie. That is a number which the kernel gives a socket once, and
//! never to another one. Only where the place is taken by a socket that is alive is storage made.

use core::ffi::c_void;

use agent_common::id::Tag;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;

use crate::{
    atomic, kernel,
    maps::{SOCKET_OWNERS, SOCKETS},
    member, offset,
    request::Address,
    values::{Owner, OwnerEntry},
};

/// [`Owner::roles`]: it was connected, or sent to an address.
pub(crate) const ROLE_CONNECTS: u32 = 1;
/// [`Owner::roles`]: it was bound to a port of the session's choice, or listens.
pub(crate) const ROLE_LISTENS: u32 = 2;
/// [`Owner::roles`]: it was connected to a unix socket that is not the session's own.
pub(crate) const ROLE_UNIX_PEER: u32 = 4;
/// The roles of [`Owner::roles`]; the bits above count changes, so that who judges a socket sees that one came
/// meanwhile.
pub(crate) const ALL_ROLES: u32 = 7;
/// One change.
const CHANGE: u32 = ALL_ROLES + 1;

impl Owner {
    /// Of a new socket.
    #[inline(always)]
    pub(crate) fn new(tag: &Tag) -> Self {
        Self { tag: *tag, stamp: 0, peer: Address([0; 2]), port: 0, local_port: 0, roles: 0 }
    }

    /// For which state of authority it was found usable, as it is now.
    #[inline(always)]
    pub(crate) fn stamp_now(&self) -> u64 {
        // SAFETY: a reference is valid; volatile, so that it is read before what it answers for.
        unsafe { (&raw const self.stamp).read_volatile() }
    }

    /// The roles and how often they changed, as they are now.
    #[inline(always)]
    pub(crate) fn roles_now(&self) -> u32 {
        // SAFETY: as above.
        unsafe { (&raw const self.roles).read_volatile() }
    }

    /// Adds a role, after whatever else changes with it, so that it is judged anew.
    #[inline(always)]
    fn add_and_forget(&mut self, role: u32) {
        atomic::or(&raw mut self.roles, role);
        atomic::add(&raw mut self.roles, CHANGE);
        self.forget_stamp();
    }

    /// Keeps that the socket was found usable, by these roles, unless they changed meanwhile.
    #[inline(always)]
    pub(crate) fn cache_usable(&mut self, stamp: u64, roles: u32) {
        let before = self.stamp_now();
        // What changes the roles forgets the stamp afterwards: either that comes after this, or the change is seen.
        atomic::replace(&raw mut self.stamp, before, stamp);
        if self.roles_now() != roles {
            self.forget_stamp();
        }
    }

    #[inline(always)]
    fn forget_stamp(&mut self) {
        // SAFETY: a reference is valid; volatile, so that it stays behind what comes before.
        unsafe { (&raw mut self.stamp).write_volatile(0) };
    }
}

/// No socket's cookie: they are counted up, from one.
const TAKEN: u64 = u64::MAX;

/// The owner of the socket, which is a pointer that the verifier has typed, or null.
#[inline(always)]
pub(crate) fn of(sock: *const c_void) -> Option<&'static mut Owner> {
    if sock.is_null() {
        return None;
    }
    if let Some(entry) = entry(sock) {
        // SAFETY: a map's value is valid, and the entry is this socket's as long as it lives.
        return Some(unsafe { &mut (*entry).owner });
    }
    // SAFETY: a socket's storage lives as long as the socket, which the operation keeps.
    unsafe { SOCKET_OWNERS.get(sock).as_mut() }
}

/// The entry of the socket, if it has one.
#[inline(always)]
fn entry(sock: *const c_void) -> Option<*mut OwnerEntry> {
    let cookie: u64 = member!(sock, sock_cookie);
    let entry = SOCKETS.at(cookie as u32);
    // SAFETY: a map's value is valid.
    (cookie != 0 && unsafe { (&raw const (*entry).cookie).read_volatile() } == cookie)
        .then_some(entry)
}

/// Writes down the session that made a new socket. When memory is short it stays without an owner, and is then
/// a foreign_socket to its own session.
#[inline(always)]
pub(crate) fn record(sock: *const c_void, tag: &Tag) {
    // SAFETY: the socket is a pointer that the verifier has typed.
    let cookie = unsafe { bpf_get_socket_cookie(sock.cast_mut()) };
    let entry = SOCKETS.at(cookie as u32);
    // SAFETY: a map's value is valid.
    let before = unsafe { (&raw const (*entry).cookie).read_volatile() };
    // SAFETY: as above.
    let sock_before = unsafe { (&raw const (*entry).sock).read_volatile() };
    // SAFETY: as above.
    let word = unsafe { &raw mut (*entry).cookie };
    if cookie == 0 || is_alive(sock_before, before) || !atomic::replace(word, before, TAKEN) {
        SOCKET_OWNERS.get_or_create(sock, &mut Owner::new(tag));
        return;
    }
    // SAFETY: the entry is ours until it has a cookie again.
    unsafe {
        (&raw mut (*entry).sock).write_volatile(sock as u64);
        (&raw mut (*entry).owner).write_volatile(Owner::new(tag));
        word.write_volatile(cookie);
    }
}

/// Whether the socket that had this cookie at that address may still be there. What lies at the address of one that
/// is gone has no references, or is another socket, which has another cookie.
#[inline(always)]
fn is_alive(sock: u64, cookie: u64) -> bool {
    cookie == TAKEN
        || (cookie != 0
            && kernel::read_word(sock + offset!(sock_cookie)) == cookie
            && kernel::read_word(sock + offset!(sock_references)) as u32 != 0)
}

/// Adds a role to a socket that the session made; another's is judged without.
#[inline(always)]
pub(crate) fn add_role(sock: *const c_void, tag: &Tag, role: u32) {
    if let Some(owner) = of(sock)
        && owner.tag.session == tag.session
        && owner.roles_now() & role == 0
    {
        owner.add_and_forget(role);
    }
}

/// Writes down that a socket that the session made is bound or listens, so that connections which it accepts have
/// an owner from the first.
#[inline(always)]
pub(crate) fn record_listening(sock: *const c_void, tag: &Tag) {
    if sock.is_null() {
        return;
    }
    if let Some(entry) = entry(sock) {
        // SAFETY: as in `of`.
        let mut owner = unsafe { (&raw const (*entry).owner).read_volatile() };
        if owner.tag.session == tag.session && owner.roles & ROLE_LISTENS == 0 {
            // Only storage is copied for what a socket accepts. The socket itself goes on with its entry.
            owner.roles |= ROLE_LISTENS;
            owner.stamp = 0;
            SOCKET_OWNERS.get_or_create(sock, &mut owner);
        }
    }
    add_role(sock, tag, ROLE_LISTENS);
}

/// Writes down where a socket that the session made is connected or sends to.
#[inline(always)]
pub(crate) fn record_peer(sock: *const c_void, tag: &Tag, peer: Address, port: u16) {
    if let Some(owner) = of(sock)
        && owner.tag.session == tag.session
        && (owner.roles_now() & ROLE_CONNECTS == 0 || owner.peer != peer || owner.port != port)
    {
        owner.peer = peer;
        owner.port = port;
        owner.add_and_forget(ROLE_CONNECTS);
    }
}
