//! Walks compiled tables as the kernel does.

use std::cmp::Ordering;

use agent_common::{
    id::LabelId,
    limits::{AFFIX_BYTES, CHUNK_BYTES},
    rule::{
        AFFIX_PREFIX, AFFIX_SUFFIX, EDGE_AFFIXES, EDGE_CHUNK, EDGE_LAST, Edge, EdgeKey, NODE_ANY,
        NODE_LOOPS, NODE_OWN_PROCESS, NODE_PATTERNS, PORT_HEAD_BITS, PortKey,
    },
};

use crate::policy::tables::{Rules, Tables};

/// The order of edges in [`Rules`].
pub(super) fn edge_order((one, _): &(EdgeKey, Edge), (other, _): &(EdgeKey, Edge)) -> Ordering {
    key_order(one, other)
}

fn key_order(one: &EdgeKey, other: &EdgeKey) -> Ordering {
    // Compared as numbers: a hundred thousand edges are sorted, and comparing bytes would be a call each time.
    let head =
        |key: &EdgeKey| u64::from(key.node) << 32 | u64::from(key.kind) << 8 | u64::from(key.len);
    let (words, others) = (one.bytes.as_chunks::<8>().0, other.bytes.as_chunks::<8>().0);
    words.iter().zip(others).fold(head(one).cmp(&head(other)), |order, (word, other)| {
        order.then_with(|| u64::from_be_bytes(*word).cmp(&u64::from_be_bytes(*other)))
    })
}

/// The components of a path.
pub(super) fn components(path: &str) -> Vec<&[u8]> {
    path.split('/').filter(|part| !part.is_empty()).map(str::as_bytes).collect()
}

fn edge(rules: &Rules, key: &EdgeKey) -> Option<Edge> {
    let at = rules.edges.binary_search_by(|(other, _)| key_order(other, key)).ok()?;
    rules.edges.get(at).map(|(_, edge)| *edge)
}

/// The label of a path by one owner's rules. `own_process` says that its second component is the procfs folder of a
/// process of the session itself.
pub(super) fn path(rules: &Rules, root: u32, path: &[&[u8]], own_process: bool) -> LabelId {
    position(rules, root, path, own_process).map_or_else(|label| label, |at| at.here)
}

/// Where a path leads; the label, if no edge leads there.
pub(super) fn position(
    rules: &Rules,
    root: u32,
    path: &[&[u8]],
    own_process: bool,
) -> Result<Edge, LabelId> {
    let mut at = edge(rules, &EdgeKey::root(root)).ok_or(LabelId::NONE)?;
    for (number, name) in path.iter().enumerate() {
        at = step(rules, at, name, own_process && number == 1).ok_or(at.below)?;
    }
    Ok(at)
}

/// The step by one component. The procfs folder of a process of the session is recognized first; otherwise the name
/// counts.
fn step(rules: &Rules, at: Edge, name: &[u8], own_process: bool) -> Option<Edge> {
    if own_process && at.flags & NODE_OWN_PROCESS != 0 {
        return edge(rules, &EdgeKey::own_process(at.node));
    }
    let named = literal(rules, at.node, name).or_else(|| {
        if at.flags & NODE_ANY != 0 {
            return edge(rules, &EdgeKey::any(at.node));
        }
        if at.flags & NODE_PATTERNS == 0 {
            return None;
        }
        let reversed: Vec<u8> = name.iter().rev().copied().collect();
        let prefix = longest(rules, at.node, AFFIX_PREFIX, name)?;
        let suffix = longest(rules, at.node, AFFIX_SUFFIX, &reversed)?;
        let numbers = [prefix.to_ne_bytes(), suffix.to_ne_bytes()].concat();
        edge(rules, &key(at.node, EDGE_AFFIXES, &numbers))
    });
    named.or_else(|| (at.flags & NODE_LOOPS != 0).then_some(Edge { here: at.below, ..at }))
}

fn literal(rules: &Rules, mut node: u32, name: &[u8]) -> Option<Edge> {
    let mut rest = name;
    while let Some((chunk, more)) = rest.split_at_checked(CHUNK_BYTES) {
        if more.is_empty() {
            break;
        }
        node = edge(rules, &key(node, EDGE_CHUNK, chunk))?.node;
        rest = more;
    }
    edge(rules, &key(node, EDGE_LAST, rest))
}

fn key(node: u32, kind: u8, piece: &[u8]) -> EdgeKey {
    let mut bytes = [0; CHUNK_BYTES];
    for (to, from) in bytes.iter_mut().zip(piece) {
        *to = *from;
    }
    EdgeKey { node, kind, len: piece.len() as u8, reserved: [0; 2], bytes }
}

/// The number of the longest affix of a node that the text begins with.
fn longest(rules: &Rules, node: u32, kind: u32, text: &[u8]) -> Option<u32> {
    (0..=text.len().min(AFFIX_BYTES))
        .rev()
        .find_map(|len| rules.affixes.number(node, kind, text.get(..len)?))
}

/// The label of an endpoint. The address is IPv6, or IPv4 mapped into it.
pub(super) fn endpoint(tables: &Tables, address: u128, port: u16, flow: u16) -> LabelId {
    let within = |octets: [u8; 16], bits: u32| {
        let other = u128::from_be_bytes(octets);
        (address ^ other).checked_shr(128 - bits).unwrap_or(0) == 0
    };
    let class = tables
        .addresses
        .iter()
        .filter(|(key, bits, _)| within(key.octets, *bits))
        .max_by_key(|(_, bits, _)| *bits)
        .map(|(.., class)| *class);
    let Some(class) = class else { return LabelId::NONE };
    let matches = |key: &PortKey, bits: u32| {
        let other = u16::from_be_bytes(key.port);
        let free = 16 - (bits - PORT_HEAD_BITS);
        key.class == class
            && key.flow == flow
            && u32::from(port ^ other).checked_shr(free).unwrap_or(0) == 0
    };
    tables
        .ports
        .iter()
        .filter(|(key, bits, _)| matches(key, *bits))
        .max_by_key(|(_, bits, _)| *bits)
        .map_or(LabelId::NONE, |(.., label)| *label)
}
