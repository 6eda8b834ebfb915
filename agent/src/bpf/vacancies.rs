//! The kernel's notice that a session has no tasks left. The notice does not say which session: the task counts are the
//! truth, and the reader compares all of them. So nothing is missed when the ring was full or no daemon was reading it.

use std::{
    os::fd::{AsRawFd, RawFd},
    sync::atomic::{Ordering, fence},
};

use aya::maps::{MapData, RingBuf};

/// A descriptor that is readable when some session has no tasks left.
pub struct Vacancies(RingBuf<MapData>);

impl Vacancies {
    /// From the pinned map.
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self(ring)
    }

    /// Empties the ring. Task counts that are read after this include everything that the notices were about.
    pub fn take(&mut self) {
        while self.0.next().is_some() {}
        // A program that finds the ring still full has changed its count before.
        fence(Ordering::SeqCst);
    }
}

impl AsRawFd for Vacancies {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
