//! The two clocks: wall time for people, time since boot for the kernel's decisions.

use std::time::Duration;

use agent_common::id::BootNanos;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A moment by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Wall time.
    pub wall: Timestamp,
    /// Nanoseconds since boot, sleep included.
    pub boot: u64,
}

impl Moment {
    /// A later moment; the latest that the clocks can express if it would be beyond.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let wall = self.wall.checked_add(span).unwrap_or(Timestamp::MAX);
        Self { wall, boot: self.boot.saturating_add(nanos) }
    }

    /// The moment at another boot time, computed by its distance from this one.
    #[must_use]
    pub fn at_boot(self, boot: BootNanos) -> Self {
        let (wall, distance) = if boot.0 >= self.boot {
            let distance = Duration::from_nanos(boot.0 - self.boot);
            (self.wall.checked_add(distance), boot.0)
        } else {
            (self.wall.checked_sub(Duration::from_nanos(self.boot - boot.0)), boot.0)
        };
        Self { wall: wall.unwrap_or(self.wall), boot: distance }
    }

    /// The boot time as its type.
    pub const fn nanos(self) -> BootNanos {
        BootNanos(self.boot)
    }

    /// Whether the moment has come by `now`.
    pub const fn reached(self, now: Self) -> bool {
        now.boot >= self.boot
    }
}

/// The registry's source of time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Moment;
}

/// The system's clocks.
#[derive(Clone, Copy, Debug)]
pub struct System;

impl Clock for System {
    fn now(&self) -> Moment {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(boot.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(boot.tv_nsec).unwrap_or(0);
        Moment { wall: Timestamp::now(), boot: seconds * 1_000_000_000 + nanos }
    }
}
