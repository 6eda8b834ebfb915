//! Access rights: what may be done to an object.

/// One access right. The number is its bit in [`Rights`] and its row in a label.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Right {
    /// Read contents; list a directory.
    Read = 0,
    /// Change contents or metadata.
    Write = 1,
    /// Make an object of this name.
    Create = 2,
    /// Remove the object, or its name.
    Delete = 3,
    /// Run, or map executable.
    Exec = 4,
    /// Connect: to a unix socket, or to a network endpoint.
    Connect = 5,
    /// Device control.
    Ioctl = 6,
    /// Listen on a network endpoint. Not a right of files.
    Listen = 7,
}

impl Right {
    /// How many there are.
    pub const COUNT: usize = 8;
    /// All of them, by number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Read,
        Self::Write,
        Self::Create,
        Self::Delete,
        Self::Exec,
        Self::Connect,
        Self::Ioctl,
        Self::Listen,
    ];

    /// The name that policies and incidents use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Exec => "exec",
            Self::Connect => "connect",
            Self::Ioctl => "ioctl",
            Self::Listen => "listen",
        }
    }
}

/// A set of access rights.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rights(pub u8);

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);
    /// Every right that a file can have.
    pub const FILE: Self = Self(0x7f);

    /// The set of one right.
    pub const fn of(right: Right) -> Self {
        Self(1 << right as u8)
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set and one right more.
    #[must_use]
    pub const fn with(self, right: Right) -> Self {
        self.union(Self::of(right))
    }

    /// Whether the right is in the set.
    pub const fn has(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }

    /// Whether the sets share a right.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether no right is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The rights in the set, by number.
    pub fn iter(self) -> impl Iterator<Item = Right> {
        Right::ALL.into_iter().filter(move |right| self.has(*right))
    }
}
