//! Which session made a kernel object that has no storage for programs: a System V object, a key.
//!
//! By the object's address. Either the freeing of the object before was noticed, or whoever makes an object at its
//! address takes over the entry.

use agent_common::id::Tag;

use crate::{map_access::look_up, maps::OBJECT_OWNERS};

/// Whether a process of the session made the object at an address.
#[inline(always)]
pub(crate) fn is_own(address: u64, tag: &Tag) -> bool {
    // An entry that is removed meanwhile belongs to an object that is being freed.
    look_up(&OBJECT_OWNERS, address).is_some_and(|owner| owner.session == tag.session)
}

/// Records the session that makes an object; `false` when there is no room.
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
