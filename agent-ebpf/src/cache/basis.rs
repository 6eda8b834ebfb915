//! What a decision was made from, and what it allowed.

use agent_common::{access::Rights, authority::Session};

use crate::{kernel::Changes, volatile};

/// What a decision depends on besides the rules. Read before the decision, and kept with its result.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Basis {
    /// The policy's generation.
    pub(crate) generation: u32,
    /// The session's epoch. Zero when cached decisions must not be used for this session, since an expiry is past.
    pub(crate) epoch: u32,
    /// The kernel's counts of renames and mount changes.
    pub(crate) changes: Changes,
}

impl Basis {
    /// Policy and epoch, as an entry has them.
    #[inline(always)]
    pub(crate) fn stamp(&self) -> u64 {
        stamp(self.generation, self.epoch)
    }
}

/// What a decision allowed: rights, and the marks that their use leaves. One register, since a function here takes at
/// most five.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Allowed(pub(crate) u64);

impl Allowed {
    /// Rights, and the marks that their use leaves.
    #[inline(always)]
    pub(crate) fn new(rights: Rights, marks: u32) -> Self {
        Self(u64::from(marks) << 32 | u64::from(rights.0))
    }

    /// The rights, as a word.
    #[inline(always)]
    pub(crate) fn rights(self) -> u32 {
        self.0 as u32
    }

    /// The marks.
    #[inline(always)]
    pub(crate) fn marks(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether rights that are in an entry already stay there beside these: not if their use leaves marks that the use of
    /// these does not. An entry has one set of marks, and answers only for tasks that have all of them.
    #[inline(always)]
    pub(crate) fn can_join_marks(self, marks_before: u32) -> bool {
        marks_before & !self.marks() == 0
    }
}

/// A policy's generation and a session's epoch in one word.
#[inline(always)]
pub(crate) fn stamp(generation: u32, epoch: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(epoch)
}

/// The session's epoch, read before whatever else is read of its entry.
#[inline(always)]
pub(crate) fn epoch(session: &Session) -> u32 {
    volatile::read(&session.epoch)
}
