//! Sets of tools, and what a session holds.

use crate::{
    assert_layout,
    id::{BootNanos, SessionId, Slot, ToolBit},
    limits::TOOLS,
};

/// Words of a [`ToolSet`].
pub const WORDS: usize = TOOLS / 64;

/// A set of tools, one bit each.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ToolSet(pub [u64; WORDS]);

impl ToolSet {
    /// No tool.
    pub const EMPTY: Self = Self([0; WORDS]);

    /// Puts a tool in. A bit out of range changes nothing.
    pub fn insert(&mut self, tool: ToolBit) {
        if let Some(word) = self.0.get_mut(usize::from(tool.0 / 64)) {
            *word |= 1 << (tool.0 % 64);
        }
    }

    /// Takes a tool out.
    pub fn remove(&mut self, tool: ToolBit) {
        if let Some(word) = self.0.get_mut(usize::from(tool.0 / 64)) {
            *word &= !(1 << (tool.0 % 64));
        }
    }

    /// Whether the tool is in.
    pub fn contains(&self, tool: ToolBit) -> bool {
        self.0.get(usize::from(tool.0 / 64)).is_some_and(|word| word & (1 << (tool.0 % 64)) != 0)
    }

    /// Whether no tool is in.
    pub fn is_empty(&self) -> bool {
        self.0 == [0; WORDS]
    }

    /// Adds all tools of another set.
    pub fn merge(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }

    /// The tools in the set, by bit.
    pub fn iter(&self) -> impl Iterator<Item = ToolBit> + '_ {
        (0..TOOLS as u16).map(ToolBit).filter(|tool| self.contains(*tool))
    }
}

impl FromIterator<ToolBit> for ToolSet {
    fn from_iter<I: IntoIterator<Item = ToolBit>>(tools: I) -> Self {
        let mut set = Self::EMPTY;
        for tool in tools {
            set.insert(tool);
        }
        set
    }
}

/// What a session is allowed to do at all.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The slot is free, or its session has ended: no authority.
    Ended = 0,
    /// The session uses what it holds.
    Active = 1,
    /// Everything is refused until an operator resumes it.
    Quarantined = 2,
}

/// Whether refusals are enforced.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuse.
    Enforce = 0,
    /// Report what would be refused, and allow it.
    Audit = 1,
}

/// A session as the kernel sees it: the value of the session table, at the session's slot. The daemon writes it,
/// except `no_expiry_near`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Whose entry it is; a tag with another id finds no authority here.
    pub id: SessionId,
    /// When the session ends.
    pub expires: BootNanos,
    /// The earliest expiry among the grants held; until then `tools` is the truth by itself.
    pub nearest_expiry: BootNanos,
    /// The tools held, some of them maybe past their expiry.
    pub tools: ToolSet,
    /// The tools held now or before that leave open descriptors usable when they are lost (`recall = "opens"`).
    pub kept: ToolSet,
    /// The parent's identity; zero for none.
    pub parent_id: SessionId,
    /// The parent's slot.
    pub parent: Slot,
    /// A [`State`].
    pub state: u32,
    /// A [`Mode`].
    pub mode: u32,
    /// How often the entry was written, wrapping: a decision under one epoch need not hold under another.
    pub epoch: u32,
    /// When a program saw last that no expiry is near: the count of ticks then, with the epoch. Zero for never.
    pub no_expiry_near: u64,
}

assert_layout!(Session, 120, 8);

impl Session {
    /// A free slot.
    pub const FREE: Self = Self {
        id: SessionId(0),
        expires: BootNanos(0),
        nearest_expiry: BootNanos(0),
        tools: ToolSet::EMPTY,
        kept: ToolSet::EMPTY,
        parent_id: SessionId(0),
        parent: Slot::NONE,
        state: State::Ended as u32,
        mode: Mode::Enforce as u32,
        epoch: 0,
        no_expiry_near: 0,
    };
}

/// The expiry of each tool that a session holds, by bit; zero for a tool that it does not hold. The value of the
/// expiry table, at the session's slot. Written before the session's entry when authority grows, after it when
/// authority shrinks.
pub type Expiries = [BootNanos; TOOLS];
