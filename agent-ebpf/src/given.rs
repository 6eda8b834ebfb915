//! Files and sockets that a session was given at its start: their open descriptors stay usable.

use core::ffi::c_void;

use agent_common::{access::Rights, given::GivenKey, id::Tag};

use crate::{kernel, map_access::look_up, maps::GIVEN_FILES};

/// Whether the session was given a file at its start with these rights. Inlined: see [`crate::shared!`].
#[inline(always)]
pub(crate) fn allows(tag: &Tag, inode: *const c_void, rights: Rights) -> bool {
    let identity = kernel::identity(inode);
    let key = GivenKey { session: tag.session, inode: identity.address };
    // The entry lives as long as its session. If its memory is used again meanwhile, it names another inode.
    look_up(&GIVEN_FILES, key).is_some_and(|given| {
        given.number == identity.number
            && given.generation == identity.generation
            && u32::from(rights.0) & !given.rights == 0
    })
}

/// Whether the session was given a file at its start, for whatever use.
#[inline(always)]
pub(crate) fn was_given(tag: &Tag, inode: *const c_void) -> bool {
    allows(tag, inode, Rights::NONE)
}
