//! Terminals and descriptors that send signals.
//!
//! The kernel sends their signals in nobody's name, so no hook sees them. What is decided instead is who can receive
//! them, when that is set up.

use core::ffi::c_void;

use agent_common::id::Tag;

use crate::{
    kernel::{self, SignalOwner, is_character_device},
    subject,
};

/// How many members of a process group without a leader are looked at.
const MEMBERS: usize = 8;

/// Whether a descriptor that starts to signal (`O_ASYNC`) signals only a process of the session. A terminal without an
/// owner makes its foreground process group the owner (`__tty_fasync`, drivers/tty/tty_io.c); other descriptors
/// without an owner signal nobody.
#[inline(always)]
pub(crate) fn signals_own_session_only(tag: &Tag, file: *const c_void) -> bool {
    match kernel::signal_owner(file) {
        SignalOwner::Task(0) => true,
        SignalOwner::Task(task) => subject::is_in_session(task, tag),
        SignalOwner::Nobody => !is_character_device(file),
        SignalOwner::Group => false,
    }
}

/// Whether the running process may set the foreground process group of its terminal: only while that group is the
/// session's own, since otherwise whoever reads there outside would be stopped (SIGTTIN). A group belongs to its
/// leader's session; one without a leader, to the session of all its members.
#[inline(never)]
pub(crate) fn may_change_foreground(tag: &Tag) -> bool {
    let group = kernel::foreground_group();
    if group == 0 {
        return true;
    }
    let leader = kernel::group_leader(group);
    if leader != 0 {
        return subject::is_in_session(leader, tag);
    }
    let mut link = kernel::first_member(group);
    let mut looked = 0;
    while link != 0 && looked < MEMBERS {
        if !subject::is_in_session(kernel::member_task(link), tag) {
            return false;
        }
        link = kernel::next_member(link);
        looked += 1;
    }
    link == 0
}
