//! The policy as the kernel reads it: labels, the path trie and the endpoint tables.
//!
//! **Paths.** A path is matched component by component, from the root down, along one state of a
//! deterministic automaton. An [`EdgeKey`] names the state and the next piece of a name; the [`Edge`]
//! found gives the next state, and the labels of the path that ends there and of everything below. A
//! name of more than [`CHUNK_BYTES`] bytes takes several edges, so that names are always compared
//! whole. Where no literal edge leads on and the state has patterns, the longest matching prefix and
//! the longest matching suffix are looked up ([`AffixKey`]) and the pair leads to the next state; a lone `*` is one edge
//! ([`EDGE_ANY`]), and below a `**` in the middle of a pattern a state leads to itself ([`NODE_LOOPS`]). When
//! nothing leads on, the label is the last state's `below`. Names that a denial has are there a second time, in small
//! letters, for file systems to which `KEY` and `key` are one name.
//!
//! **Endpoints.** An address leads to a class by longest prefix ([`AddressKey`]); class, protocol,
//! direction and port lead to a label by longest prefix again ([`PortKey`]).

use crate::{
    access::Right,
    assert_layout,
    authority::ToolSet,
    id::LabelId,
    limits::{AFFIX_BYTES, CHUNK_BYTES},
};

/// What the policy says of one object.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    /// For each [`Right`], the tools that cover it.
    pub tools: [ToolSet; Right::COUNT],
    /// [`crate::access::Rights`] that are denied, whatever is held.
    pub denied: u8,
    /// Rights that every session has without a tool: Remit's own control socket.
    pub always: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// Sensitivities of the data, one bit each, as the policy numbers them.
    pub sensitivity: u32,
}

assert_layout!(Label, 264, 8);

impl Label {
    /// Covered by no rule.
    pub const NONE: Self = Self {
        tools: [ToolSet::EMPTY; Right::COUNT],
        denied: 0,
        always: 0,
        reserved: [0; 2],
        sensitivity: 0,
    };
}

/// The node from which every path is matched against the shared rules.
pub const SHARED_ROOT: u32 = 1;
/// The node from which a path is matched against a session's own rules: this plus the session's slot.
pub const SESSION_ROOT: u32 = 0x8000_0000;
/// A node with no edges. Also the node of an edge that only sets labels.
pub const NO_NODE: u32 = 0;

/// [`EdgeKey::kind`]: the rest of a name, `1..=CHUNK_BYTES` bytes.
pub const EDGE_LAST: u8 = 0;
/// [`EdgeKey::kind`]: the next [`CHUNK_BYTES`] bytes of a name that goes on.
pub const EDGE_CHUNK: u8 = 1;
/// [`EdgeKey::kind`]: a name by the pair of its affixes: two `u32` in native byte order, the prefix's
/// number and the suffix's.
pub const EDGE_AFFIXES: u8 = 2;
/// [`EdgeKey::kind`]: a folder of procfs that belongs to a process of the own session.
pub const EDGE_OWN_PROCESS: u8 = 3;
/// [`EdgeKey::kind`]: no name: the node itself. Only for root nodes.
pub const EDGE_ROOT: u8 = 4;
/// [`EdgeKey::kind`]: as [`EDGE_LAST`], in small letters (of ASCII): for folders in which case makes no other name.
pub const EDGE_FOLDED: u8 = 5;
/// [`EdgeKey::kind`]: as [`EDGE_CHUNK`], in small letters.
pub const EDGE_FOLDED_CHUNK: u8 = 6;
/// [`EdgeKey::kind`]: every name that no other edge is for. Only for nodes with [`NODE_ANY`].
pub const EDGE_ANY: u8 = 7;

/// A step of the path trie.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    /// Where the step starts.
    pub node: u32,
    /// One of the `EDGE_` constants.
    pub kind: u8,
    /// Bytes used of `bytes`.
    pub len: u8,
    /// Zero.
    pub reserved: [u8; 2],
    /// The piece of the name, zero after `len`.
    pub bytes: [u8; CHUNK_BYTES],
}

assert_layout!(EdgeKey, 32, 4);

impl EdgeKey {
    /// The key of a root node's own labels.
    pub const fn root(node: u32) -> Self {
        Self { node, kind: EDGE_ROOT, len: 0, reserved: [0; 2], bytes: [0; CHUNK_BYTES] }
    }

    /// The key of the step into a procfs folder of the own session.
    pub const fn own_process(node: u32) -> Self {
        Self { node, kind: EDGE_OWN_PROCESS, len: 0, reserved: [0; 2], bytes: [0; CHUNK_BYTES] }
    }

    /// The key of the step by every name that no other edge is for.
    pub const fn any(node: u32) -> Self {
        Self { node, kind: EDGE_ANY, len: 0, reserved: [0; 2], bytes: [0; CHUNK_BYTES] }
    }
}

/// [`Edge::flags`]: the node has patterns: prefixes and suffixes to look up when no literal edge fits.
pub const NODE_PATTERNS: u32 = 1;
/// [`Edge::flags`]: the node has an [`EDGE_OWN_PROCESS`] edge.
pub const NODE_OWN_PROCESS: u32 = 2;

/// [`Edge::flags`]: something is denied at or below names that the node has; those have an [`EDGE_FOLDED`] too.
pub const NODE_DENIED_NAMES: u32 = 4;
/// [`Edge::flags`]: something is denied at or below a pattern of the node.
pub const NODE_DENIED_PATTERNS: u32 = 8;
/// [`Edge::flags`]: the node has an [`EDGE_ANY`] edge, and no prefixes and suffixes.
pub const NODE_ANY: u32 = 16;
/// [`Edge::flags`]: a name that no edge is for leads to the node itself, with the label of what is below.
pub const NODE_LOOPS: u32 = 32;

/// Where a step leads.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The next node, or [`NO_NODE`].
    pub node: u32,
    /// `NODE_` flags of that node.
    pub flags: u32,
    /// The label of the path that ends here. Meaningless for a chunk that is not a name's last.
    pub here: LabelId,
    /// The label of every path below for which nothing better is said.
    pub below: LabelId,
}

assert_layout!(Edge, 16, 4);

/// [`AffixKey::kind`]: `bytes` begins like the name.
pub const AFFIX_PREFIX: u32 = 0;
/// [`AffixKey::kind`]: `bytes` is the end of the name, last byte first.
pub const AFFIX_SUFFIX: u32 = 1;
/// Bits of an [`AffixKey`] before its bytes.
pub const AFFIX_HEAD_BITS: u32 = 64;

/// The key of the longest-prefix table of affixes, without the leading prefix length that the map type
/// adds: node and kind are always matched whole, then as many bytes as the entry has. The value is the
/// affix's number (`u32`), by which [`EDGE_AFFIXES`] names it; the empty affix of each kind is an
/// entry too, so a node with patterns always finds one.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AffixKey {
    /// The node whose patterns they are.
    pub node: u32,
    /// `AFFIX_PREFIX` or `AFFIX_SUFFIX`.
    pub kind: u32,
    /// The affix, zero after its end.
    pub bytes: [u8; AFFIX_BYTES],
}

assert_layout!(AffixKey, 256, 4);

/// The key of the longest-prefix table of addresses: IPv6, or IPv4 mapped into it (`::ffff:a.b.c.d`).
/// The value is the address's class (`u32`), never zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressKey {
    /// Network byte order.
    pub octets: [u8; 16],
}

assert_layout!(AddressKey, 16, 1);

/// [`PortKey::flow`]: TCP, outgoing.
pub const FLOW_TCP_CONNECT: u16 = 0;
/// [`PortKey::flow`]: UDP, outgoing.
pub const FLOW_UDP_CONNECT: u16 = 1;
/// [`PortKey::flow`]: TCP, listening.
pub const FLOW_TCP_LISTEN: u16 = 2;
/// [`PortKey::flow`]: UDP, bound to a port of its own choice.
pub const FLOW_UDP_LISTEN: u16 = 3;
/// Bits of a [`PortKey`] before its port.
pub const PORT_HEAD_BITS: u32 = 48;

/// The key of the longest-prefix table of ports. The value is a label's number (`u32`); a port that no
/// entry matches has [`LabelId::NONE`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortKey {
    /// The address's class.
    pub class: u32,
    /// A `FLOW_` constant, native byte order: always matched whole.
    pub flow: u16,
    /// Network byte order, so that a range of ports is a few prefixes.
    pub port: [u8; 2],
}

assert_layout!(PortKey, 8, 4);

/// How far the matching of a path has come, in one automaton.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The node reached.
    pub node: u32,
    /// Its flags.
    pub flags: u32,
    /// Label of the path that ends here.
    pub here: u32,
    /// Label of what is below and not named.
    pub below: u32,
    /// Zero once no edge fitted.
    pub alive: u64,
}

assert_layout!(Position, 24, 8);

impl Position {
    /// Covered by no rule, and nothing below is.
    pub const NOWHERE: Self = Self { node: NO_NODE, flags: 0, here: 0, below: 0, alive: 0 };

    /// Whether an edge may lead on from here.
    #[inline(always)]
    pub fn leads_on(&self) -> bool {
        self.alive != 0 && self.node != NO_NODE
    }
}
