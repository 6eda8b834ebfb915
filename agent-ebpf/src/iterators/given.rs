//! What a session is given at its start: written down by a program that the daemon runs over the descriptors of the
//! process that it tags.

use core::ffi::c_void;

use agent_common::{
    access::{Right, Rights},
    given::{Given, GivenKey},
    id::SessionId,
    limits::PASSED,
};

use crate::{
    control_socket,
    kernel::{self, FMODE_READ, FMODE_WRITE},
    maps::{GIVEN_FILES, GIVING},
    member,
};

/// The context of an iterator over open files: a `struct bpf_iter__task_file` (kernel/bpf/task_iter.c).
#[repr(C)]
pub(crate) struct OpenFile {
    meta: *const c_void,
    task: *const c_void,
    descriptor: u64,
    file: *const c_void,
}

/// Writes down the files of the descriptors that [`GIVING`] names.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/given")]
pub(crate) fn given(context: *const OpenFile) -> i32 {
    // SAFETY: the context is that of the iterator; field by field, since the verifier knows each.
    let (descriptor, file) = unsafe {
        (
            (&raw const (*context).descriptor).cast::<u32>().read_volatile(),
            (&raw const (*context).file).read_volatile(),
        )
    };
    let Some(giving) = GIVING.get(0) else { return 0 };
    if file.is_null() {
        return 0;
    }
    if giving.session.0 == 0 {
        if giving.descriptors[0] == descriptor {
            remember_control_socket(file);
        }
        return 0;
    }
    let count = giving.count as usize;
    let mut index = 0;
    while index < PASSED {
        if index < count && giving.descriptors[index] == descriptor {
            write_down(giving.session, file);
        }
        index += 1;
    }
    0
}

/// Remembers which socket the daemon's is, by its descriptor.
#[inline(always)]
fn remember_control_socket(file: *const c_void) {
    let sock = kernel::socket_of(file);
    if sock.is_null() {
        return;
    }
    let sk: *const c_void = member!(sock, socket_sk);
    if !sk.is_null() {
        control_socket::remember(sk);
    }
}

/// Writes one file down, beside what other descriptors of it allow.
#[inline(never)]
fn write_down(session: SessionId, file: *const c_void) {
    let mode: u32 = member!(file, file_mode);
    let inode: *const c_void = member!(file, file_inode);
    let identity = kernel::identity(inode);
    let mut rights = Rights::NONE;
    if mode & FMODE_READ != 0 {
        rights = rights.with(Right::Read);
    }
    if mode & FMODE_WRITE != 0 {
        rights = rights.with(Right::Write);
    }
    let key = GivenKey { session, inode: identity.address };
    let mut value = Given {
        number: identity.number,
        generation: identity.generation,
        rights: u32::from(rights.0),
    };
    // SAFETY: an entry lives as long as its session's, which is only starting.
    if let Some(known) = unsafe { GIVEN_FILES.get(key) }
        && known.number == value.number
        && known.generation == value.generation
    {
        value.rights |= known.rights;
    }
    // When the map is full, the daemon finds fewer entries than it asked for.
    let _ = GIVEN_FILES.insert(key, value, 0);
}
