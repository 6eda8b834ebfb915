//! From a path to its labels: down the automaton of `agent_common::rule`, by the shared rules and by the session's own
//! at once.

use agent_common::{
    limits::{AFFIX_BYTES, CHUNK_BYTES, COMPONENTS, NAME_BYTES},
    rule::{
        AFFIX_HEAD_BITS, AFFIX_PREFIX, AFFIX_SUFFIX, EDGE_AFFIXES, EDGE_ANY, EDGE_CHUNK,
        EDGE_FOLDED, EDGE_FOLDED_CHUNK, EDGE_LAST, EDGE_OWN_PROCESS, EDGE_ROOT, Edge, NO_NODE,
        NODE_ANY, NODE_DENIED_NAMES, NODE_DENIED_PATTERNS, NODE_LOOPS, NODE_OWN_PROCESS,
        NODE_PATTERNS, Position, SESSION_ROOT, SHARED_ROOT,
    },
};

use crate::{
    kernel,
    loops::Context,
    map_access::look_up,
    maps::{AFFIX_TABLES, EDGE_TABLES},
    scratch::{self, Area, repeat},
    subject,
    values::{AFFIX_BITS, AFFIX_KIND, AFFIX_NODE, Component, Scratch},
};

/// Magic number of procfs (`PROC_SUPER_MAGIC`, include/uapi/linux/magic.h).
pub(crate) const PROCFS: u64 = 0x9fa0;
/// Edges that the longest name takes.
const CHUNKS: u32 = NAME_BYTES.div_ceil(CHUNK_BYTES) as u32;

/// Puts both positions at their roots.
#[inline(always)]
pub(crate) fn start_at_roots(area: Area) {
    let s = area.get();
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

/// Looks up the edge whose key is in the work area.
#[inline(always)]
fn look_up_edge(s: &Scratch) -> Option<&'static Edge> {
    // Tables of a policy in force only grow, and lose whole edges of ended sessions: an edge that is used again
    // meanwhile belonged to a session that has ended.
    look_up(EDGE_TABLES.get(s.table)?, s.edge_key())
}

/// Moves both positions along all components of the path, and notes the positions at the last one's folder.
#[inline(always)]
pub(crate) fn follow_components(area: Area) {
    area.get().is_incomparable = 0;
    // Two steps for each component: one for the shared rules, one for the session's own.
    repeat(2 * COMPONENTS as u32, follow_component, area);
}

/// Moves one position along one component; non-zero at the end, or when no rule follows either position.
extern "C" fn follow_component(index: u64, context: Context<Area>) -> i64 {
    let s = context.get().get();
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
        // Then none follows the folder's either.
        s.folder_positions = s.positions;
        return 1;
    }
    if position.alive == 0 {
        return 0;
    }
    let component = s.components[which as usize];
    s.positions[side] = match find_edge(s, &component, &position) {
        Some(edge) => position_after(edge),
        None => Position {
            alive: u64::from(position.flags & NODE_LOOPS),
            here: position.below,
            ..position
        },
    };
    0
}

/// The edge that a component takes from a position.
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
        // Prefixes and suffixes are only there in their own case: denied ones can't be compared.
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
    if from.flags & (NODE_PATTERNS | NODE_ANY) == 0 {
        return None;
    }
    if from.flags & NODE_ANY != 0 {
        s.set_key(from.node, EDGE_ANY, 0);
        return look_up_edge(s);
    }
    let prefix = affix(s, component, from.node, AFFIX_PREFIX)?;
    let suffix = affix(s, component, from.node, AFFIX_SUFFIX)?;
    s.set_key(from.node, EDGE_AFFIXES, 8);
    // Two numbers in native order, as one word of a little-endian machine.
    s.key[1] = u64::from(prefix) | u64::from(suffix) << 32;
    look_up_edge(s)
}

/// The edge of a whole name, looked up piece by piece. Not inlined: else the verifier goes through it twice in each step.
#[inline(never)]
fn edge_of_name(s: &mut Scratch, component: &Component, node: u32) -> Option<&'static Edge> {
    let area = Area::with(s);
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
    // The verifier does not see that the length is in range; the compiler does, and would drop a comparison ("R2
    // unbounded memory access", 6.12).
    kernel::copy(s.key_bytes().cast(), kernel::hide_from_optimizer(len) & 31, s.piece);
    if s.folds_case != 0 {
        fold_case(s);
    }
    look_up_edge(s)
}

/// Takes a piece of a long name that is not the last; non-zero when only the last is left, or when no edge fits.
extern "C" fn take_piece(_: u64, context: Context<Area>) -> i64 {
    let s = context.get().get();
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

/// Turns the piece of a name that is in the edge's key into small letters, eight at a time. The name is incomparable
/// if it has other than ASCII, which file systems fold in ways of their own, or a `~`, which may belong to the short
/// name of another file.
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

/// Not zero for a name that ends in a dot or a space, which some file systems ignore.
#[inline(always)]
fn ends_in_dot_or_space(component: &Component) -> u64 {
    let last: u8 = kernel::peek(component.name + component.len - 1);
    u64::from(last == b'.' || last == b' ')
}

/// Whether the component is the procfs folder of a process in the running task's session.
#[inline(always)]
fn is_own_process(s: &Scratch, component: &Component) -> bool {
    if kernel::file_system_magic(component.dentry) != PROCFS {
        return false;
    }
    let task = kernel::procfs_task(component.dentry);
    match &subject::current_if_readable() {
        // Not if the path is matched for another session than the running task's.
        Some(tag) if tag.slot.0 == s.slot => subject::is_in_session(task, tag),
        _ => false,
    }
}

/// One more than the number of the longest prefix or suffix of the name that the node has; zero for none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn affix_number(area: u32, name: u64, len: u64, kind: u32) -> u64 {
    let Some(area) = scratch::by_index(area) else { return 0 };
    let s = area.get();
    let taken = if len > AFFIX_BYTES as u64 { AFFIX_BYTES as u64 } else { len };
    s.affix[AFFIX_BITS] = AFFIX_HEAD_BITS + 8 * taken as u32;
    s.affix[AFFIX_KIND] = kind;
    if kind == AFFIX_PREFIX {
        kernel::copy(s.affix_bytes().cast(), taken as u32, name);
    } else {
        kernel::copy(s.tail.as_mut_ptr().cast(), taken as u32, name + len - taken);
        s.tail_len = taken;
        // With an ordinary loop, the verifier goes on from each of its 248 ends ("too large", 6.12).
        repeat(AFFIX_BYTES as u32, reverse, area);
    }
    let s = area.get();
    match AFFIX_TABLES.get(s.table).and_then(|table| table.get(s.affix_key())) {
        Some(number) => u64::from(*number) + 1,
        None => 0,
    }
}

/// Copies one byte of the name's end into the key, last byte first.
extern "C" fn reverse(index: u64, context: Context<Area>) -> i64 {
    let s = context.get().get();
    if index >= s.tail_len || index >= AFFIX_BYTES as u64 {
        return 1;
    }
    let byte = s.tail[((s.tail_len - 1 - index) & 0xff) as usize];
    let bytes = s.affix_bytes();
    // SAFETY: `index` is below `AFFIX_BYTES`, the length of the key's bytes.
    unsafe { bytes.add(index as usize).write(byte) };
    0
}

/// The number of the longest prefix or suffix of a component that the node has.
#[inline(always)]
fn affix(s: &mut Scratch, component: &Component, node: u32, kind: u32) -> Option<u32> {
    s.affix[AFFIX_NODE] = node;
    let found = affix_number(s.index, component.name, component.len, kind);
    found.checked_sub(1).map(|number| number as u32)
}

/// Whether a rule names something below the path that was matched.
#[inline(always)]
pub(crate) fn has_rules_below(s: &Scratch) -> bool {
    s.positions[0].leads_on() || s.positions[1].leads_on()
}

/// The nodes from which rules name something below the path that was matched, of both automata; zero for none.
#[inline(always)]
pub(crate) fn nodes_below(s: &Scratch) -> u64 {
    let [shared, own] = &s.positions;
    let node = |position: &Position| if position.leads_on() { u64::from(position.node) } else { 0 };
    node(shared) << 32 | node(own)
}
