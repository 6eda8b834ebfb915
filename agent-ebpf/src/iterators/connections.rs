//! A program that goes over the TCP connections of a network namespace when a session lost something, and resets
//! those that the session that made them may not use any more: where the kernel can (since 6.5). What it does not
//! reach, and all other sockets, is refused where it is used.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;

use crate::{check, kernel};

/// The context of an iterator over TCP sockets: a `struct bpf_iter__tcp` (net/ipv4/tcp_ipv4.c).
#[repr(C)]
pub(crate) struct Connection {
    meta: *const c_void,
    sock: *const c_void,
}

/// Looks at one socket. (The verifier takes for a reset only the pointer that the context has.)
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/connections")]
pub(crate) fn connections(context: *const Connection) -> i32 {
    // SAFETY: the context is that of the iterator.
    let sock = unsafe { (&raw const (*context).sock).read_volatile() };
    if sock.is_null() {
        return 0;
    }
    // SAFETY: the pointer is one that the verifier has typed; null for a socket that is no whole one.
    let whole = unsafe { bpf_skc_to_tcp_sock(sock.cast_mut()) };
    if !whole.is_null() && check::is_lost(whole.cast_const().cast()) {
        kernel::reset(sock);
    }
    0
}
