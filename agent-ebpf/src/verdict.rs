//! What a decision led to, and what a hook returns for a refusal.

/// What a refused file or network operation returns (`EACCES`).
pub(crate) const EACCES: i32 = -13;
/// What a refused privileged act returns (`EPERM`).
pub(crate) const EPERM: i32 = -1;

/// What a decision led to, and the generation of the policy that decided. One register, since a function here takes at
/// most five.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Outcome(pub(crate) u64);

impl Outcome {
    /// A policy's generation, and the number of a [`agent_common::decision::Reason`], or zero.
    #[inline(always)]
    pub(crate) fn new(generation: u32, reason: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(reason))
    }

    /// The generation.
    #[inline(always)]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The reason's number; zero if it was allowed.
    #[inline(always)]
    pub(crate) fn reason(self) -> u32 {
        self.0 as u32
    }
}
