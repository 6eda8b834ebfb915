//! The sizes that Remit promises or imposes, in one place.

/// Tools that one policy may name.
pub const TOOLS: usize = 256;
/// Sessions that may be live at once, one slot each.
pub const SESSIONS: usize = 1024;
/// Slots in all: one for each session, and one of the daemon's own for its canary.
pub const SLOTS: usize = SESSIONS + 1;
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
/// Mounts of one file system that are looked through for those that reach a file; mounts of other namespaces count
/// too.
pub const MOUNTS: u32 = 65_536;
/// How many of the mounts that reach a file are tried.
pub const WAYS: u32 = 8;
/// Policy tables that exist at once: the active one, the one before, and the one being filled. Three
/// would do; a power of two makes the index a mask.
pub const POLICY_SLOTS: usize = 4;
/// Ancestors of a process that an event names.
pub const ANCESTORS: usize = 8;
/// Bytes of the ring buffer that carries events.
pub const RING_BYTES: usize = 4 << 20;
/// How much of that buffer a session may fill: this many times what is free. One session alone gets two thirds, two
/// get two fifths each, and there is always room for a session that was quiet so far.
pub const RING_SHARE: u64 = 2;
/// Bytes of that buffer that only the daemon's canary gets: more than all its refusals in a run take.
pub const RING_RESERVE: u64 = 64 << 10;
/// Bytes of the ring buffer that tells the daemon of sessions without tasks: a page, the smallest size. If it is
/// full, the daemon looks at all sessions anyway.
pub const VACANCY_BYTES: usize = 4096;
/// Cached decisions on files, over all sessions; a power of two.
pub const FILES_KEPT: usize = 16_384;
/// Cached folders, over all sessions; a power of two.
pub const FOLDERS_KEPT: usize = 4_096;
/// Cached decisions on endpoints, over all sessions; a power of two.
pub const ENDPOINTS_KEPT: usize = 4_096;
/// Sockets whose owner lies in an array, over all sessions; a power of two. Others have it in their own storage.
pub const SOCKETS_KEPT: usize = 8_192;
/// Tagged tasks at once, on kernels that lose a task's storage; on all kernels, processes that used a kill-on-revoke
/// tool.
pub const TASKS: usize = 65_536;
/// Descriptors that a session can be given at its start, the standard ones included.
pub const PASSED: usize = 64;
/// Files that all sessions together were given.
pub const GIVEN: usize = 65_536;
/// System V objects and keys that live sessions made.
pub const SHARED_OBJECTS: usize = 65_536;
