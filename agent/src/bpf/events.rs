//! The reader of the events' ring buffer. Unlike aya's it leaves a record in the ring until the log has it, so that a
//! daemon that is killed in between loses nothing. It maps only the pending part of the ring, and only while it reads:
//! a mapping of the whole ring would count twice as memory of the daemon.

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
/// Set in a record's length when the record was discarded (`BPF_RINGBUF_DISCARD_BIT`).
const DISCARDED: u32 = 1 << 30;
/// Bytes before each record: its length, and an offset that only the kernel uses.
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
        // SAFETY: the kernel chooses the address, so no memory is mapped over; the offset is a whole number of pages.
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

/// The batch size in bytes; the record that exceeds it is still part of the batch. A smaller batch makes room in the
/// ring sooner, a larger one folds more repeats.
const BATCH: u64 = RING_BYTES as u64 / 4;

/// Counts of each slot's events.
pub(super) struct Counts {
    /// Events that found no room.
    pub(super) lost: MapData,
    /// Bytes that were put in.
    pub(super) sent: MapData,
    /// Bytes that were taken out. The kernel subtracts them from `sent` to know how much of the ring a session fills.
    pub(super) taken: Array<MapData, u64>,
}

/// A record that was read and is still in the ring.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The position of its end, discarded records behind it included.
    end: u64,
    slot: u32,
    /// Its size in the ring.
    bytes: u64,
}

/// The ring of events, and the counts of events that found no room in it.
pub struct Events {
    map: MapData,
    counts: Counts,
    /// The values of [`Counts::taken`].
    taken: Vec<u64>,
    /// The page with the position up to which records were taken out.
    consumer: Mapping,
    /// The page with the position up to which records were put in. In the file the ring follows it, twice.
    producer: Mapping,
    page: usize,
    /// The records that the last `peek` read, in their order.
    seen: Vec<Seen>,
    /// Whether the last `peek` left some for the next.
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
        events.correct_taken()?;
        Ok(events)
    }

    /// Corrects the counts of taken bytes: a daemon may have been killed after it took records and before it counted
    /// them.
    fn correct_taken(&mut self) -> io::Result<()> {
        let mut waiting = vec![0; SLOTS];
        self.peek_at_most(u64::MAX, &mut |_| {});
        for seen in &self.seen {
            if let Some(bytes) = waiting.get_mut(seen.slot as usize) {
                *bytes += seen.bytes;
            }
        }
        // Records that came meanwhile count as taken, so a session may fill a little more than its share. The other
        // error would lower its share for ever.
        let sent = sys::values(self.counts.sent.fd().as_fd(), SLOTS)?;
        for (slot, (sent, waiting)) in (0..).zip(sent.into_iter().zip(waiting)) {
            self.set_taken(slot, sent.saturating_sub(waiting));
        }
        Ok(())
    }

    /// Tells the kernel how many of a slot's bytes were taken out.
    fn set_taken(&mut self, slot: u32, bytes: u64) {
        let Some(taken) = self.taken.get_mut(slot as usize) else { return };
        if *taken != bytes {
            *taken = bytes;
            if let Err(error) = self.counts.taken.set(slot, bytes, 0) {
                tracing::error!("can't say what was taken out of the events' ring: {error}");
            }
        }
    }

    /// A descriptor that becomes readable when a record comes.
    ///
    /// # Errors
    /// When it can't be cloned.
    pub fn descriptor(&self) -> io::Result<std::os::fd::OwnedFd> {
        self.map.fd().as_fd().try_clone_to_owned()
    }

    /// The position at the start of a page.
    fn position(mapping: &Mapping) -> &AtomicU64 {
        // SAFETY: both mappings begin with an aligned position, which the kernel reads and writes atomically.
        unsafe { AtomicU64::from_ptr(mapping.address.cast()) }
    }

    /// Maps the pending records.
    fn pending(&self, position: u64, end: u64) -> io::Result<Pending> {
        let Window { offset, len, skip } = Window::new(position, end, self.page);
        let mapping = Mapping::new(self.map.fd().as_fd(), len, 2 * self.page + offset, false)?;
        Ok(Pending { mapping, skip, position })
    }
}

/// The part of the ring that has to be mapped: whole pages.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    /// Its start in the ring.
    offset: usize,
    /// Its length.
    len: usize,
    /// The start of the first record in it.
    skip: usize,
}

impl Window {
    /// From one position to another, which are at most the ring's length apart. It may extend beyond the ring's end,
    /// into the second image of the ring.
    const fn new(position: u64, end: u64, page: usize) -> Self {
        let begin = position as usize & (RING_BYTES - 1);
        let skip = begin & (page - 1);
        let len = (skip + (end - position) as usize).next_multiple_of(page);
        Self { offset: begin - skip, len, skip }
    }
}

/// Pending records, mapped.
struct Pending {
    mapping: Mapping,
    /// The start of the first record in the mapping.
    skip: usize,
    /// Its position.
    position: u64,
}

impl Pending {
    /// The address of the byte at a mapped position.
    fn at(&self, position: u64) -> *const u8 {
        // SAFETY: the mapping begins at or before the first pending position and ends at or after the last.
        unsafe { self.mapping.address.add(self.skip + (position - self.position) as usize) }
    }
}

impl Events {
    /// Reads the pending records, and stops after `most` bytes.
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
                // SAFETY: the whole record lies in the mapping, and the kernel does not change it until it is released.
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
                // A discarded record before all others: there is nothing to keep for the log.
                Self::position(&self.consumer).store(position, Ordering::Release);
            }
        }
        self.seen.len()
    }
}

/// A record's slot; of an unknown kind of record, one that does not exist.
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
        // In one call, since this is read with each batch.
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
    fn window_covers_the_pages_of_pending_records() {
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
