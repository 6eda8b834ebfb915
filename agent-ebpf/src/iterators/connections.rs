//! A program over the TCP connections of a network namespace, which the daemon runs when a session has lost something: it
//! resets the connections that the session may not use any more. Where the kernel can (since 6.5); what it does not
//! reach, and all other sockets, is refused when it is used.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_skc_to_tcp_sock;

use super::context::Context;
use crate::{check, kernel};

/// Looks at one socket. (For a reset, the verifier takes only the very pointer that the context has.)
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/connections")]
pub(crate) fn connections(context: *const Context) -> i32 {
    let sock: *const c_void = Context::member(context, 1);
    if sock.is_null() {
        return 0;
    }
    // SAFETY: the pointer is one that the verifier has typed. Null if the socket is not a full one (a request, or one in
    // TIME_WAIT).
    let tcp = unsafe { bpf_skc_to_tcp_sock(sock.cast_mut()) };
    if !tcp.is_null() && check::is_lost(tcp.cast_const().cast()) {
        kernel::reset(sock);
    }
    0
}
