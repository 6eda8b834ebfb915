//! The kernel's tables of one generation of the policy: made and filled here, and the outer arrays that hold the tables
//! of all generations. It must not know which generation is in force.

use std::{os::fd::AsFd as _, path::Path};

use agent_common::{
    id::LabelId,
    limits::{AFFIXES, EDGES, LABELS, NETWORK_RULES, POLICY_SLOTS, PORTS},
    rule::{AddressKey, AffixKey, Edge, EdgeKey, Label, PortKey},
};
use aya::maps::{Array, HashMap, MapData, MapError, lpm_trie, lpm_trie::LpmTrie};

use super::{
    error::{LoadError, chain},
    sys,
};
use crate::policy::tables::{Rules, Tables};

/// `BPF_F_NO_PREALLOC` (include/uapi/linux/bpf.h).
const NO_PREALLOC: u32 = 1;

pub(super) type Edges = HashMap<MapData, EdgeKey, Edge>;
type Affixes = LpmTrie<MapData, AffixKey, u32>;
type Labels = Array<MapData, Label>;
type Addresses = LpmTrie<MapData, AddressKey, u32>;
type Ports = LpmTrie<MapData, PortKey, u32>;

/// The path tables of one generation. Sessions add their own rules when they start and remove them when they end.
pub(super) struct Active {
    /// Their index in the outer arrays.
    pub(super) place: u32,
    pub(super) edges: Edges,
    /// How many edges they have.
    pub(super) filled: usize,
    /// How many edges they have room for.
    pub(super) room: usize,
    pub(super) affixes: Affixes,
    pub(super) labels: Labels,
}

/// Makes and pins the outer arrays that do not exist yet. The loader would make them too, but with type information in
/// their inner maps, and 6.1 then accepts no inner map without it (`bpf_map_meta_equal`, kernel/bpf/map_in_map.c).
///
/// # Errors
/// What the kernel refused.
pub(super) fn pin_outer(maps: &Path) -> Result<(), LoadError> {
    let tables = [
        ("EDGE_TABLES", inner::<EdgeKey, Edge>(HASH, EDGES, NO_PREALLOC)),
        ("AFFIX_TABLES", inner::<lpm_trie::Key<AffixKey>, u32>(LPM_TRIE, AFFIXES, NO_PREALLOC)),
        ("LABEL_TABLES", inner::<u32, Label>(ARRAY, LABELS, 0)),
        (
            "ADDRESS_TABLES",
            inner::<lpm_trie::Key<AddressKey>, u32>(LPM_TRIE, ADDRESSES, NO_PREALLOC),
        ),
        ("PORT_TABLES", inner::<lpm_trie::Key<PortKey>, u32>(LPM_TRIE, PORTS, NO_PREALLOC)),
    ];
    for (name, inner) in tables {
        let failed = |reason: String| LoadError::Pin { name: name.to_owned(), reason };
        let path = maps.join(name);
        if !path.exists() {
            let inner = inner.map_err(|error| failed(chain(&error)))?;
            sys::pin_array_of_maps(inner.fd().as_fd(), POLICY_SLOTS as u32, &path)
                .map_err(|error| failed(error.to_string()))?;
        }
    }
    Ok(())
}

/// Map types (`enum bpf_map_type`, include/uapi/linux/bpf.h).
const HASH: u32 = 1;
const ARRAY: u32 = 2;
const LPM_TRIE: u32 = 11;
/// Address ranges in a table: one for each rule, and as many again for ranges that overlap.
const ADDRESSES: usize = NETWORK_RULES * 2;

/// An empty table, as the pattern for the inner maps of an outer array.
fn inner<K, V>(kind: u32, entries: usize, flags: u32) -> Result<MapData, MapError> {
    let (key, value) = (size_of::<K>() as u32, size_of::<V>() as u32);
    let map = aya_obj::Map::new_from_params(kind, key, value, entries as u32, flags);
    MapData::create(map, "table", None)
}

/// The network tables of one generation.
pub(super) struct Network {
    pub(super) addresses: Addresses,
    pub(super) ports: Ports,
}

/// The least room for edges, enough for most hosts: half a megabyte of empty buckets.
const LEAST_EDGES: usize = 1 << 15;

/// The room for so many edges: twice as much, for sessions to come. Not the maximum from the start: that would be 32
/// megabytes of buckets to clear for each policy.
fn room_for(edges: usize) -> usize {
    (2 * edges).next_power_of_two().clamp(LEAST_EDGES, EDGES)
}

impl Active {
    pub(super) fn new(place: u32, rules: &Rules) -> Result<Self, MapError> {
        let room = room_for(rules.edges.len());
        let mut active = Self {
            place,
            edges: HashMap::create(room as u32, NO_PREALLOC)?,
            filled: 0,
            room,
            affixes: LpmTrie::create(AFFIXES as u32, NO_PREALLOC)?,
            labels: Array::create(LABELS as u32, 0)?,
        };
        active.fill(rules)?;
        Ok(active)
    }

    /// Adds rules, which must fit: labels first, then the entries that refer to them.
    pub(super) fn fill(&mut self, rules: &Rules) -> Result<(), MapError> {
        for (id, label) in &rules.labels {
            self.labels.set(id.0, label, 0)?;
        }
        for (key, bits, number) in rules.affixes.iter() {
            self.affixes.insert(&lpm_trie::Key::new(bits, key), number, 0)?;
        }
        for (key, edge) in &rules.edges {
            self.edges.insert(key, edge, 0)?;
            self.filled += 1;
        }
        Ok(())
    }

    /// A copy of the edges with room for so many more.
    pub(super) fn larger(&self, more: usize) -> Result<(Edges, usize), MapError> {
        let room = room_for(self.filled + more);
        let mut edges = Edges::create(room as u32, NO_PREALLOC)?;
        for entry in self.edges.iter() {
            let (key, edge) = entry?;
            edges.insert(key, edge, 0)?;
        }
        Ok((edges, room))
    }
}

impl Network {
    pub(super) fn new(tables: &Tables) -> Result<Self, MapError> {
        let mut addresses: Addresses = LpmTrie::create(ADDRESSES as u32, NO_PREALLOC)?;
        for (key, bits, class) in &tables.addresses {
            addresses.insert(&lpm_trie::Key::new(*bits, *key), class, 0)?;
        }
        let mut ports: Ports = LpmTrie::create(PORTS as u32, NO_PREALLOC)?;
        for (key, bits, LabelId(label)) in &tables.ports {
            ports.insert(&lpm_trie::Key::new(*bits, *key), label, 0)?;
        }
        Ok(Self { addresses, ports })
    }
}
