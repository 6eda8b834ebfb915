//! Identities and units as types, so that one can't be taken for another.

use crate::limits::SESSIONS;

/// A session's place in the session table, `0..SESSIONS`; [`Slot::CANARY`] follows those. It is used again after the
/// session's end, so it names a session only together with a [`SessionId`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

impl Slot {
    /// No slot: a session without a parent.
    pub const NONE: Self = Self(u32::MAX);
    /// The slot of the daemon's canary: behind those of the sessions, so that it takes none of theirs.
    pub const CANARY: Self = Self(SESSIONS as u32);
}

/// A session's identity, never used twice. Zero names none.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// The number of a policy that was in force, counted up with each one.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u32);

/// Nanoseconds since boot, sleep included (`CLOCK_BOOTTIME`).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BootNanos(pub u64);

impl BootNanos {
    /// A time that never comes.
    pub const NEVER: Self = Self(u64::MAX);
}

/// A tool's bit, `0..TOOLS`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ToolBit(pub u16);

/// A label's place in the label table. Zero is the label of what no rule covers.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabelId(pub u32);

impl LabelId {
    /// The label of what no rule covers.
    pub const NONE: Self = Self(0);
}

/// What a kernel task has in its task storage: its session.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The session.
    pub session: SessionId,
    /// Its slot.
    pub slot: Slot,
    /// The marks ([`crate::mark`]) of what the task used, or its parent before the fork; never removed. Zero where a
    /// tag only names a session.
    pub marks: u32,
}

crate::assert_layout!(Tag, 16, 8);
