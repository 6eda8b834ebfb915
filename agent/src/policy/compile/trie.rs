//! The nondeterministic trie of patterns: a node for each beginning of a pattern.

use std::collections::HashMap;

use super::mixer::{MixId, Mixer};
use crate::policy::pattern::{Component, Expanded};

/// A node: a beginning of some patterns.
#[derive(Default)]
pub(super) struct Node<'a> {
    /// What comes next, in the order of [`Component`]: literals first.
    pub(super) children: Vec<(Component<'a>, u32)>,
    /// What the patterns that end here say of the path itself.
    pub(super) here: MixId,
    /// What those say that go on for everything below.
    pub(super) below: MixId,
}

impl Default for MixId {
    fn default() -> Self {
        Self::NONE
    }
}

/// The trie. Node 0 is the root folder.
pub(super) struct Trie<'a> {
    nodes: Vec<Node<'a>>,
}

impl<'a> Trie<'a> {
    /// The root's number.
    pub(super) const ROOT: u32 = 0;

    /// The trie of patterns with what each says.
    pub(super) fn new(patterns: Vec<(Expanded<'a>, MixId)>, mixer: &mut Mixer) -> Self {
        let mut nodes = vec![Node::default()];
        let mut places: HashMap<(u32, Component<'a>), u32> = HashMap::new();
        for (pattern, mix) in patterns {
            let mut at = Self::ROOT;
            for component in pattern.components {
                let next = nodes.len() as u32;
                let at_next = *places.entry((at, component)).or_insert(next);
                if at_next == next {
                    nodes.push(Node::default());
                }
                at = at_next;
            }
            if let Some(node) = nodes.get_mut(at as usize) {
                let place = if pattern.below { &mut node.below } else { &mut node.here };
                *place = mixer.join(*place, mix);
            }
        }
        for ((parent, component), child) in places {
            if let Some(node) = nodes.get_mut(parent as usize) {
                node.children.push((component, child));
            }
        }
        for node in &mut nodes {
            node.children.sort_unstable();
        }
        Self { nodes }
    }

    /// A node.
    pub(super) fn node(&self, number: u32) -> Option<&Node<'a>> {
        self.nodes.get(number as usize)
    }

    /// Whether it is the root alone, with nothing to say.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1
            && self.nodes.iter().all(|n| n.here == MixId::NONE && n.below == MixId::NONE)
    }
}
