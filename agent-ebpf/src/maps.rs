//! All maps, and nothing else. Sizes come from `limits`. The daemon writes, unless a comment says otherwise.

use agent_common::{
    authority::{Expiries, Session, ToolSet},
    cache::{CachedEndpoint, CachedFolder, CachedRights},
    given::{Given, GivenKey, Giving},
    id::Tag,
    limits::{
        AFFIXES, EDGES, ENDPOINTS_KEPT, FILES_KEPT, FOLDERS_KEPT, GIVEN, LABELS, NETWORK_RULES,
        POLICY_SLOTS, PORTS, RING_BYTES, SHARED_OBJECTS, SLOTS, SOCKETS_KEPT, TASKS, VACANCY_BYTES,
    },
    mark::Used,
    rule::{AddressKey, AffixKey, Edge, EdgeKey, Label, PortKey},
};
use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, ArrayOfMaps, HashMap, LpmTrie, RingBuf},
    macros::btf_map,
};

use crate::{
    entries::Entries,
    socket_storage::SocketStorage,
    task_storage::TaskStorage,
    values::{Owner, OwnerEntry, SCRATCHES, Scratch},
};

/// Inner map of [`EDGE_TABLES`]: a step of the path automaton → where it leads.
pub(crate) type Edges = HashMap<EdgeKey, Edge, EDGES, { BPF_F_NO_PREALLOC as usize }>;
/// Inner map of [`AFFIX_TABLES`]: a prefix or suffix of names → its number.
pub(crate) type Affixes = LpmTrie<AffixKey, u32, AFFIXES>;
/// Inner map of [`LABEL_TABLES`]: a label's number → the label.
pub(crate) type Labels = Array<Label, LABELS>;
/// Inner map of [`ADDRESS_TABLES`]: an address → its class.
pub(crate) type Addresses = LpmTrie<AddressKey, u32, { NETWORK_RULES * 2 }>;
/// Inner map of [`PORT_TABLES`]: class, flow and port → the number of a label.
pub(crate) type Ports = LpmTrie<PortKey, u32, PORTS>;

/// Kernel task → its session. Written by the programs at a fork, and by the daemon at a session's start.
#[btf_map]
pub(crate) static TAGS: TaskStorage<Tag> = TaskStorage::new();

/// Address of a kernel task → its session, instead of [`TAGS`] on kernels that can lose a task's storage. Written by
/// the programs.
#[btf_map]
pub(crate) static TAGS_BY_TASK: HashMap<u64, Tag, TASKS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Process id → its session, with [`TAGS_BY_TASK`], for processes that did something since they were made: for the
/// daemon. Written by the programs.
#[btf_map]
pub(crate) static TAGS_BY_PROCESS: HashMap<u32, Tag, TASKS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Slot → the session's entry.
#[btf_map]
pub(crate) static SESSIONS_BY_SLOT: Array<Session, SLOTS> = Array::new();

/// Slot → the expiry of each tool.
#[btf_map]
pub(crate) static EXPIRIES: Array<Expiries, SLOTS> = Array::new();

/// Slot → how many tasks its session has. Written by the programs; the daemon counts the first task.
#[btf_map]
pub(crate) static TASK_COUNTS: Array<u64, SLOTS> = Array::new();

/// Slot → until when its session can't fork, by the clock of expiries; zero if it can. Set while the daemon looks
/// through the session's processes.
#[btf_map]
pub(crate) static FORKS_HELD: Array<u64, SLOTS> = Array::new();

/// Slot → how many events could not be delivered. Written by the programs.
#[btf_map]
pub(crate) static LOST_EVENTS: Array<u64, SLOTS> = Array::new();

/// How many events there were (index 0), and how many of the daemon's canary (index 1). The log does not have the
/// latter, whose numbers would be gaps there. Written by the programs.
#[btf_map]
pub(crate) static SEQUENCE: Array<u64, 2> = Array::new();

/// The generation of the policy in force; zero while there is none. One write of it switches all tables at once.
#[unsafe(link_section = ".bss.active")]
static ACTIVE: Entries<u64, 1> = Entries::new();

/// The generation of the policy in force.
#[inline(always)]
pub(crate) fn active() -> u64 {
    // SAFETY: the value is valid, and the daemon writes it whole.
    unsafe { ACTIVE.at(0).read_volatile() }
}

/// Address of the host's root dentry (index 0), and the id of the process that the probe ran in (index 1). Written
/// by the probe.
#[btf_map]
pub(crate) static HOST_ROOT: Array<u64, 2> = Array::new();

/// Generation modulo `POLICY_SLOTS` → the path automaton.
#[btf_map]
pub(crate) static EDGE_TABLES: ArrayOfMaps<Edges, POLICY_SLOTS> = ArrayOfMaps::new();

/// Generation modulo `POLICY_SLOTS` → prefixes and suffixes.
#[btf_map]
pub(crate) static AFFIX_TABLES: ArrayOfMaps<Affixes, POLICY_SLOTS> = ArrayOfMaps::new();

/// Generation modulo `POLICY_SLOTS` → labels.
#[btf_map]
pub(crate) static LABEL_TABLES: ArrayOfMaps<Labels, POLICY_SLOTS> = ArrayOfMaps::new();

/// Generation modulo `POLICY_SLOTS` → address ranges.
#[btf_map]
pub(crate) static ADDRESS_TABLES: ArrayOfMaps<Addresses, POLICY_SLOTS> = ArrayOfMaps::new();

/// Generation modulo `POLICY_SLOTS` → port ranges.
#[btf_map]
pub(crate) static PORT_TABLES: ArrayOfMaps<Ports, POLICY_SLOTS> = ArrayOfMaps::new();

/// Generation modulo `POLICY_SLOTS` → the tools with which set-id programs keep their privilege.
#[btf_map]
pub(crate) static SET_ID_TOOLS: Array<ToolSet, POLICY_SLOTS> = Array::new();

/// Generation modulo `POLICY_SLOTS` → the kill-on-revoke tools: their loss kills the processes that used them.
#[unsafe(link_section = ".bss.deadly")]
static DEADLY: Entries<ToolSet, POLICY_SLOTS> = Entries::new();

/// The kill-on-revoke tools of a policy.
#[inline(always)]
pub(crate) fn deadly(generation: u32) -> ToolSet {
    let set = DEADLY.at(generation);
    // SAFETY: the value is valid; the daemon writes it before the policy is in force. Volatile: nothing here writes it,
    // and the compiler would take it for the zeroes that it is made of.
    let word = |word: usize| unsafe { (&raw const (*set).0[word]).read_volatile() };
    ToolSet(core::array::from_fn(word))
}

/// Rights on files that were allowed. Written by the programs.
#[unsafe(link_section = ".bss.files")]
pub(crate) static FILES: Entries<CachedRights, FILES_KEPT> = Entries::new();

/// Positions of the rules at folders. Written by the programs.
#[unsafe(link_section = ".bss.folders")]
pub(crate) static FOLDERS: Entries<CachedFolder, FOLDERS_KEPT> = Entries::new();

/// Endpoints that were allowed. Written by the programs.
#[unsafe(link_section = ".bss.endpoints")]
pub(crate) static ENDPOINTS: Entries<CachedEndpoint, ENDPOINTS_KEPT> = Entries::new();

/// A socket's cookie → the session that made it, and its roles. Written by the programs.
#[unsafe(link_section = ".bss.sockets")]
pub(crate) static SOCKETS: Entries<OwnerEntry, SOCKETS_KEPT> = Entries::new();

/// Socket → the same, for sockets whose place in [`SOCKETS`] was taken. A connection that a listening socket accepts
/// starts with a copy of the listening socket's value. Written by the programs.
#[btf_map]
pub(crate) static SOCKET_OWNERS: SocketStorage<Owner> = SocketStorage::new();

/// A connection to the control socket → the session that made it; nothing if no session did. The daemon asks by its
/// descriptor of the connection. Written by the programs.
#[btf_map]
pub(crate) static CONNECTORS: SocketStorage<Tag> = SocketStorage::new();

/// Address of the control socket's dentry (index 0); zero while it is unknown. Written by the program `given`.
#[btf_map]
pub(crate) static CONTROL_SOCKET: Array<u64, 1> = Array::new();

/// Files that sessions were given at their start. Written by the program `given`.
#[btf_map]
pub(crate) static GIVEN_FILES: HashMap<GivenKey, Given, GIVEN, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// What the program `given` is to record (index 0).
#[btf_map]
pub(crate) static GIVING: Array<Giving, 1> = Array::new();

/// Address of a System V object or of a key → the session that made it. Written by the programs.
#[btf_map]
pub(crate) static OBJECT_OWNERS: HashMap<u64, Tag, SHARED_OBJECTS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Address of what a process's threads share (`struct signal_struct`), which stays the same over an exec → its
/// session, and the marks of what its threads used, also those that have ended. Written by the programs.
#[btf_map]
pub(crate) static PROCESS_MARKS: HashMap<u64, Tag, TASKS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Slot → which kill-on-revoke tools its session has used, as a [`Used`]. Written by the programs; cleared by the
/// daemon for a new session.
#[btf_map]
pub(crate) static USED_MARKS: Array<Used, SLOTS> = Array::new();

/// Work areas. Written by the programs.
#[btf_map]
pub(crate) static SCRATCH: Array<Scratch, SCRATCHES> = Array::new();

/// Refusals on their way to the daemon. Written by the programs.
#[btf_map]
pub(crate) static EVENTS: RingBuf<u8, RING_BYTES> = RingBuf::new();

/// Slots whose session's last task ended, for the daemon, which then looks at [`TASK_COUNTS`]. Written by the
/// programs.
#[btf_map]
pub(crate) static VACANCIES: RingBuf<u32, VACANCY_BYTES> = RingBuf::new();

/// Slot → how many bytes of events its sessions put into [`EVENTS`]. Written by the programs.
#[btf_map]
pub(crate) static SENT_BYTES: Array<u64, SLOTS> = Array::new();

/// Slot → how many of these bytes the daemon took out.
#[btf_map]
pub(crate) static TAKEN_BYTES: Array<u64, SLOTS> = Array::new();
