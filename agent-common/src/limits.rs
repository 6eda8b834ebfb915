//! The sizes that Remit promises or imposes, in one place.

/// Tools that one policy may name.
pub const TOOLS: usize = 256;
/// Sessions that may be live at once, one slot each.
pub const SESSIONS: usize = 1024;
/// Path patterns that one policy may name, over all its tools, denials and data.
pub const PATH_RULES: usize = 100_000;
/// Network endpoints (address range and port range) that one policy may name.
pub const NETWORK_RULES: usize = 10_000;
/// Distinct labels: combinations of tools by access right that some object has.
pub const LABELS: usize = 16_384;
/// Edges of the path trie, those of the live sessions' own rules included.
pub const EDGES: usize = 2_000_000;
/// Prefixes and suffixes of names with a `*`.
pub const AFFIXES: usize = 400_000;
/// Prefixes of port ranges, over all classes of addresses.
pub const PORTS: usize = 1_000_000;
/// Nested sessions: a child of a child, and so on.
pub const LINEAGE: usize = 8;
/// Bytes of the longest path that the kernel takes (`PATH_MAX`).
pub const PATH_BYTES: usize = 4096;
/// Components of the longest path that is walked: `PATH_MAX` of one-letter names.
pub const COMPONENTS: usize = 2048;
/// Bytes of the longest file name (`NAME_MAX`).
pub const NAME_BYTES: usize = 255;
/// Bytes of a name that one trie edge holds; longer names take several edges.
pub const CHUNK_BYTES: usize = 24;
/// Bytes of an affix that an LPM key can hold beside its node and kind (the kernel allows 256 in all).
pub const AFFIX_BYTES: usize = 248;
/// Walks that a path gets before it is given up as `unresolved`, because renames or mounts kept
/// happening meanwhile.
pub const WALKS: u32 = 64;
/// Policy tables that exist at once: the active one, the one before, and the one being filled. Three
/// would do; a power of two makes the index a mask.
pub const POLICY_SLOTS: usize = 4;
/// Ancestors of a process that an event names.
pub const ANCESTORS: usize = 8;
/// Bytes of the ring buffer that carries events.
pub const RING_BYTES: usize = 4 << 20;
