//! Sockets: families, kinds, and their files.

use core::{ffi::c_void, ptr};

use agent_common::offsets::RESET;
use aya_ebpf::helpers::generated::bpf_sock_from_file;

/// Families (include/linux/socket.h), kinds (include/linux/net.h) and protocols (include/uapi/linux/in.h).
pub(crate) const AF_UNSPEC: u16 = 0;
pub(crate) const AF_UNIX: u16 = 1;
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
pub(crate) const AF_NETLINK: u16 = 16;
pub(crate) const SOCK_STREAM: u16 = 1;
pub(crate) const SOCK_DGRAM: u16 = 2;
pub(crate) const SOCK_RAW: u16 = 3;
pub(crate) const SOCK_SEQPACKET: u16 = 5;
pub(crate) const IPPROTO_TCP: u32 = 6;
pub(crate) const IPPROTO_UDP: u32 = 17;
pub(crate) const IPPROTO_MPTCP: u32 = 262;

/// Whether a socket belongs to an internet family.
#[inline(always)]
pub(crate) fn is_internet(sk: *const c_void) -> bool {
    let family: u16 = member!(sk, sock_family);
    family == AF_INET || family == AF_INET6
}

/// Whether a socket is a datagram socket of an internet family.
#[inline(always)]
pub(crate) fn is_datagrams(sk: *const c_void) -> bool {
    member!(u16, sk, sock_kind) == SOCK_DGRAM && is_internet(sk)
}

/// The inode of a socket's file; null for a socket of the kernel's own, which has no file.
#[inline(always)]
pub(crate) fn socket_inode(sock: *const c_void) -> *const c_void {
    let file: *const c_void = member!(sock, socket_file);
    if file.is_null() { ptr::null() } else { member!(file, file_inode) }
}

/// The socket of a file that the verifier has typed; null if the file is no socket.
#[inline(always)]
pub(crate) fn socket_of(file: *const c_void) -> *const c_void {
    // SAFETY: the file is a pointer that the verifier has typed.
    unsafe { bpf_sock_from_file(file.cast_mut().cast()) }.cast_const().cast()
}

/// Resets a connection (`bpf_sock_destroy`, net/core/filter.c): its peer is told, and whoever waits at this end gets
/// `ECONNABORTED`. Only in an iterator over sockets, for the socket in its context.
#[inline(always)]
pub(crate) fn reset(sock: *const c_void) {
    // SAFETY: the verifier checks that the pointer is such a socket. The loader puts the function in the place of
    // this call.
    unsafe {
        core::arch::asm!(
            "call {reset}",
            reset = const RESET,
            inlateout("r1") sock => _,
            lateout("r0") _,
            lateout("r2") _,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(nostack),
        );
    }
}
