//! When to drain the ring: seldom enough that repeats fold, soon enough that it does not run full. Pure;
//! the loop around it is the daemon's.

use std::time::{Duration, Instant};

/// Percent of the ring from which on nothing waits.
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
    /// With a pause between drains.
    pub const fn new(pause: Duration) -> Self {
        Self { pause, last: None }
    }

    /// How long to wait, once the ring says that it holds something, until draining; zero is at once.
    /// `fill` is how full the ring is in percent.
    pub fn wait(&self, now: Instant, fill: u8) -> Duration {
        match self.last {
            Some(last) if fill < HURRY => {
                self.pause.saturating_sub(now.saturating_duration_since(last))
            }
            _ => Duration::ZERO,
        }
    }

    /// The ring was drained, by schedule or because somebody asked.
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
    fn ring_that_fills_up_is_drained_at_once() {
        let mut schedule = Schedule::default();
        let start = Instant::now();
        schedule.drained(start);
        assert_eq!(schedule.wait(start, HURRY - 1), Duration::from_secs(1));
        assert_eq!(schedule.wait(start, HURRY), Duration::ZERO);
    }
}
