//! Times of the log: UTC, RFC 3339, microseconds.

use std::{fmt, time::Duration};

use agent_common::id::BootNanos;
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A point in time, as the log writes it: `2026-11-24T09:30:00.123456Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(Timestamp);

/// A time that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is neither a time nor an age\n  a time is like `2026-11-24T09:30:00Z`, an age like `90s`, `15m`, `8h` or `7d`"
)]
pub struct TimeError {
    /// What was given.
    pub given: String,
}

impl Time {
    /// A time, cut off at the microsecond: as exact as the log, so that a time that is read back is the one that was
    /// written.
    pub fn new(time: Timestamp) -> Self {
        Self(Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time))
    }

    /// Now.
    pub fn now() -> Self {
        Self::new(Timestamp::now())
    }

    /// The timestamp.
    pub const fn timestamp(self) -> Timestamp {
        self.0
    }

    /// The time of a moment since boot, by how far the wall clock is ahead of that clock, in
    /// nanoseconds. What no calendar can hold becomes the nearest that it can.
    pub fn from_boot(moment: BootNanos, offset: i128) -> Self {
        let nanos = i128::from(moment.0).saturating_add(offset);
        let limits = (Timestamp::MIN.as_nanosecond(), Timestamp::MAX.as_nanosecond());
        Self::new(Timestamp::from_nanosecond(nanos.clamp(limits.0, limits.1)).unwrap_or_default())
    }

    /// Parses a time (RFC 3339) or an age before `now` (`90s`, `15m`, `8h`, `7d`).
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(given: &str, now: Self) -> Result<Self, TimeError> {
        if let Ok(time) = given.parse() {
            return Ok(Self::new(time));
        }
        age(given)
            .and_then(|age| now.0.checked_sub(age).ok())
            .map(Self::new)
            .ok_or_else(|| TimeError { given: given.into() })
    }
}

fn age(given: &str) -> Option<Duration> {
    let (unit_at, unit) = given.char_indices().next_back()?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = given.get(..unit_at)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(seconds).map(Duration::from_secs)
}

/// How far the wall clock is ahead of the clock that counts from boot, in nanoseconds now.
pub fn boot_offset() -> i128 {
    use rustix::time::{ClockId, clock_gettime};

    let nanos = |clock| {
        let time = clock_gettime(clock);
        i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
    };
    nanos(ClockId::Realtime) - nanos(ClockId::Boottime)
}

impl fmt::Display for Time {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.6}", self.0)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self::new).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        Time(text.parse().unwrap())
    }

    #[test]
    fn time_from_boot_shows_microseconds_in_utc() {
        let time = Time::from_boot(BootNanos(1_123_456_789), 1_795_512_599_000_000_000);
        assert_eq!(time.to_string(), "2026-11-24T09:30:00.123456Z");
        let whole = Time::from_boot(BootNanos(1_000_000_000), 1_795_512_599_000_000_000);
        assert_eq!(whole.to_string(), "2026-11-24T09:30:00.000000Z");
    }

    #[test]
    fn time_beyond_the_calendar_is_clamped() {
        let last = Time::from_boot(BootNanos::NEVER, i128::MAX);
        assert_eq!(last, Time::new(Timestamp::MAX));
        assert_eq!(Time::from_boot(BootNanos(0), i128::MIN).0, Timestamp::MIN);
    }

    #[test]
    fn time_or_age_parses_and_anything_else_is_an_error() {
        let now = at("2026-11-24T09:30:00Z");
        assert_eq!(Time::parse("90s", now), Ok(at("2026-11-24T09:28:30Z")));
        assert_eq!(Time::parse("1h", now), Ok(at("2026-11-24T08:30:00Z")));
        assert_eq!(Time::parse("2d", now), Ok(at("2026-11-22T09:30:00Z")));
        assert_eq!(Time::parse("2026-11-24T10:00:00+01:00", now), Ok(at("2026-11-24T09:00:00Z")));
        for wrong in ["", "h", "-1h", "1.5h", "1w", "yesterday", "99999999999999999999s", "1é"] {
            assert!(Time::parse(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn boot_offset_is_since_1970_and_before_boot() {
        let boot = Time::from_boot(BootNanos(0), boot_offset());
        assert!(boot.0 < Timestamp::now() && boot.0 > Timestamp::UNIX_EPOCH);
    }
}
