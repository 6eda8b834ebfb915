//! What a session was given at its start: written down by a program that the daemon runs over the
//! descriptors of the process that it tags, and looked up by the checks of descriptors.

use core::ffi::c_void;

use agent_common::{access::Rights, given::GivenKey, id::Tag};

use crate::{kernel, maps::GIVEN_FILES};

/// Whether the session was given a file, to do that with it. Inlined: see [`crate::shared!`].
#[inline(always)]
pub(crate) fn allows(tag: &Tag, inode: *const c_void, rights: Rights) -> bool {
    let identity = kernel::identity(inode);
    let key = GivenKey { session: tag.session, inode: identity.address };
    // SAFETY: an entry lives as long as its session; one that is reused meanwhile names another inode.
    unsafe { GIVEN_FILES.get(key) }.is_some_and(|given| {
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
