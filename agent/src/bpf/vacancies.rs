//! The kernel's word that a session has no task any more. Which it was is not read: the counts are the truth, and
//! all of them are looked at. So nothing is missed where the ring was full, or nobody listened.

use std::{
    os::fd::{AsRawFd, RawFd},
    sync::atomic::{Ordering, fence},
};

use aya::maps::{MapData, RingBuf};

/// Readable when a session has no task any more.
pub struct Vacancies(RingBuf<MapData>);

impl Vacancies {
    /// From the pinned map.
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self(ring)
    }

    /// Takes out what was said so far. Counts that are read after this are those of what was said, or later ones.
    pub fn take(&mut self) {
        while self.0.next().is_some() {}
        // One that finds no room, since this was not seen yet, has changed its count before.
        fence(Ordering::SeqCst);
    }
}

impl AsRawFd for Vacancies {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
