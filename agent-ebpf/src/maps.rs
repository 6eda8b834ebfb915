//! Every map, and nothing else. Sizes come from `limits`; the daemon writes unless a comment says
//! otherwise.

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

/// Inner map of [`EDGE_TABLES`]: a step of the path trie → where it leads.
pub(crate) type Edges = HashMap<EdgeKey, Edge, EDGES, { BPF_F_NO_PREALLOC as usize }>;
/// Inner map of [`AFFIX_TABLES`]: an affix → its number.
pub(crate) type Affixes = LpmTrie<AffixKey, u32, AFFIXES>;
/// Inner map of [`LABEL_TABLES`]: a label's number → the label.
pub(crate) type Labels = Array<Label, LABELS>;
/// Inner map of [`ADDRESS_TABLES`]: an address → its class.
pub(crate) type Addresses = LpmTrie<AddressKey, u32, { NETWORK_RULES * 2 }>;
/// Inner map of [`PORT_TABLES`]: class, flow and port → the number of a label.
pub(crate) type Ports = LpmTrie<PortKey, u32, PORTS>;

/// Kernel task → its session. Written at fork by the kernel side, at a session's start by the daemon.
#[btf_map]
pub(crate) static TAGS: TaskStorage<Tag> = TaskStorage::new();

/// Address of a kernel task → its session, in place of [`TAGS`] where a task's storage can be lost. Written
/// by the kernel side.
#[btf_map]
pub(crate) static TAGS_BY_TASK: HashMap<u64, Tag, TASKS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Process id → its session, of processes that did something since they were made; for the daemon, with
/// [`TAGS_BY_TASK`]. Written by the kernel side.
#[btf_map]
pub(crate) static TAGS_BY_PROCESS: HashMap<u32, Tag, TASKS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Slot → the session's entry.
#[btf_map]
pub(crate) static SESSIONS_BY_SLOT: Array<Session, SLOTS> = Array::new();

/// Slot → until when each tool is held.
#[btf_map]
pub(crate) static EXPIRIES: Array<Expiries, SLOTS> = Array::new();

/// Slot → live tasks of its session. Written by the kernel side; the daemon counts the first.
#[btf_map]
pub(crate) static TASK_COUNTS: Array<u64, SLOTS> = Array::new();

/// Slot → until when its session makes no task, by the clock of expiries; zero for any time. While the daemon looks
/// through the session's processes.
#[btf_map]
pub(crate) static FORKS_HELD: Array<u64, SLOTS> = Array::new();

/// Slot → events that could not be delivered. Written by the kernel side.
#[btf_map]
pub(crate) static LOST_EVENTS: Array<u64, SLOTS> = Array::new();

/// Events so far (index 0), and those of the daemon's canary (index 1), which the log does not have: its
/// numbers would be gaps there. Written by the kernel side.
#[btf_map]
pub(crate) static SEQUENCE: Array<u64, 2> = Array::new();

/// The generation of the policy in force; zero while there is none. One write of it switches all tables at once.
#[unsafe(link_section = ".bss.active")]
static ACTIVE: Entries<u64, 1> = Entries::new();

/// The generation of the policy in force.
#[inline(always)]
pub(crate) fn active() -> u64 {
    // SAFETY: the value is valid; the daemon writes it as a whole.
    unsafe { ACTIVE.at(0).read_volatile() }
}

/// Address of the host's root dentry (index 0), and the process that the probe ran in (index 1). Written
/// by the probe.
#[btf_map]
pub(crate) static HOST_ROOT: Array<u64, 2> = Array::new();

/// Generation modulo `POLICY_SLOTS` → path trie.
#[btf_map]
pub(crate) static EDGE_TABLES: ArrayOfMaps<Edges, POLICY_SLOTS> = ArrayOfMaps::new();

/// Generation modulo `POLICY_SLOTS` → affixes.
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

/// Generation modulo `POLICY_SLOTS` → the tools whose loss kills who used them.
#[unsafe(link_section = ".bss.deadly")]
static DEADLY: Entries<ToolSet, POLICY_SLOTS> = Entries::new();

/// The tools of a policy whose loss kills who used them.
#[inline(always)]
pub(crate) fn deadly(generation: u32) -> ToolSet {
    let set = DEADLY.at(generation);
    // SAFETY: the value is valid; the daemon writes it before the policy is in force. Volatile: nothing here writes it,
    // and the compiler would take it for the zeroes that it is made of.
    let word = |word: usize| unsafe { (&raw const (*set).0[word]).read_volatile() };
    ToolSet(core::array::from_fn(word))
}

/// What was found to be allowed on files. Written by the kernel side.
#[unsafe(link_section = ".bss.files")]
pub(crate) static FILES: Entries<CachedRights, FILES_KEPT> = Entries::new();

/// Where the rules stand at folders. Written by the kernel side.
#[unsafe(link_section = ".bss.folders")]
pub(crate) static FOLDERS: Entries<CachedFolder, FOLDERS_KEPT> = Entries::new();

/// Endpoints that were found to be allowed. Written by the kernel side.
#[unsafe(link_section = ".bss.endpoints")]
pub(crate) static ENDPOINTS: Entries<CachedEndpoint, ENDPOINTS_KEPT> = Entries::new();

/// A socket's cookie → the session that made it, and what it is used for. Written by the kernel side.
#[unsafe(link_section = ".bss.sockets")]
pub(crate) static SOCKETS: Entries<OwnerEntry, SOCKETS_KEPT> = Entries::new();

/// Socket → the same, where [`SOCKETS`] had no place for it. A connection that a listening socket accepts
/// starts with a copy of what is here for the listener. Written by the kernel side.
#[btf_map]
pub(crate) static SOCKET_OWNERS: SocketStorage<Owner> = SocketStorage::new();

/// A connection to the control socket → the session whose process made it; nothing where none did. The daemon asks
/// by its descriptor of the connection. Written by the kernel side.
#[btf_map]
pub(crate) static CONNECTORS: SocketStorage<Tag> = SocketStorage::new();

/// Address of the dentry that the control socket is bound to (index 0); zero while the daemon has not told. Written
/// by the kernel side, by the program `given`.
#[btf_map]
pub(crate) static CONTROL_SOCKET: Array<u64, 1> = Array::new();

/// What sessions were given at their start. Written by the kernel side, by the program `given`.
#[btf_map]
pub(crate) static GIVEN_FILES: HashMap<GivenKey, Given, GIVEN, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// What the program `given` is to write down (index 0).
#[btf_map]
pub(crate) static GIVING: Array<Giving, 1> = Array::new();

/// Address of a System V object or of a key → the session that made it. Written by the kernel side.
#[btf_map]
pub(crate) static OBJECT_OWNERS: HashMap<u64, Tag, SHARED_OBJECTS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Address of what a process's threads share (`struct signal_struct`), which it keeps over an exec → its session and
/// the marks of what its threads used, also of those that have ended. Written by the kernel side.
#[btf_map]
pub(crate) static PROCESS_MARKS: HashMap<u64, Tag, TASKS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Slot → the tools whose loss kills that its session used, as a [`Used`]. Written by the kernel side; emptied by the
/// daemon for a new session.
#[btf_map]
pub(crate) static USED_MARKS: Array<Used, SLOTS> = Array::new();

/// Work areas, taken by whoever finds one free. Written by the kernel side.
#[btf_map]
pub(crate) static SCRATCH: Array<Scratch, SCRATCHES> = Array::new();

/// Refusals on their way to the daemon. Written by the kernel side.
#[btf_map]
pub(crate) static EVENTS: RingBuf<u8, RING_BYTES> = RingBuf::new();

/// Slots whose session's last task ended, for the daemon, which then looks at the counts. Written by the kernel side.
#[btf_map]
pub(crate) static VACANCIES: RingBuf<u32, VACANCY_BYTES> = RingBuf::new();

/// Slot → bytes of events that its sessions put into [`EVENTS`]. Written by the kernel side.
#[btf_map]
pub(crate) static SENT_BYTES: Array<u64, SLOTS> = Array::new();

/// Slot → of these, bytes that the daemon took out.
#[btf_map]
pub(crate) static TAKEN_BYTES: Array<u64, SLOTS> = Array::new();
