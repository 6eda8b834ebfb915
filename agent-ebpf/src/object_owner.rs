//! Whose an object is that the kernel keeps for processes and that has no storage for programs: a System V
//! object, a key. By its address: whoever makes one at an address that was another's takes its place, or its
//! freeing was noticed.

use agent_common::id::Tag;

use crate::maps::OBJECT_OWNERS;

/// Whether a process of the session made the object at that address.
#[inline(always)]
pub(crate) fn is_own(address: u64, tag: &Tag) -> bool {
    // SAFETY: an entry that goes meanwhile is of an object that is being freed.
    unsafe { OBJECT_OWNERS.get(address) }.is_some_and(|owner| owner.session == tag.session)
}

/// Writes down the session that makes the object; `false` when there is no room.
#[inline(always)]
pub(crate) fn record(address: u64, owner: &Tag) -> bool {
    OBJECT_OWNERS.insert(address, *owner, 0).is_ok()
}

/// Forgets an object.
#[inline(always)]
pub(crate) fn forget(address: u64) {
    // Most have no owner.
    let _ = OBJECT_OWNERS.remove(address);
}
