//! The nondeterministic trie of patterns: a node for each beginning of a pattern.

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

    /// The trie of patterns with what each says. Sorting them first makes the child that is looked
    /// for always the last one.
    pub(super) fn new(mut patterns: Vec<(Expanded<'a>, MixId)>, mixer: &mut Mixer) -> Self {
        patterns.sort_unstable();
        let mut nodes = vec![Node::default()];
        for (pattern, mix) in patterns {
            let mut at = 0;
            for component in pattern.components {
                let next = nodes.len();
                let Some(node): Option<&mut Node<'_>> = nodes.get_mut(at) else { break };
                match node.children.last() {
                    Some((last, child)) if *last == component => at = *child as usize,
                    _ => {
                        node.children.push((component, next as u32));
                        nodes.push(Node::default());
                        at = next;
                    }
                }
            }
            if let Some(node) = nodes.get_mut(at) {
                let place = if pattern.below { &mut node.below } else { &mut node.here };
                *place = mixer.join(*place, mix);
            }
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
