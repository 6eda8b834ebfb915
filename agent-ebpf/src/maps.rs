//! Every map, and nothing else. Sizes come from `limits`; the daemon writes unless a comment says
//! otherwise.

use agent_common::{
    authority::{Expiries, Session},
    cache::CachedRights,
    id::Tag,
    limits::{AFFIXES, EDGES, LABELS, NETWORK_RULES, POLICY_SLOTS, PORTS, RING_BYTES, SESSIONS},
    rule::{AddressKey, AffixKey, Edge, EdgeKey, Label, PortKey},
};
use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, ArrayOfMaps, HashMap, InodeStorage, LpmTrie, RingBuf, SkStorage},
    macros::btf_map,
};

use crate::{
    scratch::{SCRATCHES, Scratch},
    task_storage::TaskStorage,
};

/// Inner map of [`EDGE_TABLES`]: a step of the path trie → where it leads.
pub type Edges = HashMap<EdgeKey, Edge, EDGES, { BPF_F_NO_PREALLOC as usize }>;
/// Inner map of [`AFFIX_TABLES`]: an affix → its number.
pub type Affixes = LpmTrie<AffixKey, u32, AFFIXES>;
/// Inner map of [`LABEL_TABLES`]: a label's number → the label.
pub type Labels = Array<Label, LABELS>;
/// Inner map of [`ADDRESS_TABLES`]: an address → its class.
pub type Addresses = LpmTrie<AddressKey, u32, { NETWORK_RULES * 2 }>;
/// Inner map of [`PORT_TABLES`]: class, flow and port → the number of a label.
pub type Ports = LpmTrie<PortKey, u32, PORTS>;

/// Kernel task → its session. Written at fork by the kernel side, at a session's start by the daemon.
#[btf_map]
pub static TAGS: TaskStorage<Tag> = TaskStorage::new();

/// Slot → the session's entry.
#[btf_map]
pub static SESSIONS_BY_SLOT: Array<Session, SESSIONS> = Array::new();

/// Slot → until when each tool is held.
#[btf_map]
pub static EXPIRIES: Array<Expiries, SESSIONS> = Array::new();

/// Slot → live tasks of its session. Written by the kernel side; the daemon counts the first.
#[btf_map]
pub static TASK_COUNTS: Array<u64, SESSIONS> = Array::new();

/// Slot → events that could not be delivered. Written by the kernel side.
#[btf_map]
pub static LOST_EVENTS: Array<u64, SESSIONS> = Array::new();

/// Events so far (index 0). Written by the kernel side.
#[btf_map]
pub static SEQUENCE: Array<u64, 1> = Array::new();

/// The generation of the policy in force (index 0); zero while there is none. One write of it switches
/// all tables at once.
#[btf_map]
pub static ACTIVE: Array<u64, 1> = Array::new();

/// Address of the host's root dentry (index 0), and the process that the probe ran in (index 1). Written
/// by the probe.
#[btf_map]
pub static HOST_ROOT: Array<u64, 2> = Array::new();

/// Generation modulo `POLICY_SLOTS` → path trie.
#[btf_map]
pub static EDGE_TABLES: ArrayOfMaps<Edges, POLICY_SLOTS> = ArrayOfMaps::new();

/// Generation modulo `POLICY_SLOTS` → affixes.
#[btf_map]
pub static AFFIX_TABLES: ArrayOfMaps<Affixes, POLICY_SLOTS> = ArrayOfMaps::new();

/// Generation modulo `POLICY_SLOTS` → labels.
#[btf_map]
pub static LABEL_TABLES: ArrayOfMaps<Labels, POLICY_SLOTS> = ArrayOfMaps::new();

/// Generation modulo `POLICY_SLOTS` → address ranges.
#[btf_map]
pub static ADDRESS_TABLES: ArrayOfMaps<Addresses, POLICY_SLOTS> = ArrayOfMaps::new();

/// Generation modulo `POLICY_SLOTS` → port ranges.
#[btf_map]
pub static PORT_TABLES: ArrayOfMaps<Ports, POLICY_SLOTS> = ArrayOfMaps::new();

/// Inode → what was last found to be allowed on it. Written by the kernel side.
#[btf_map]
pub static CACHED_RIGHTS: InodeStorage<CachedRights> = InodeStorage::new();

/// Socket → the session that made it. Written by the kernel side.
#[btf_map]
pub static SOCKET_OWNERS: SkStorage<Tag> = SkStorage::new();

/// Work areas, taken by whoever finds one free. Written by the kernel side.
#[btf_map]
pub static SCRATCH: Array<Scratch, SCRATCHES> = Array::new();

/// Refusals on their way to the daemon. Written by the kernel side.
#[btf_map]
pub static EVENTS: RingBuf<u8, RING_BYTES> = RingBuf::new();
