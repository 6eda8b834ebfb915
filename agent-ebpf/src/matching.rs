//! From a path to its labels: down the trie of `agent_common::rule`, for the shared rules and the
//! session's own at once.

use crate::{
    kernel,
    maps::{AFFIX_TABLES, EDGE_TABLES},
    scratch::{self, repeat},
    subject,
    values::{AFFIX_BITS, AFFIX_KIND, AFFIX_NODE, Component, Scratch},
};
use agent_common::{
    limits::{AFFIX_BYTES, CHUNK_BYTES, COMPONENTS, NAME_BYTES},
    rule::{
        AFFIX_HEAD_BITS, AFFIX_PREFIX, AFFIX_SUFFIX, EDGE_AFFIXES, EDGE_CHUNK, EDGE_FOLDED,
        EDGE_FOLDED_CHUNK, EDGE_LAST, EDGE_OWN_PROCESS, EDGE_ROOT, Edge, NO_NODE,
        NODE_DENIED_NAMES, NODE_DENIED_PATTERNS, NODE_OWN_PROCESS, NODE_PATTERNS, Position,
        SESSION_ROOT, SHARED_ROOT,
    },
};

/// Magic number of procfs (`PROC_SUPER_MAGIC`, include/uapi/linux/magic.h).
pub(crate) const PROCFS: u64 = 0x9fa0;
/// Edges that the longest name takes.
const CHUNKS: u32 = NAME_BYTES.div_ceil(CHUNK_BYTES) as u32;

/// Starts both matches at their roots.
#[inline(always)]
pub(crate) fn start_at_roots(area: *mut Scratch) {
    // SAFETY: the area is ours until it is released.
    let s = unsafe { &mut *area };
    let slot = s.slot;
    s.positions[0] = root_position(s, SHARED_ROOT);
    s.positions[1] = root_position(s, SESSION_ROOT + slot);
}

/// The position at a root.
#[inline(always)]
fn root_position(s: &mut Scratch, node: u32) -> Position {
    s.set_key(node, EDGE_ROOT, 0);
    match look_up_edge(s) {
        Some(edge) => position_after(edge),
        None => Position::NOWHERE,
    }
}

/// The position that an edge leads to.
#[inline(always)]
fn position_after(edge: &Edge) -> Position {
    Position {
        node: edge.node,
        flags: edge.flags,
        here: edge.here.0,
        below: edge.below.0,
        alive: 1,
    }
}

/// Looks up the area's key.
#[inline(always)]
fn look_up_edge(s: &Scratch) -> Option<&'static Edge> {
    let edges = EDGE_TABLES.get(s.table)?;
    // SAFETY: tables of a policy in force only grow and lose whole edges of ended sessions; a value that
    // is reused meanwhile is another edge of the same table, whose session has ended.
    unsafe { edges.get(s.edge_key()) }
}

/// Takes all components, from where the positions are; leaves the folder's positions too.
#[inline(always)]
pub(crate) fn follow_components(area: *mut Scratch) {
    // SAFETY: the area is ours until it is released.
    unsafe { (*area).is_incomparable = 0 };
    // Two steps for each component: one for the shared rules, one for the session's own.
    repeat(2 * COMPONENTS as u32, follow_component, area);
}

/// One component of the path, for one of the matches; non-zero at the end, or when neither can go on.
extern "C" fn follow_component(index: u64, context: *mut *mut Scratch) -> i64 {
    // SAFETY: the context is `walk::repeat`'s, the area ours until it is released.
    let s = unsafe { &mut **context };
    let done = index >> 1;
    if done >= s.count {
        return 1;
    }
    let which = s.count - 1 - done;
    let side = (index & 1) as usize;
    if which >= COMPONENTS as u64 {
        return 1;
    }
    let position = s.positions[side];
    if which == 0 {
        s.folder_positions[side] = position;
    } else if (s.positions[0].alive | s.positions[1].alive) == 0 {
        // No name leads on: not from the folder either.
        s.folder_positions = s.positions;
        return 1;
    }
    if position.alive == 0 {
        return 0;
    }
    let component = s.components[which as usize];
    s.positions[side] = match find_edge(s, &component, &position) {
        Some(edge) => position_after(edge),
        None => Position { alive: 0, here: position.below, ..position },
    };
    0
}

/// The edge that a component takes.
#[inline(always)]
fn find_edge(s: &mut Scratch, component: &Component, from: &Position) -> Option<&'static Edge> {
    if from.node == NO_NODE {
        return None;
    }
    if from.flags & NODE_OWN_PROCESS != 0 && is_own_process(s, component) {
        s.set_key(from.node, EDGE_OWN_PROCESS, 0);
        if let Some(edge) = look_up_edge(s) {
            return Some(edge);
        }
    }
    const DENIED: u32 = NODE_DENIED_NAMES | NODE_DENIED_PATTERNS;
    if from.flags & DENIED != 0 && kernel::ignores_case(component.dentry) {
        // Affixes are compared in one way only.
        s.is_incomparable |=
            u64::from(from.flags & NODE_DENIED_PATTERNS) | ends_in_dot_or_space(component);
        s.folds_case = 1;
        let edge = edge_of_name(s, component, from.node);
        s.folds_case = 0;
        if edge.is_some() {
            return edge;
        }
    }
    if let Some(edge) = edge_of_name(s, component, from.node) {
        return Some(edge);
    }
    if from.flags & NODE_PATTERNS == 0 {
        return None;
    }
    let prefix = affix(s, component, from.node, AFFIX_PREFIX)?;
    let suffix = affix(s, component, from.node, AFFIX_SUFFIX)?;
    s.set_key(from.node, EDGE_AFFIXES, 8);
    // Both numbers in native order are one little-endian word; so is the target's order.
    s.key[1] = u64::from(prefix) | u64::from(suffix) << 32;
    look_up_edge(s)
}

/// The edge of the whole name, piece by piece. Not inlined: the verifier would go through it twice in each step.
#[inline(never)]
fn edge_of_name(s: &mut Scratch, component: &Component, node: u32) -> Option<&'static Edge> {
    let area: *mut Scratch = s;
    s.piece = component.name;
    s.piece_rest = component.len;
    s.piece_node = node;
    if s.piece_rest > CHUNK_BYTES as u64 {
        repeat(CHUNKS, take_piece, area);
        if s.piece_rest > CHUNK_BYTES as u64 {
            return None;
        }
    }
    let len = s.piece_rest as u32;
    let kind = if s.folds_case == 0 { EDGE_LAST } else { EDGE_FOLDED };
    s.set_key(s.piece_node, kind, len as u8);
    // The verifier does not see that the length is in range; the compiler does, and would drop a
    // comparison ("R2 unbounded memory access", 6.12).
    kernel::copy(s.key_bytes().cast(), kernel::hide_from_optimizer(len) & 31, s.piece);
    if s.folds_case != 0 {
        fold_case(s);
    }
    look_up_edge(s)
}

/// Takes a piece of a long name that is not its last; non-zero when only the last is left, or none led on.
extern "C" fn take_piece(_: u64, context: *mut *mut Scratch) -> i64 {
    // SAFETY: the context is `repeat`'s, the area ours until it is released.
    let s = unsafe { &mut **context };
    if s.piece_rest <= CHUNK_BYTES as u64 {
        return 1;
    }
    let kind = if s.folds_case == 0 { EDGE_CHUNK } else { EDGE_FOLDED_CHUNK };
    s.set_key(s.piece_node, kind, CHUNK_BYTES as u8);
    kernel::copy(s.key_bytes().cast(), CHUNK_BYTES as u32, s.piece);
    if s.folds_case != 0 {
        fold_case(s);
    }
    let Some(edge) = look_up_edge(s) else { return 1 };
    s.piece_node = edge.node;
    s.piece += CHUNK_BYTES as u64;
    s.piece_rest -= CHUNK_BYTES as u64;
    0
}

/// Puts the piece of a name that is in the key into small letters, eight at once. What is no ASCII may be folded in a
/// way that we don't know, and a `~` may be of the short name of another: then the name is odd.
#[inline(always)]
fn fold_case(s: &mut Scratch) {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = 0x80 * ONES;
    let mut place = 1;
    while place <= CHUNK_BYTES / 8 {
        let word = s.key[place];
        let low = word & !TOPS;
        let from_a = low + (0x80 - b'A' as u64) * ONES;
        let beyond_z = low + (0x7f - b'Z' as u64) * ONES;
        let large = (from_a ^ beyond_z) & !word & TOPS;
        let tildes = word ^ (b'~' as u64 * ONES);
        s.is_incomparable |= word & TOPS | tildes.wrapping_sub(ONES) & !tildes & TOPS;
        s.key[place] = word | large >> 2;
        place += 1;
    }
}

/// Not zero for a name with a dot or a space at its end, which some file systems leave out.
#[inline(always)]
fn ends_in_dot_or_space(component: &Component) -> u64 {
    let last: u8 = kernel::peek(component.name + component.len - 1);
    u64::from(last == b'.' || last == b' ')
}

/// Whether the component is the folder of a process of the running task's session, in procfs.
#[inline(always)]
fn is_own_process(s: &Scratch, component: &Component) -> bool {
    if kernel::file_system_magic(component.dentry) != PROCFS {
        return false;
    }
    let task = kernel::procfs_task(component.dentry);
    match &subject::current_if_readable() {
        // The tag of another session than the one that is asked about has no business here.
        Some(tag) if tag.slot.0 == s.slot => subject::is_in_session(task, tag),
        _ => false,
    }
}

/// One more than the number of the longest affix of the name at the node; zero for none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn affix_number(area: u32, name: u64, len: u64, kind: u32) -> u64 {
    let Some(s) = scratch::by_index(area) else { return 0 };
    let area: *mut Scratch = s;
    let taken = if len > AFFIX_BYTES as u64 { AFFIX_BYTES as u64 } else { len };
    s.affix[AFFIX_BITS] = AFFIX_HEAD_BITS + 8 * taken as u32;
    s.affix[AFFIX_KIND] = kind;
    if kind == AFFIX_PREFIX {
        kernel::copy(s.affix_bytes().cast(), taken as u32, name);
    } else {
        kernel::copy(s.tail.as_mut_ptr().cast(), taken as u32, name + len - taken);
        s.tail_len = taken;
        // A loop of our own here had the verifier go on from each of its 248 ends ("too large", 6.12).
        repeat(AFFIX_BYTES as u32, reverse, area);
    }
    // SAFETY: the area is still ours; borrowed anew after the loop wrote.
    let s = unsafe { &*area };
    match AFFIX_TABLES.get(s.table).and_then(|table| table.get(s.affix_key())) {
        Some(number) => u64::from(*number) + 1,
        None => 0,
    }
}

/// Puts one byte of the tail where it belongs in the key, last byte first.
extern "C" fn reverse(index: u64, context: *mut *mut Scratch) -> i64 {
    // SAFETY: the context is `repeat`'s, the area ours until it is released.
    let s = unsafe { &mut **context };
    if index >= s.tail_len || index >= AFFIX_BYTES as u64 {
        return 1;
    }
    let byte = s.tail[((s.tail_len - 1 - index) & 0xff) as usize];
    let bytes = s.affix_bytes();
    // SAFETY: `index` is below `AFFIX_BYTES`, the length of the key's bytes.
    unsafe { bytes.add(index as usize).write(byte) };
    0
}

/// The affix's number at the node.
#[inline(always)]
fn affix(s: &mut Scratch, component: &Component, node: u32, kind: u32) -> Option<u32> {
    s.affix[AFFIX_NODE] = node;
    let found = affix_number(s.index, component.name, component.len, kind);
    found.checked_sub(1).map(|number| number as u32)
}

/// Whether the shared rules or the session's own say something of names below the path that was
/// matched: then the whole folder can't be moved as one.
#[inline(always)]
pub(crate) fn has_rules_below(s: &Scratch) -> bool {
    s.positions[0].leads_on() || s.positions[1].leads_on()
}
