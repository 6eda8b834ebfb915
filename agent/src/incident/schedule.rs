//! When to drain the ring: rarely enough that repeats are folded, and soon enough that it does not overflow. Pure; the
//! loop is the daemon's.

use std::time::{Duration, Instant};

/// From this percentage of the ring on, it is drained at once.
const HURRY: u8 = 25;
/// How long a scan is given to go on, and how long in all.
const SCAN_STEP: Duration = Duration::from_secs(1);
const LONGEST_SCAN: Duration = Duration::from_secs(5);

/// When to drain the ring.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pause: Duration,
    last: Option<Instant>,
    /// A scan that the next drain waits for: since when, and until when.
    scan: Option<(Instant, Instant)>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new(Duration::from_secs(1))
    }
}

impl Schedule {
    /// A schedule with a pause between drains.
    pub const fn new(pause: Duration) -> Self {
        Self { pause, last: None, scan: None }
    }

    /// How long to wait before draining a ring that has something; zero for not at all. `fill` is in percent.
    pub fn wait(&self, now: Instant, fill: u8) -> Duration {
        if fill >= HURRY {
            return Duration::ZERO;
        }
        let rest = self.last.map_or(Duration::ZERO, |last| {
            self.pause.saturating_sub(now.saturating_duration_since(last))
        });
        let scan =
            self.scan.map_or(Duration::ZERO, |(_, until)| until.saturating_duration_since(now));
        rest.max(scan)
    }

    /// Puts the drain off, since the ring's last event belongs to a scan of all processes, which is to be one record.
    /// False if it took too long already, or the ring has no room for more.
    pub fn wait_for_scan(&mut self, now: Instant, fill: u8) -> bool {
        let since = self.scan.map_or(now, |(since, _)| since);
        let goes_on = fill < HURRY && now.saturating_duration_since(since) < LONGEST_SCAN;
        if goes_on {
            self.scan = Some((since, now + SCAN_STEP));
        }
        goes_on
    }

    /// Notes that the ring was drained, by schedule or on request.
    pub const fn drained(&mut self, now: Instant) {
        self.last = Some(now);
        self.scan = None;
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
    fn scan_is_waited_for_until_it_takes_too_long() {
        let mut schedule = Schedule::default();
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        assert!(!schedule.wait_for_scan(start, HURRY));
        assert!(schedule.wait_for_scan(start, 0));
        assert_eq!(schedule.wait(after(50), 0), Duration::from_millis(950));
        assert_eq!(schedule.wait(after(1000), 0), Duration::ZERO);
        assert_eq!(schedule.wait(after(50), HURRY), Duration::ZERO);
        assert!(schedule.wait_for_scan(after(1000), 0));
        assert!(!schedule.wait_for_scan(after(5_000), 0));
        schedule.drained(after(5_000));
        assert!(schedule.wait_for_scan(after(6_000), 0));
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
