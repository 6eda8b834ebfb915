//! The ring buffer's user side. aya's takes a record out as it is read; this one leaves it until the log
//! has it, so that a daemon that is killed between loses nothing. And of the ring it maps what is pending, while it
//! is read: a mapping of all of it counts twice over as the daemon's memory, for as long as it is there.

use std::{
    collections::BTreeMap,
    io,
    mem::offset_of,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    ptr,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use agent_common::{
    event::EventHeader,
    id::Slot,
    limits::{RING_BYTES, SESSIONS, SLOTS},
};
use aya::maps::{Array, MapData};

use super::sys;
use crate::incident::EventSource;

/// Set in a record's length while it is being written (`BPF_RINGBUF_BUSY_BIT`,
/// include/uapi/linux/bpf.h).
const BUSY: u32 = 1 << 31;
/// Set in a record's length when it was given up (`BPF_RINGBUF_DISCARD_BIT`).
const DISCARDED: u32 = 1 << 30;
/// Bytes before each record: length, and an offset that is the kernel's own.
const RECORD_HEAD: u64 = 8;

/// A region of the ring's file, mapped.
struct Mapping {
    address: *mut u8,
    len: usize,
}

impl Mapping {
    fn new(map: BorrowedFd<'_>, len: usize, offset: usize, writable: bool) -> io::Result<Self> {
        let protection =
            if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        // SAFETY: a new mapping where the kernel likes; the offset is a whole number of pages.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                offset.cast_signed() as libc::off_t,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { address: address.cast(), len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the region was mapped by `new` and nothing refers to it any more.
        unsafe { libc::munmap(self.address.cast(), self.len) };
    }
}

/// Bytes of records that are looked at at once, and a last one: what is released sooner makes room sooner, and more at
/// once folds better.
const BATCH: u64 = RING_BYTES as u64 / 4;

/// What is counted of each slot's events.
pub(super) struct Counts {
    /// Those that found no room.
    pub(super) lost: MapData,
    /// The bytes that were put in.
    pub(super) sent: MapData,
    /// The bytes that were taken out: by these two the kernel knows what a session has waiting.
    pub(super) taken: Array<MapData, u64>,
}

/// Where a record ends, and whose it is.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Where it, and what was given up behind it, ends.
    end: u64,
    slot: u32,
    /// What it takes up.
    bytes: u64,
}

/// The events that wait in the kernel, and the counts of those that found no room.
pub struct Events {
    map: MapData,
    counts: Counts,
    /// What [`Counts::taken`] says.
    taken: Vec<u64>,
    /// The page that holds the position up to which records were taken out.
    consumer: Mapping,
    /// The page that holds the position up to which records were put in. The ring follows it in the file, twice
    /// over.
    producer: Mapping,
    page: usize,
    /// The records that the last `peek` saw, from the first on.
    seen: Vec<Seen>,
    /// Whether it left some for the next.
    has_more: bool,
}

// SAFETY: the mappings belong to this value alone and move with it.
unsafe impl Send for Events {}

impl Events {
    /// From the pinned maps.
    ///
    /// # Errors
    /// When the ring can't be mapped.
    pub(super) fn new(map: MapData, counts: Counts) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let fd = map.fd().as_fd();
        let consumer = Mapping::new(fd, page, 0, true)?;
        let producer = Mapping::new(fd, page, page, false)?;
        let (taken, seen) = (vec![0; SLOTS], Vec::new());
        let mut events =
            Self { map, counts, taken, consumer, producer, page, seen, has_more: false };
        events.settle()?;
        Ok(events)
    }

    /// Counts as taken what was put in and does not wait: whoever took it may have been killed before it said so.
    fn settle(&mut self) -> io::Result<()> {
        let mut waiting = vec![0; SLOTS];
        self.peek_at_most(u64::MAX, &mut |_| {});
        for seen in &self.seen {
            if let Some(bytes) = waiting.get_mut(seen.slot as usize) {
                *bytes += seen.bytes;
            }
        }
        // What came meanwhile counts as taken: a little too much may wait then, where too little would for ever.
        let sent = sys::values(self.counts.sent.fd().as_fd(), SLOTS)?;
        for (slot, (sent, waiting)) in (0..).zip(sent.into_iter().zip(waiting)) {
            self.set_taken(slot, sent.saturating_sub(waiting));
        }
        Ok(())
    }

    /// Tells the kernel how much of a slot's was taken out.
    fn set_taken(&mut self, slot: u32, bytes: u64) {
        let Some(taken) = self.taken.get_mut(slot as usize) else { return };
        if *taken != bytes {
            *taken = bytes;
            if let Err(error) = self.counts.taken.set(slot, bytes, 0) {
                tracing::error!("can't say what was taken out of the events' ring: {error}");
            }
        }
    }

    /// The descriptor that becomes readable when a record comes.
    ///
    /// # Errors
    /// When it can't be cloned.
    pub fn descriptor(&self) -> io::Result<std::os::fd::OwnedFd> {
        self.map.fd().as_fd().try_clone_to_owned()
    }

    /// The position at the start of a page.
    fn position(mapping: &Mapping) -> &AtomicU64 {
        // SAFETY: both mappings begin with a position, aligned, that the kernel touches atomically.
        unsafe { AtomicU64::from_ptr(mapping.address.cast()) }
    }

    /// Maps what is pending.
    fn pending(&self, position: u64, end: u64) -> io::Result<Pending> {
        let Window { offset, len, skip } = Window::new(position, end, self.page);
        let mapping = Mapping::new(self.map.fd().as_fd(), len, 2 * self.page + offset, false)?;
        Ok(Pending { mapping, skip, position })
    }
}

/// What of the ring has to be mapped: whole pages.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    /// From where on, in the ring.
    offset: usize,
    /// How much.
    len: usize,
    /// Where in it the first record begins.
    skip: usize,
}

impl Window {
    /// From one position to another, which are no further apart than the ring is long. It may go on beyond the
    /// ring's end, into its second image.
    const fn new(position: u64, end: u64, page: usize) -> Self {
        let begin = position as usize & (RING_BYTES - 1);
        let skip = begin & (page - 1);
        let len = (skip + (end - position) as usize).next_multiple_of(page);
        Self { offset: begin - skip, len, skip }
    }
}

/// Records that wait, mapped.
struct Pending {
    mapping: Mapping,
    /// Where in the mapping the first begins.
    skip: usize,
    /// Its position.
    position: u64,
}

impl Pending {
    /// The address of a byte at a position of those that were mapped.
    fn at(&self, position: u64) -> *const u8 {
        // SAFETY: the mapping goes from before the first position to the last.
        unsafe { self.mapping.address.add(self.skip + (position - self.position) as usize) }
    }
}

impl Events {
    /// Looks at what waits, and stops after so many bytes.
    fn peek_at_most(&mut self, most: u64, sink: &mut dyn FnMut(&[u8])) -> usize {
        self.seen.clear();
        self.has_more = false;
        let mut position = Self::position(&self.consumer).load(Ordering::Acquire);
        let stop = position.saturating_add(most);
        let end = Self::position(&self.producer).load(Ordering::Acquire);
        if position >= end {
            return 0;
        }
        let pending = match self.pending(position, end) {
            Ok(pending) => pending,
            Err(error) => {
                tracing::error!("can't map the events' ring: {error}; refusals wait in the kernel");
                return 0;
            }
        };
        while position < end {
            if position >= stop {
                self.has_more = true;
                break;
            }
            // SAFETY: records begin aligned to eight bytes; the kernel clears the busy bit last.
            let head =
                unsafe { (*pending.at(position).cast::<AtomicU32>()).load(Ordering::Acquire) };
            if head & BUSY != 0 {
                break;
            }
            let len = head & !DISCARDED;
            let mut slot = None;
            if head & DISCARDED == 0 {
                // SAFETY: the record lies whole in the mapping and stays as it is until it is released.
                let record = unsafe {
                    std::slice::from_raw_parts(pending.at(position + RECORD_HEAD), len as usize)
                };
                sink(record);
                slot = Some(slot_of(record));
            }
            let bytes = (u64::from(len) + RECORD_HEAD).next_multiple_of(8);
            position += bytes;
            if let Some(slot) = slot {
                self.seen.push(Seen { end: position, slot, bytes });
            } else if let Some(last) = self.seen.last_mut() {
                last.end = position;
            } else {
                // Nothing that the log has to have: it only says that something was lost.
                Self::position(&self.consumer).store(position, Ordering::Release);
            }
        }
        self.seen.len()
    }
}

/// Whose a record is; nobody's where it is none that we know.
fn slot_of(record: &[u8]) -> u32 {
    const PLACE: usize = offset_of!(EventHeader, slot);
    let bytes = record.get(PLACE..PLACE + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(u32::MAX, u32::from_ne_bytes)
}

impl EventSource for Events {
    fn peek(&mut self, sink: &mut dyn FnMut(&[u8])) -> usize {
        self.peek_at_most(BATCH, sink)
    }

    fn has_more(&self) -> bool {
        self.has_more
    }

    fn release(&mut self, count: usize) {
        let Some(last) = count.checked_sub(1).and_then(|last| self.seen.get(last)) else { return };
        Self::position(&self.consumer).store(last.end, Ordering::Release);
        let mut released: BTreeMap<u32, u64> = BTreeMap::new();
        for seen in self.seen.iter().take(count) {
            *released.entry(seen.slot).or_default() += seen.bytes;
        }
        for (slot, bytes) in released {
            let before = self.taken.get(slot as usize).copied().unwrap_or(0);
            self.set_taken(slot, before.wrapping_add(bytes));
        }
    }

    fn lost(&mut self) -> Vec<(Slot, u64)> {
        // In one call: they are asked for each time that something waits.
        let counts = sys::values(self.counts.lost.fd().as_fd(), SESSIONS).unwrap_or_default();
        (0..).map(Slot).zip(counts).filter(|(_, count)| *count > 0).collect()
    }

    fn fill(&self) -> u8 {
        let taken = Self::position(&self.consumer).load(Ordering::Acquire);
        let end = Self::position(&self.producer).load(Ordering::Acquire);
        ((end.saturating_sub(taken)) * 100 / RING_BYTES as u64).min(100) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;
    const RING: u64 = RING_BYTES as u64;

    #[test]
    fn window_is_the_pages_of_what_is_pending() {
        let window = |position, end| {
            let Window { offset, len, skip } = Window::new(position, end, PAGE);
            (offset, len, skip)
        };
        assert_eq!(window(0, 8), (0, PAGE, 0));
        assert_eq!(window(8, 4096), (0, PAGE, 8));
        assert_eq!(window(8, 4104), (0, 2 * PAGE, 8));
        assert_eq!(window(5000, 5008), (PAGE, PAGE, 904));
        // A later round, over the ring's end, and a ring that is full.
        assert_eq!(window(3 * RING + 16, 3 * RING + 24), (0, PAGE, 16));
        assert_eq!(window(RING - 8, RING + 8), (RING_BYTES - PAGE, 2 * PAGE, PAGE - 8));
        let (offset, len, skip) = window(2 * RING - 8, 3 * RING - 8);
        assert_eq!((offset, len, skip), (RING_BYTES - PAGE, RING_BYTES + PAGE, PAGE - 8));
        assert!(offset + len <= 2 * RING_BYTES);
    }
}
