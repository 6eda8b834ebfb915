//! The states of an automaton: sets of trie nodes.

use agent_common::rule::NO_NODE;

use super::{
    mixer::MixId,
    trie::{Node, Trie},
};

/// Trie nodes, in order, without repeats.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Set {
    /// The one that most have, without memory of its own.
    One(u32),
    /// Several, or none.
    Many(Box<[u32]>),
}

impl Set {
    /// The set of these.
    pub(super) fn new(mut members: Vec<u32>) -> Self {
        members.sort_unstable();
        members.dedup();
        match *members.as_slice() {
            [only] => Self::One(only),
            _ => Self::Many(members.into()),
        }
    }

    /// The nodes' numbers.
    pub(super) fn members(&self) -> &[u32] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(members) => members,
        }
    }

    /// The nodes.
    pub(super) fn nodes<'t>(&self, trie: &'t Trie) -> impl Iterator<Item = &'t Node> + Clone {
        self.members().iter().filter_map(|member| trie.node(*member))
    }
}

/// The target of an edge: a state.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// Its number, or `NO_NODE`.
    pub(super) node: u32,
    /// Its `NODE_` flags.
    pub(super) flags: u32,
    /// What counts for the path that ends here.
    pub(super) here: MixId,
    /// What counts for everything below.
    pub(super) below: MixId,
}

impl Target {
    /// No state: what is below a state and not named.
    pub(super) fn nothing(above: &Pending) -> Self {
        Self { node: NO_NODE, flags: 0, here: above.below, below: above.below }
    }

    /// Whether another target is not the same.
    pub(super) fn differs(&self, other: Self) -> bool {
        let parts = |target: &Self| (target.node, target.here, target.below);
        parts(self) != parts(&other)
    }
}

/// A state without edges yet.
pub(super) struct Pending {
    /// Its number.
    pub(super) node: u32,
    /// Its trie nodes.
    pub(super) set: Set,
    /// What counts for everything below.
    pub(super) below: MixId,
}
