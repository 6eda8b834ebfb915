//! The checks that hooks ask for: object in, verdict out. The only caller of the decision.
//!
//! **What an error means.** For a tagged task everything that goes wrong on the way (no work area, no
//! table, no session entry) refuses; nothing is ever decided for an untagged one.

use core::{ffi::c_void, ptr};

use agent_common::{
    access::Rights,
    authority::{Expiries, Mode, State, ToolSet},
    decision::{self, Reason},
    event::Operation,
    id::{BootNanos, LabelId, Tag},
    limits::{POLICY_SLOTS, TOOLS},
    rule::{AddressKey, Label, PORT_HEAD_BITS, PortKey},
};
use aya_ebpf::{btf_maps::lpm_trie::Key, helpers::generated::bpf_loop};

use crate::{
    cache::{self, Basis},
    emit,
    kernel::{self, Changes, Place},
    maps::{ACTIVE, ADDRESS_TABLES, EXPIRIES, LABEL_TABLES, PORT_TABLES, SESSIONS_BY_SLOT},
    matching,
    scratch::{self, Scratch},
    walk,
};

/// What a refused file or network operation returns (`EACCES`).
pub const EACCES: i32 = -13;
/// What a refused privileged act returns (`EPERM`).
pub const EPERM: i32 = -1;

/// [`FileRequest::flags`]: the object is not there yet, or has only just been made.
pub const FRESH: u32 = 1;
/// [`FileRequest::flags`]: a folder that moves as a whole: refused where rules name what is below it.
pub const WHOLE: u32 = 2;
/// [`FileRequest::flags`]: let pass what is in a mount of the kernel's own. Either it is a pipe that is
/// opened again by its descriptor, and who can name the descriptor has it; or overlayfs opens a folder, or
/// a file to copy it, in one of its layers, while it works for an operation that was decided.
pub const INNER: u32 = 4;
/// Magic number of pidfs (`PID_FS_MAGIC`, include/uapi/linux/magic.h), whose files `pidfd_open` opens: what
/// a descriptor of a process is good for is decided when it is used.
const PIDFS: u64 = 0x5049_4446;
/// [`FileRequest::flags`]: the place is where something is renamed or linked to; `to` is where it comes
/// from.
pub const ARRIVING: u32 = 8;

/// An operation on a file.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FileRequest {
    /// Where the file is.
    pub place: Place,
    /// The rights that it needs.
    pub rights: Rights,
    /// What is done.
    pub operation: Operation,
    /// A set of `FRESH`, `WHOLE`, `INNER` and `ARRIVING`.
    pub flags: u32,
}

impl FileRequest {
    /// An operation on one existing file.
    #[inline(always)]
    pub fn new(operation: Operation, place: Place, rights: Rights) -> Self {
        Self { place, rights, operation, flags: 0 }
    }
}

/// The generation of the policy in force.
#[inline(always)]
fn generation() -> u32 {
    ACTIVE.get(0).copied().unwrap_or(0) as u32
}

/// Decides an operation on an existing file: by what was found before if that answers, else by a walk.
/// `to` is the second place of a rename or link, for the record, or null.
#[inline(never)]
pub fn file(
    tag: &'static Tag,
    inode: *const c_void,
    request: &FileRequest,
    to: *const Place,
) -> i32 {
    let Some(session) = SESSIONS_BY_SLOT.get(tag.slot.0) else { return EACCES };
    let basis =
        Basis { generation: generation(), epoch: cache::epoch(session), changes: Changes::now() };
    let now = kernel::now();
    if cache::allows(inode, &request.place, request.rights, tag, session, now, &basis) {
        return 0;
    }
    let Some(area) = scratch::acquire() else { return crowded(tag) };
    let reason = by_walk(tag, area, request, basis.generation);
    // What the walk found holds for the counters that it saw; if they are others than those read before,
    // the next operation decides anew.
    if reason == 0 && request.flags & INNER == 0 && request.place.parent != 0 {
        cache::keep(inode, &request.place, request.rights, tag, &basis);
    }
    conclude(tag, area, request, Found::new(basis.generation, reason), to)
}

/// Decides an operation on a name that has no inode yet: always by a walk. `to` as for [`file`].
#[inline(never)]
pub fn name(tag: &'static Tag, request: &FileRequest, to: *const Place) -> i32 {
    let generation = generation();
    let Some(area) = scratch::acquire() else { return crowded(tag) };
    let reason = by_walk(tag, area, request, generation);
    conclude(tag, area, request, Found::new(generation, reason), to)
}

/// Refuses because no work area is free, and counts the event that can't be made.
#[inline(always)]
fn crowded(tag: &'static Tag) -> i32 {
    emit::lost(tag);
    EACCES
}

/// Reports a refusal, gives the area back, and says what the hook returns.
#[inline(never)]
fn conclude(
    tag: &'static Tag,
    area: *mut Scratch,
    request: &FileRequest,
    found: Found,
    to: *const Place,
) -> i32 {
    let reason = found.reason();
    if reason != 0 {
        emit::file(tag, area, request, found, to);
    }
    scratch::release(area);
    if reason == 0 { 0 } else { carried_out(tag, EACCES) }
}

/// What a walk led to: the policy's generation and the reason's number (zero for none), in one register
/// (a function here takes five).
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Found(u64);

impl Found {
    #[inline(always)]
    fn new(generation: u32, reason: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(reason))
    }

    /// The policy that decided.
    #[inline(always)]
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// A reason's number, or zero.
    #[inline(always)]
    pub fn reason(self) -> u32 {
        self.0 as u32
    }
}

/// Zero if a walk finds that the session may, else the reason's number.
#[inline(never)]
fn by_walk(tag: &'static Tag, area: *mut Scratch, request: &FileRequest, generation: u32) -> u32 {
    // SAFETY: the area is ours until it is released.
    let s = unsafe { &mut *area };
    s.table = generation % POLICY_SLOTS as u32;
    s.slot = tag.slot.0;
    walk::resolve(area, &request.place, u64::from(request.flags & FRESH));
    let inner = request.flags & INNER != 0 || kernel::magic(request.place.dentry) == PIDFS;
    if s.status == walk::INTERNAL && inner {
        return 0;
    }
    if s.status != walk::FOUND {
        return Reason::Unresolved as u32;
    }
    if request.flags & WHOLE != 0 && matching::has_rules_below(s) {
        return Reason::Guard as u32;
    }
    let labels = (LabelId(s.positions[0].here), LabelId(s.positions[1].here));
    judge(tag, generation, labels, request.rights)
}

/// Zero if the session may, else the reason's number.
#[inline(never)]
fn judge(tag: &'static Tag, generation: u32, labels: (LabelId, LabelId), rights: Rights) -> u32 {
    let slot = tag.slot.0;
    let Some(session) = SESSIONS_BY_SLOT.get(slot) else { return Reason::Expired as u32 };
    let now = kernel::now();
    if let Err(reason) = decision::standing(session, tag.session, now) {
        return reason as u32;
    }
    let table = generation % POLICY_SLOTS as u32;
    let (Some(shared), Some(own)) = (label_of(table, labels.0), label_of(table, labels.1)) else {
        return Reason::NoTool as u32;
    };
    match decision::decide(rights, [shared, own], session, now, |held| any_live(held, slot, now)) {
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}

/// Whether the expiry of one of the tools is still to come.
#[inline(never)]
fn any_live(held: &ToolSet, slot: u32, now: BootNanos) -> bool {
    let Some(expiries) = EXPIRIES.get(slot) else { return false };
    let mut search = Search { held: *held, expiries, now, found: 0 };
    let context = (&raw mut search).cast();
    // SAFETY: the callback has the signature that the helper asks for, and the context is on the stack
    // for as long as the helper runs.
    unsafe { bpf_loop(TOOLS as u32, is_live as *mut c_void, context, 0) };
    // SAFETY: a reference is valid; read anew, since the callback wrote.
    unsafe { ptr::read_volatile(&raw const search.found) != 0 }
}

/// What [`is_live`] looks for.
struct Search {
    held: ToolSet,
    expiries: &'static Expiries,
    now: BootNanos,
    found: u64,
}

/// Looks at one tool; non-zero when it is held and its expiry is still to come. (A loop of our own over
/// the bits made the verifier walk 64 steps for each right and word: 88,000 instructions, on 6.12.)
extern "C" fn is_live(bit: u64, context: *mut Search) -> i64 {
    // SAFETY: the context is `any_live`'s.
    let search = unsafe { &mut *context };
    if bit >= TOOLS as u64 {
        return 1;
    }
    let held = search.held.0[(bit / 64) as usize] >> (bit % 64) & 1;
    if held != 0 && search.now < search.expiries[bit as usize] {
        search.found = 1;
        return 1;
    }
    0
}

/// A label by its number.
#[inline(always)]
fn label_of(table: u32, label: LabelId) -> Option<&'static Label> {
    LABEL_TABLES.get_value(table, &label.0)
}

/// The verdict for a refusal: nothing in audit mode, unless the session may do nothing at all.
#[inline(always)]
fn carried_out(tag: &Tag, error: i32) -> i32 {
    if audited(tag) { 0 } else { error }
}

/// Whether a refusal is only reported: in audit mode, while the session is active (one that has ended or
/// is quarantined may do nothing at all).
#[inline(always)]
pub fn audited(tag: &Tag) -> bool {
    SESSIONS_BY_SLOT.get(tag.slot.0).is_some_and(|session| {
        session.id == tag.session
            && session.state == State::Active as u32
            && session.mode == Mode::Audit as u32
    })
}

/// An IPv6 address, or an IPv4 one mapped into it: the bytes in network order, as two words.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address(pub [u64; 2]);

impl Address {
    /// From an IPv4 address as the kernel keeps it, in network order.
    #[inline(always)]
    pub const fn v4(address: u32) -> Self {
        // Bytes 10 and 11 are 0xff; the target is little-endian.
        Self([0, 0xffff_0000 | (address as u64) << 32])
    }

    /// The bytes in network order.
    #[inline(always)]
    pub fn octets(self) -> [u8; 16] {
        // SAFETY: sixteen bytes are sixteen bytes.
        unsafe { core::mem::transmute(self.0) }
    }
}

/// A network endpoint.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Endpoint {
    /// Where.
    pub address: Address,
    /// Native byte order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// What is done.
    pub operation: Operation,
    /// A `FLOW_` constant of `agent_common::rule`.
    pub flow: u16,
    /// The right that it needs.
    pub rights: Rights,
}

/// Decides an operation on a network endpoint.
#[inline(never)]
pub fn endpoint(tag: &'static Tag, endpoint: &Endpoint) -> i32 {
    let generation = generation();
    let label = endpoint_label(generation % POLICY_SLOTS as u32, endpoint);
    let reason = judge(tag, generation, (label, LabelId::NONE), endpoint.rights);
    if reason == 0 {
        return 0;
    }
    emit::endpoint(tag, endpoint, generation, reason);
    carried_out(tag, EACCES)
}

/// The label of an endpoint.
#[inline(always)]
fn endpoint_label(table: u32, endpoint: &Endpoint) -> LabelId {
    let address = Key::new(128, AddressKey { octets: endpoint.address.octets() });
    let Some(class) = ADDRESS_TABLES.get(table).and_then(|addresses| addresses.get(&address))
    else {
        return LabelId::NONE;
    };
    let port = PortKey { class: *class, flow: endpoint.flow, port: endpoint.port.to_be_bytes() };
    let port = Key::new(PORT_HEAD_BITS + 16, port);
    match PORT_TABLES.get(table).and_then(|ports| ports.get(&port)) {
        Some(label) => LabelId(*label),
        None => LabelId::NONE,
    }
}

/// An act that no session may do, or that needs no more than the session's standing.
#[derive(Clone, Copy)]
pub struct Act {
    /// What is done.
    pub operation: Operation,
    /// An `OBJECT_` constant.
    pub object: u8,
    /// What the object's kind explains.
    pub arguments: [u32; 3],
}

/// Refuses an act, with `reason`.
#[inline(never)]
pub fn refuse(tag: &'static Tag, act: &Act, reason: Reason, error: i32) -> i32 {
    emit::act(tag, act, generation(), reason as u32);
    carried_out(tag, error)
}
