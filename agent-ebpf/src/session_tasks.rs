//! How many tasks a session has, and whether it may make more.

use agent_common::id::Tag;

use crate::{
    atomic, kernel,
    maps::{FORKS_HELD, SESSIONS_BY_SLOT, TASK_COUNTS},
};

/// Adds to the count of the session's tasks, wrapping, unless its slot belongs to another session by now. Returns the
/// count before: of several tasks that end at once, one finds itself the last.
#[inline(always)]
pub(crate) fn add_to_count(tag: &Tag, more: u64) -> Option<u64> {
    SESSIONS_BY_SLOT.get(tag.slot.0).filter(|session| session.id == tag.session)?;
    TASK_COUNTS.get_ptr_mut(tag.slot.0).map(|counter| atomic::add(counter, more))
}

/// Whether the session can't fork for now, since the daemon is looking through its processes.
#[inline(always)]
pub(crate) fn are_forks_held(tag: &Tag) -> bool {
    FORKS_HELD.get(tag.slot.0).is_some_and(|until| kernel::now().0 < *until)
}
