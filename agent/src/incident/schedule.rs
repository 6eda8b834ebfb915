//! When to drain the ring: rarely enough that repeats are folded, and soon enough that it does not overflow. Pure; the
//! loop is the daemon's.

use std::time::{Duration, Instant};

/// From this percentage of the ring on, it is drained at once.
const HURRY: u8 = 25;

/// When to drain the ring.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pause: Duration,
    last: Option<Instant>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new(Duration::from_secs(1))
    }
}

impl Schedule {
    /// A schedule with a pause between drains.
    pub const fn new(pause: Duration) -> Self {
        Self { pause, last: None }
    }

    /// How long to wait before draining a ring that has something; zero for not at all. `fill` is in percent.
    pub fn wait(&self, now: Instant, fill: u8) -> Duration {
        match self.last {
            Some(last) if fill < HURRY => {
                self.pause.saturating_sub(now.saturating_duration_since(last))
            }
            _ => Duration::ZERO,
        }
    }

    /// Notes that the ring was drained, by schedule or on request.
    pub const fn drained(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_drain_is_at_once_and_the_next_after_the_pause() {
        let mut schedule = Schedule::default();
        let start = Instant::now();
        assert_eq!(schedule.wait(start, 0), Duration::ZERO);
        schedule.drained(start);
        let later = start + Duration::from_millis(300);
        assert_eq!(schedule.wait(later, 0), Duration::from_millis(700));
        assert_eq!(schedule.wait(start + Duration::from_secs(5), 0), Duration::ZERO);
    }

    #[test]
    fn nearly_full_ring_is_drained_at_once() {
        let mut schedule = Schedule::default();
        let start = Instant::now();
        schedule.drained(start);
        assert_eq!(schedule.wait(start, HURRY - 1), Duration::from_secs(1));
        assert_eq!(schedule.wait(start, HURRY), Duration::ZERO);
    }
}
