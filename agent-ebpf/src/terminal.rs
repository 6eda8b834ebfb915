//! Terminals and descriptors that signal: rules that several hooks share.
//!
//! The kernel sends the signals of a terminal, and those of a descriptor, in nobody's name, so no hook sees them:
//! whom they can reach is decided when they are set up.

use core::ffi::c_void;

use agent_common::id::Tag;

use crate::{
    kernel::{self, SignalOwner, is_character_device},
    subject,
};

/// Members of a process group without a leader that are looked at.
const MEMBERS: usize = 8;

/// Whether a descriptor that begins to signal (`O_ASYNC`) signals the own process alone. A terminal without an
/// owner takes the process group in its foreground for one (`__tty_fasync`, drivers/tty/tty_io.c); whatever else
/// has none signals nobody.
#[inline(always)]
pub(crate) fn signals_own_process_only(file: *const c_void) -> bool {
    match kernel::signal_owner(file) {
        SignalOwner::Own => true,
        SignalOwner::Nobody => !is_character_device(file),
        SignalOwner::Other => false,
    }
}

/// Whether the running process may say which process group has its terminal: only while none has it that is of
/// processes outside of the session. Else whoever reads there outside would be stopped (SIGTTIN). A group is its
/// leader's; one whose leader is gone, all its members'.
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
