//! From a refusal to an event in the ring buffer.

use agent_common::{
    decision::Reason,
    event::{
        Ancestor, EventHeader, OBJECT_ENDPOINT, OBJECT_PATH, OBJECT_SET_ID, VERDICT_DENIED,
        VERDICT_WOULD_DENY,
    },
    id::{Generation, Slot, Tag},
    limits::{ANCESTORS, COMPONENTS, NAME_BYTES, PATH_BYTES, RING_BYTES, RING_RESERVE, RING_SHARE},
};
use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP},
    helpers::generated::{
        bpf_get_current_comm, bpf_get_current_uid_gid, bpf_ringbuf_output, bpf_ringbuf_query,
    },
};

use crate::{
    atomic,
    kernel::{self, Place, peek},
    loops::Context,
    maps::{EVENTS, LOST_EVENTS, SENT_BYTES, SEQUENCE, TAKEN_BYTES, VACANCIES},
    offset,
    request::{Act, Endpoint, FileRequest, Flags},
    scratch::{self, Area},
    standing::is_audited,
    values::{EVENT_BYTES, Scratch},
    verdict::Outcome,
    volatile, walk,
};

const HEADER: usize = size_of::<EventHeader>();

/// The largest event: the header and three paths.
const LARGEST: u64 = (HEADER + 3 * PATH_BYTES) as u64;

shared!(pub(crate) fn report_file(tag: *const Tag, area: *mut Scratch, request: *const FileRequest, found: u64, to: *const Place) -> u32, otherwise 0);

/// Reports a refused operation on a file. The work area has the walk of the request's place; `to` is the second
/// place of a rename or link, or null.
#[unsafe(no_mangle)]
#[unsafe(link_section = "freplace/report_file")]
extern "C" fn shared_report_file(
    tag: *const Tag,
    area: *mut Scratch,
    request: *const FileRequest,
    found: u64,
    to: *const Place,
) -> u32 {
    let found = Outcome(found);
    deref_or_return!(tag, request; else return 0);
    let Some(area) = Area::of(area) else { return 0 };
    let header = begin(tag, area, found.generation(), found.reason());
    header.operation = request.operation as u8;
    header.rights = request.rights.0;
    let set_id = request.flags.has(Flags::GAINS_PRIVILEGE);
    header.object = if set_id { OBJECT_SET_ID } else { OBJECT_PATH };
    // SAFETY: null, or a place on the stack of the hook, which waits for this call.
    if let Some(other) = unsafe { to.as_ref() } {
        // The source is named first, whichever end was refused.
        let arriving = request.flags.has(Flags::IS_DESTINATION);
        walk::find_path(area, if arriving { other } else { &request.place });
        header.path_len = write_path(area);
        walk::find_path(area, if arriving { &request.place } else { other });
        header.to_len = write_path(area);
    } else {
        header.path_len = write_path(area);
    }
    finish(tag, area);
    0
}

/// Reports a refused operation on a network endpoint.
#[inline(always)]
pub(crate) fn report_endpoint(tag: &Tag, endpoint: &Endpoint, generation: u32, reason: u32) {
    let Some(area) = scratch::acquire() else { return count_lost_event(tag) };
    let header = begin(tag, area, generation, reason);
    header.operation = endpoint.operation as u8;
    header.rights = endpoint.rights.0;
    header.object = OBJECT_ENDPOINT;
    header.protocol = endpoint.protocol;
    header.port = endpoint.port;
    header.address = endpoint.address.octets();
    finish(tag, area);
    scratch::release(area);
}

/// Reports any other refused act.
#[inline(always)]
pub(crate) fn report_act(tag: &Tag, act: &Act, generation: u32, reason: u32) {
    let Some(area) = scratch::acquire() else { return count_lost_event(tag) };
    let header = begin(tag, area, generation, reason);
    header.operation = act.operation as u8;
    header.object = act.object;
    header.arguments = act.arguments;
    finish(tag, area);
    scratch::release(area);
}

/// Reports a refused connection to an abstract unix socket: `len` bytes of its name, at the address `name`.
#[inline(never)]
pub(crate) fn report_abstract_socket(tag: &Tag, act: &Act, name: u64, len: u64) {
    let Some(area) = scratch::acquire() else { return count_lost_event(tag) };
    let header = begin(tag, area, 0, Reason::NoTool as u32);
    header.operation = act.operation as u8;
    header.object = act.object;
    let s = area.get();
    let len = if len > 107 { 107 } else { len };
    kernel::copy((&raw mut s.event).cast::<u8>().wrapping_add(HEADER).cast(), len as u32, name);
    s.filled += len;
    header.path_len = len as u16;
    finish(tag, area);
    scratch::release(area);
}

/// The header of the event in a work area.
#[inline(always)]
fn header_of<'a>(area: Area) -> &'a mut EventHeader {
    // SAFETY: the event has room for the header and begins aligned for it, and any bytes are a header.
    unsafe { &mut *(&raw mut area.get().event).cast() }
}

/// Fills in what every event has.
#[inline(always)]
fn begin<'a>(tag: &Tag, area: Area, generation: u32, reason: u32) -> &'a mut EventHeader {
    let (s, header) = (area.get(), header_of(area));
    clear(header);
    s.filled = HEADER as u64;
    header.time = kernel::now();
    header.sequence = next_sequence(tag);
    header.session = tag.session;
    header.slot = tag.slot;
    header.generation = Generation(generation);
    // SAFETY: the helper has no precondition.
    let (ids, user) = unsafe { (kernel::current_ids(), bpf_get_current_uid_gid()) };
    header.pid = (ids >> 32) as u32;
    header.tid = ids as u32;
    header.uid = user as u32;
    header.reason = reason as u8;
    header.verdict = if is_audited(tag) { VERDICT_WOULD_DENY } else { VERDICT_DENIED };
    // SAFETY: the field has as many bytes.
    unsafe { bpf_get_current_comm((&raw mut header.comm).cast(), 16) };
    header
}

/// Zeroes the header up to the ancestors, word by word: see [`Scratch::set_key`].
#[inline(always)]
fn clear(header: &mut EventHeader) {
    let words = (&raw mut *header).cast::<u64>();
    for index in 0..core::mem::offset_of!(EventHeader, ancestors) / 8 {
        // SAFETY: the index is within the header, which is aligned for words.
        unsafe { words.add(index).write_volatile(0) };
    }
}

/// Adds the path of the running program and the ancestors, and sends the event.
#[inline(always)]
fn finish(tag: &Tag, area: Area) {
    let (s, header) = (area.get(), header_of(area));
    header.exe_len = write_program(area);
    header.ancestors_len = fill_ancestry(header);
    let mut size = s.filled;
    if size > LARGEST {
        size = LARGEST;
    }
    // The bytes that it takes in the ring: with the kernel's own header, up to a whole number of words.
    let taken = (size + 8 + 7) & !7;
    if !has_share(tag, taken) {
        return count_lost_event(tag);
    }
    let map = core::ptr::from_ref(&EVENTS).cast_mut().cast();
    // SAFETY: `size` bytes of the event are valid.
    let sent = unsafe { bpf_ringbuf_output(map, (&raw mut s.event).cast(), size, 0) };
    if sent != 0 {
        return count_lost_event(tag);
    }
    // Counted only now. If the daemon takes the event out before it is counted, that looks like nothing to take.
    if let Some(counter) = SENT_BYTES.get_ptr_mut(tag.slot.0) {
        atomic::add(counter, taken);
    }
}

/// How many bytes wait in the ring.
#[inline(always)]
fn waiting() -> u64 {
    let map = core::ptr::from_ref(&EVENTS).cast_mut().cast();
    // SAFETY: the map is a ring buffer.
    unsafe { bpf_ringbuf_query(map, u64::from(BPF_RB_AVAIL_DATA)) }
}

/// Whether a session may put so many more bytes into the ring: its events that wait may take a multiple of what is
/// free, and no more, so a session with many refusals leaves room for all others.
#[inline(always)]
fn has_share(tag: &Tag, more: u64) -> bool {
    if tag.slot.0 == Slot::CANARY.0 {
        return true;
    }
    let slot = tag.slot.0;
    let (Some(sent), Some(taken)) = (SENT_BYTES.get_ptr(slot), TAKEN_BYTES.get_ptr(slot)) else {
        return false;
    };
    // SAFETY: values of maps are valid. The counts only grow, and slightly older ones will do.
    let (sent, taken) = unsafe { (sent.read_volatile(), taken.read_volatile()) };
    let own = sent.saturating_sub(taken);
    let kept = waiting() + RING_RESERVE;
    let free = (RING_BYTES as u64).saturating_sub(kept);
    own + more <= RING_SHARE * free
}

/// Tells the daemon that no task of the session is left. Wakes it each time, even if it has not read what is there.
/// Not for the canary's session: whoever started it waits for its end.
#[inline(always)]
pub(crate) fn session_has_no_tasks(tag: &Tag) {
    if tag.slot.0 != Slot::CANARY.0 {
        // If there is no room, the daemon has yet to look at all sessions in the ring.
        let _ = VACANCIES.output(tag.slot.0, u64::from(BPF_RB_FORCE_WAKEUP));
    }
}

/// Counts an event that could not be delivered, and wakes the daemon to look at the counts if the ring has nothing
/// else for it.
#[inline(always)]
pub(crate) fn count_lost_event(tag: &Tag) {
    if let Some(counter) = LOST_EVENTS.get_ptr_mut(tag.slot.0) {
        atomic::add(counter, 1);
    }
    // If something waits, the daemon looks anyway; and losses must not fill the ring.
    if waiting() == 0
        && let Some(nothing) = EVENTS.reserve(0)
    {
        nothing.discard(0);
    }
}

/// Counts an event, and returns its number.
#[inline(always)]
fn next_sequence(tag: &Tag) -> u64 {
    match SEQUENCE.get_ptr_mut(u32::from(tag.slot.0 == Slot::CANARY.0)) {
        Some(counter) => atomic::add(counter, 1) + 1,
        None => 0,
    }
}

/// Writes the path that the last walk found, and returns its length.
#[inline(never)]
fn write_path(area: Area) -> u16 {
    let s = area.get();
    s.path_start = s.filled;
    if s.count == 0 {
        put_slash(s);
    } else {
        scratch::repeat(COMPONENTS as u32, write_component, area);
    }
    let filled = volatile::read(&area.get().filled);
    (filled - s.path_start) as u16
}

/// Writes one `/`.
#[inline(always)]
fn put_slash(s: &mut Scratch) {
    let at = s.filled & (EVENT_BYTES as u64 - 1);
    s.event[at as usize] = b'/';
    s.filled = at + 1;
}

/// Writes one component, from the root on; non-zero at the end.
extern "C" fn write_component(index: u64, context: Context<Area>) -> i64 {
    let s = context.get().get();
    if index >= s.count {
        return 1;
    }
    let which = s.count - 1 - index;
    if which >= COMPONENTS as u64 {
        return 1;
    }
    let component = s.components[which as usize];
    let len = component.len;
    if len > NAME_BYTES as u64 || s.filled - s.path_start + 1 + len > PATH_BYTES as u64 {
        return 1;
    }
    put_slash(s);
    let at = s.filled & (EVENT_BYTES as u64 - 1);
    let to = (&raw mut s.event).cast::<u8>().wrapping_add(at as usize);
    kernel::copy(to.cast(), len as u32, component.name);
    s.filled = at + len;
    0
}

/// Writes the path of the running program, and returns its length.
#[inline(always)]
fn write_program(area: Area) -> u16 {
    let task = kernel::current().0 as u64;
    let mm: u64 = peek(task + offset!(task_mm));
    if mm == 0 {
        return 0;
    }
    let exe: u64 = peek(mm + offset!(mm_exe_file));
    if exe == 0 {
        return 0;
    }
    let place = Place::peek(exe + offset!(file_path));
    walk::find_path(area, &place);
    write_path(area)
}

/// Fills in the ancestors of the running process, and returns how many there are.
#[inline(always)]
fn fill_ancestry(header: &mut EventHeader) -> u16 {
    let mut task = kernel::current().0 as u64;
    let mut index = 0;
    while index < ANCESTORS {
        let parent: u64 = peek(task + offset!(task_real_parent));
        if parent == 0 || parent == task {
            break;
        }
        let pid: u32 = peek(parent + offset!(task_tgid));
        if pid == 0 {
            break;
        }
        header.ancestors[index] = Ancestor { pid, comm: peek(parent + offset!(task_comm)) };
        task = parent;
        index += 1;
    }
    index as u16
}
