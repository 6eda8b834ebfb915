//! A compiled policy: the contents of the kernel's maps as plain data.

use std::cmp::Ordering;

use agent_common::{
    authority::ToolSet,
    id::LabelId,
    limits::AFFIX_BYTES,
    rule::{AFFIX_HEAD_BITS, AddressKey, AffixKey, Edge, EdgeKey, Label, PortKey},
};

/// Path rules of one owner (the shared ones, or one session's own), compiled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Steps of the path trie, in the order of their keys.
    pub edges: Vec<(EdgeKey, Edge)>,
    /// Prefixes and suffixes of names.
    pub affixes: Affixes,
    /// Labels that the tables don't have yet, with their numbers.
    pub labels: Vec<(LabelId, Label)>,
}

/// A whole policy, compiled.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Path rules: the shared ones and those of every live session. `labels` has all labels.
    pub rules: Rules,
    /// Address ranges: key, prefix length in bits (of 128), class.
    pub addresses: Vec<(AddressKey, u32, u32)>,
    /// Port ranges: key, bits of it that count (`PORT_HEAD_BITS` + 0 to 16), label.
    pub ports: Vec<(PortKey, u32, LabelId)>,
    /// The tools with which set-id programs keep their privilege.
    pub set_id: ToolSet,
    /// The tools whose loss kills the processes that used them (`on_revoke`).
    pub kill_tools: ToolSet,
}

/// Prefixes and suffixes of names. There may be four hundred thousand, most of a few bytes, and a kernel key has room
/// for the longest. So here their texts are stored one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affixes {
    list: Vec<Affix>,
    texts: Vec<u8>,
}

/// One affix: node, kind, number, and the place of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Affix {
    node: u32,
    kind: u32,
    number: u32,
    start: u32,
    len: u32,
}

impl Affix {
    fn text<'t>(&self, texts: &'t [u8]) -> &'t [u8] {
        let start = self.start as usize;
        texts.get(start..start + self.len as usize).unwrap_or_default()
    }

    fn order(&self, node: u32, kind: u32, text: &[u8], texts: &[u8]) -> Ordering {
        let head = (self.node, self.kind, self.len).cmp(&(node, kind, text.len() as u32));
        head.then_with(|| self.text(texts).cmp(text))
    }
}

impl Affixes {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All, in the kernel's form: key, length of the key in bits (`AFFIX_HEAD_BITS` + 8 × bytes), number.
    pub fn iter(&self) -> impl Iterator<Item = (AffixKey, u32, u32)> {
        self.list.iter().map(|affix| {
            let mut bytes = [0; AFFIX_BYTES];
            for (to, from) in bytes.iter_mut().zip(affix.text(&self.texts)) {
                *to = *from;
            }
            let key = AffixKey { node: affix.node, kind: affix.kind, bytes };
            (key, AFFIX_HEAD_BITS + 8 * affix.len, affix.number)
        })
    }

    /// Adds one at the end.
    pub(super) fn push(&mut self, node: u32, kind: u32, text: &[u8], number: u32) {
        let (start, len) = (self.texts.len() as u32, text.len() as u32);
        self.texts.extend_from_slice(text);
        self.list.push(Affix { node, kind, number, start, len });
    }

    /// Adds others at the end.
    pub(super) fn extend(&mut self, others: &Self) {
        for affix in &others.list {
            self.push(affix.node, affix.kind, affix.text(&others.texts), affix.number);
        }
    }

    /// Puts them in order: by node, kind, length and text.
    pub(super) fn sort(&mut self) {
        let Self { list, texts } = self;
        // The stable sort is quick if they are nearly in order already.
        list.sort_by(|one, other| one.order(other.node, other.kind, other.text(texts), texts));
    }

    /// The number of one, if they are in order.
    pub(super) fn number(&self, node: u32, kind: u32, text: &[u8]) -> Option<u32> {
        let order = |affix: &Affix| affix.order(node, kind, text, &self.texts);
        let at = self.list.binary_search_by(order).ok()?;
        self.list.get(at).map(|affix| affix.number)
    }
}
