//! What a decision led to, and what a hook returns for a refusal.

/// What a refused file or network operation returns (`EACCES`).
pub(crate) const EACCES: i32 = -13;
/// What a refused privileged act returns (`EPERM`).
pub(crate) const EPERM: i32 = -1;

/// What a walk led to: the policy's generation and the reason's number (zero for none), in one register
/// (a function here takes five).
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Outcome(pub(crate) u64);

impl Outcome {
    /// Both together.
    #[inline(always)]
    pub(crate) fn new(generation: u32, reason: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(reason))
    }

    /// The policy that decided.
    #[inline(always)]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// A reason's number, or zero.
    #[inline(always)]
    pub(crate) fn reason(self) -> u32 {
        self.0 as u32
    }
}
