//! The nondeterministic trie of patterns: a node for each beginning of a pattern.
//!
//! A policy may have a hundred thousand paths, so a node is a few numbers, and all texts are in one string of bytes.
//! Children are adjacent, since they are read in sequence.

use std::hash::{BuildHasher as _, Hasher as _};

use agent_common::rule::{NODE_ANY, NODE_LOOPS, NODE_OWN_PROCESS, NODE_PATTERNS};
use hashbrown::{DefaultHashBuilder, HashTable};

use super::mixer::{MixId, Mixer};
use crate::policy::pattern::Component;

/// The step from a node to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'t> {
    /// This name.
    Literal(&'t [u8]),
    /// Names that begin with the first and end with the second, which has its last byte first here.
    Affixes(&'t [u8], &'t [u8]),
    /// The procfs folder of a process of the own session.
    OwnProcess,
    /// No name: whoever is at the node is at the child too, and stays there by any name.
    Deep,
}

/// The kind of step to a node, as a number: for affixes, this and the length of the prefix.
type Kind = u16;
const LITERAL: Kind = 0;
const OWN_PROCESS: Kind = 1;
const DEEP: Kind = 2;
const AFFIXES: Kind = 3;

/// The step to a node: its kind, and the place of its text.
#[derive(Clone, Copy, Debug)]
struct Text {
    start: u32,
    len: u16,
    kind: Kind,
}

impl Text {
    fn of(self, texts: &[u8]) -> &[u8] {
        let start = self.start as usize;
        texts.get(start..start + usize::from(self.len)).unwrap_or_default()
    }
}

/// A node: a beginning of some patterns.
#[derive(Debug)]
pub(super) struct Node {
    /// The effects of patterns that end here on the path itself.
    pub(super) here: MixId,
    /// The effects of patterns that end here with `/**`, on everything below.
    pub(super) below: MixId,
    /// The `NODE_` flags that follow from its children.
    pub(super) flags: u32,
    /// The first of its children, and the number after the last.
    children: (u32, u32),
    /// The child by [`Step::Deep`]; 0 if there is none.
    deep: u32,
    text: Text,
}

impl Node {
    /// Whether any pattern continues from here by a name.
    pub(super) fn leads_on(&self) -> bool {
        self.children.1 - self.children.0 > u32::from(self.deep != 0)
    }

    /// The child that a `**` leads to.
    pub(super) fn deep(&self) -> Option<u32> {
        (self.deep != 0).then_some(self.deep)
    }

    /// Whether a `**` leads here: then any name leads here again.
    pub(super) fn is_deep(&self) -> bool {
        self.text.kind == DEEP
    }
}

/// The trie. Node 0 is the root folder.
#[derive(Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    texts: Vec<u8>,
}

impl Trie {
    /// The root's number.
    pub(super) const ROOT: u32 = 0;

    /// How many nodes there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A node.
    pub(super) fn node(&self, number: u32) -> Option<&Node> {
        self.nodes.get(number as usize)
    }

    /// The children of a node, and the step to each.
    pub(super) fn children<'t>(
        &'t self,
        node: &Node,
    ) -> impl Iterator<Item = (Step<'t>, u32)> + Clone + use<'t> {
        let (first, end) = node.children;
        let nodes = self.nodes.get(first as usize..end as usize).unwrap_or_default();
        nodes.iter().zip(first..).map(|(node, number)| (self.step(node), number))
    }

    fn step(&self, node: &Node) -> Step<'_> {
        let text = node.text.of(&self.texts);
        match node.text.kind {
            LITERAL => Step::Literal(text),
            OWN_PROCESS => Step::OwnProcess,
            DEEP => Step::Deep,
            kind => {
                let prefix = usize::from(kind - AFFIXES);
                let (prefix, suffix) = text.split_at_checked(prefix).unwrap_or_default();
                Step::Affixes(prefix, suffix)
            }
        }
    }

    /// Whether it has only the root, without effects.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1
            && self.nodes.iter().all(|n| n.here == MixId::NONE && n.below == MixId::NONE)
    }
}

/// A node while the trie is being made.
struct Draft {
    parent: u32,
    text: Text,
    /// The first bytes of the text. Most names are no longer, so looking one up needs only the node.
    head: u64,
    here: MixId,
    below: MixId,
    flags: u32,
}

/// Bytes of a head.
const HEAD: usize = 8;

fn head(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(head) => u64::from_le_bytes(*head),
        None => text.iter().rev().fold(0, |head, byte| head << 8 | u64::from(*byte)),
    }
}

/// A trie that patterns are added to.
pub(super) struct Builder {
    /// In the order in which they were added.
    nodes: Vec<Draft>,
    texts: Vec<u8>,
    /// The nodes by parent and step.
    places: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The text of a step that is looked up.
    text: Vec<u8>,
    has_deep: bool,
}

impl Builder {
    /// A trie with only the root. `patterns` is how many are expected.
    pub(super) fn new(patterns: usize) -> Self {
        // Most patterns add one name, and some a folder too.
        let most = patterns + patterns / 2;
        let mut builder = Self {
            nodes: Vec::with_capacity(most + 1),
            texts: Vec::new(),
            places: HashTable::with_capacity(most),
            hasher: DefaultHashBuilder::default(),
            text: Vec::new(),
            has_deep: false,
        };
        builder.push(Trie::ROOT, LITERAL, &[], 0);
        builder
    }

    /// Adds a pattern with its effect, and whether it is for everything below too.
    pub(super) fn add<'c>(
        &mut self,
        components: impl Iterator<Item = Component<'c>>,
        below: bool,
        mix: MixId,
        mixer: &mut Mixer,
    ) {
        let at = components.fold(Trie::ROOT, |at, component| self.child(at, &component));
        if let Some(node) = self.nodes.get_mut(at as usize) {
            let place = if below { &mut node.below } else { &mut node.here };
            *place = mixer.join(*place, mix);
        }
    }

    /// The child that a component leads to, which is made if it does not exist.
    fn child(&mut self, parent: u32, component: &Component<'_>) -> u32 {
        match component {
            Component::Literal(name) => self.place(parent, LITERAL, name),
            Component::OwnProcess => self.place(parent, OWN_PROCESS, &[]),
            Component::Deep => {
                self.has_deep = true;
                self.place(parent, DEEP, &[])
            }
            Component::Affixes(prefix, suffix) => {
                let mut text = std::mem::take(&mut self.text);
                text.clear();
                text.extend_from_slice(prefix);
                text.extend(suffix.iter().rev());
                // The length of a prefix fits: affixes are limited.
                let place = self.place(parent, AFFIXES + prefix.len() as Kind, &text);
                self.text = text;
                place
            }
        }
    }

    fn place(&mut self, parent: u32, kind: Kind, text: &[u8]) -> u32 {
        let Self { nodes, texts, places, hasher, .. } = self;
        let hash = |parent: u32, kind: Kind, head: u64, text: &[u8]| {
            let mut hasher = hasher.build_hasher();
            hasher.write_u64(u64::from(parent) << 32 | u64::from(kind) << 16 | text.len() as u64);
            hasher.write_u64(head);
            if text.len() > HEAD {
                hasher.write(text);
            }
            hasher.finish()
        };
        let (number, own_head) = (nodes.len() as u32, head(text));
        let own_hash = hash(parent, kind, own_head, text);
        let same = |number: &u32| {
            nodes.get(*number as usize).is_some_and(|node| {
                node.parent == parent
                    && node.head == own_head
                    && node.text.kind == kind
                    && usize::from(node.text.len) == text.len()
                    && (text.len() <= HEAD || node.text.of(texts) == text)
            })
        };
        if let Some(number) = places.find(own_hash, same) {
            return *number;
        }
        places.insert_unique(own_hash, number, |number| {
            nodes
                .get(*number as usize)
                .map_or(0, |node| hash(node.parent, node.text.kind, node.head, node.text.of(texts)))
        });
        self.push(parent, kind, text, own_head);
        number
    }

    fn push(&mut self, parent: u32, kind: Kind, text: &[u8], head: u64) {
        let flags = match kind {
            LITERAL | DEEP => 0,
            OWN_PROCESS => NODE_OWN_PROCESS,
            _ if text.is_empty() => NODE_ANY,
            _ => NODE_PATTERNS,
        };
        let own = if kind == DEEP { NODE_LOOPS } else { 0 };
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.flags |= flags;
        }
        let (start, len) = (self.texts.len() as u32, text.len() as u16);
        self.texts.extend_from_slice(text);
        let (here, below) = (MixId::NONE, MixId::NONE);
        let text = Text { start, len, kind };
        self.nodes.push(Draft { parent, text, head, here, below, flags: own });
    }

    /// The trie, its nodes in the order of their parents.
    pub(super) fn finish(self) -> Trie {
        let Self { nodes, texts, places, has_deep, .. } = self;
        drop(places);
        // The root comes first, then its children, then those of the next node.
        let mut starts = vec![0_u32; nodes.len()];
        for node in nodes.iter().skip(1) {
            if let Some(count) = starts.get_mut(node.parent as usize) {
                *count += 1;
            }
        }
        let mut next = 1;
        for start in &mut starts {
            next += std::mem::replace(start, next);
        }
        let mut ends = starts.clone();
        let mut order = vec![Trie::ROOT; nodes.len()];
        for (node, number) in nodes.iter().zip(0..).skip(1) {
            if let Some(end) = ends.get_mut(node.parent as usize) {
                if let Some(place) = order.get_mut(*end as usize) {
                    *place = number;
                }
                *end += 1;
            }
        }
        let placed = |old: u32| {
            let old = old as usize;
            let Draft { text, here, below, flags, .. } = *nodes.get(old)?;
            let children = (*starts.get(old)?, *ends.get(old)?);
            Some(Node { here, below, flags, children, deep: 0, text })
        };
        let mut sorted = Vec::with_capacity(nodes.len());
        sorted.extend(order.into_iter().filter_map(placed));
        if has_deep {
            for parent in 0..sorted.len() {
                let (first, end) = sorted.get(parent).map_or((0, 0), |node| node.children);
                let mut children = (first..end)
                    .filter(|child| sorted.get(*child as usize).is_some_and(Node::is_deep));
                if let (Some(child), Some(node)) = (children.next(), sorted.get_mut(parent)) {
                    node.deep = child;
                }
            }
        }
        Trie { nodes: sorted, texts }
    }
}
