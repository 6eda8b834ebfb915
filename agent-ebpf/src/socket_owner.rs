//! Whose a socket is. (aya-ebpf's socket storage takes the context of another program type.)

use core::{ffi::c_void, ptr};

use agent_common::id::Tag;
use aya_ebpf::{bindings::BPF_LOCAL_STORAGE_GET_F_CREATE, helpers::generated::bpf_sk_storage_get};

use crate::maps::SOCKET_OWNERS;

/// The session that made the socket, which is a pointer that the verifier has typed.
#[inline(always)]
pub fn of(sock: *const c_void) -> Option<&'static Tag> {
    // SAFETY: a socket's storage lives as long as the socket, which the operation keeps.
    unsafe { storage(sock, ptr::null_mut(), 0).as_ref() }
}

/// Writes down the session that made the socket.
#[inline(always)]
pub fn set(sock: *const c_void, owner: &mut Tag) {
    storage(sock, owner, u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE));
}

#[inline(always)]
fn storage(sock: *const c_void, value: *mut Tag, flags: u64) -> *mut Tag {
    let map = ptr::from_ref(&SOCKET_OWNERS).cast_mut().cast();
    // SAFETY: the map is a socket storage map, the socket a pointer that the verifier has typed.
    unsafe { bpf_sk_storage_get(map, sock.cast_mut().cast(), value.cast(), flags).cast() }
}
