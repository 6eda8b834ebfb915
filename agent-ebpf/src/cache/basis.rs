//! What an answer that is kept rests on, and what it allowed.

use agent_common::{access::Rights, authority::Session};

use crate::kernel::Changes;

/// What a decision rests on beside the rules: read before it is made, kept with what it found.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Basis {
    /// The policy.
    pub(crate) generation: u32,
    /// The session's epoch; zero where nothing that is kept of its authority answers, since an expiry is past.
    pub(crate) epoch: u32,
    /// The kernel's counters.
    pub(crate) changes: Changes,
}

impl Basis {
    /// The policy and the epoch, as an entry has them.
    #[inline(always)]
    pub(crate) fn stamp(&self) -> u64 {
        stamp(self.generation, self.epoch)
    }
}

/// What a decision allowed, in one register (a function here takes five): rights, and the marks that using them leaves.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Allowed(pub(crate) u64);

impl Allowed {
    #[inline(always)]
    pub(crate) fn new(rights: Rights, marks: u32) -> Self {
        Self(u64::from(marks) << 32 | u64::from(rights.0))
    }

    #[inline(always)]
    pub(crate) fn rights(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    pub(crate) fn marks(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// A policy's generation, and a session's epoch.
#[inline(always)]
pub(crate) fn stamp(generation: u32, epoch: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(epoch)
}

/// The session's epoch, read anew.
#[inline(always)]
pub(crate) fn epoch(session: &Session) -> u32 {
    // SAFETY: a reference is valid; volatile, so that it comes before what is read of the entry later.
    unsafe { core::ptr::read_volatile(&raw const session.epoch) }
}
