//! A program over the descriptors of a process, which the daemon runs before it tags that process: it records the files
//! that the session is given at its start. Over the daemon's own descriptors, it finds the control socket.

use core::ffi::c_void;

use agent_common::{
    access::{Right, Rights},
    given::{Given, GivenKey},
    id::SessionId,
    limits::PASSED,
};

use super::context::Context;
use crate::{
    control_socket,
    kernel::{self, FMODE_READ, FMODE_WRITE, S_IFIFO, S_IFMT},
    map_access::look_up,
    maps::{GIVEN_FILES, GIVING},
    member, untrusted,
};

/// Records the files of the descriptors that [`GIVING`] names. The context is a `struct bpf_iter__task_file`
/// (kernel/bpf/task_iter.c).
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/given")]
pub(crate) fn given(context: *const Context) -> i32 {
    let descriptor: u32 = Context::member(context, 2);
    let file: *const c_void = Context::member(context, 3);
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
    let mut is_given = false;
    let mut index = 0;
    while index < PASSED {
        if index < count && giving.descriptors[index] == descriptor {
            is_given = true;
        }
        index += 1;
    }
    if is_given {
        record(giving.session, file, true);
    } else if is_pipe(file) && has_room() {
        record(giving.session, file, false);
    }
    0
}

/// Remembers the control socket, by the daemon's descriptor of it.
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

/// Whether a file is a pipe.
#[inline(always)]
fn is_pipe(file: *const c_void) -> bool {
    let inode: *const c_void = member!(untrusted!(file at file), file_inode);
    member!(u16, inode, inode_mode) & S_IFMT == S_IFIFO
}

/// Whether one more pipe can be recorded that the session was not given. If not, the daemon refuses the start.
#[inline(always)]
fn has_room() -> bool {
    let Some(giving) = GIVING.get_ptr_mut(0) else { return false };
    // SAFETY: a value of a map is valid, and only one process runs this program at a time.
    let pipes = unsafe { &mut (*giving).pipes };
    *pipes = pipes.saturating_add(1);
    *pipes as usize <= PASSED
}

/// Records one file, with the rights of this descriptor and of those before it. A pipe that the session was not given,
/// but has open, is recorded without rights: it is not the session's own, so neither end of it is opened again.
#[inline(never)]
fn record(session: SessionId, file: *const c_void, is_given: bool) {
    let mode: u32 = member!(file, file_mode);
    let inode: *const c_void = member!(untrusted!(file at file), file_inode);
    let identity = kernel::identity(inode);
    let mut rights = Rights::NONE;
    if is_given && mode & FMODE_READ != 0 {
        rights = rights.with(Right::Read);
    }
    if is_given && mode & FMODE_WRITE != 0 {
        rights = rights.with(Right::Write);
    }
    let key = GivenKey { session, inode: identity.address };
    let mut value = Given {
        number: identity.number,
        generation: identity.generation,
        rights: u32::from(rights.0),
    };
    // Entries live as long as their session, which only starts now.
    if let Some(known) = look_up(&GIVEN_FILES, key)
        && known.number == value.number
        && known.generation == value.generation
    {
        value.rights |= known.rights;
    }
    // If the map is full, the daemon finds fewer entries than it asked for.
    let _ = GIVEN_FILES.insert(key, value, 0);
}
