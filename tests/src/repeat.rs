//! What the probe's operations `many` and `stop` count.

use std::time::Duration;

use crate::{
    outcome::eventually,
    probe::{Answer, Interactive},
};

/// How often an operation was allowed and refused, and when: in nanoseconds by the monotonic clock, at the
/// operation's beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// It was done.
    pub allowed: u64,
    /// It failed with `EACCES` or `EPERM`.
    pub refused: u64,
    /// It failed otherwise.
    pub other: u64,
    /// The last of those errors.
    pub error: u64,
    /// The first that was done; zero for none.
    pub first_allowed: u64,
    /// The last that was done.
    pub last_allowed: u64,
    /// The first that was refused.
    pub first_refused: u64,
    /// The last that was refused.
    pub last_refused: u64,
}

impl From<Answer> for Counts {
    #[track_caller]
    fn from(answer: Answer) -> Self {
        let text = answer.value();
        let numbers: Vec<u64> = text.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [allowed, refused, other, error, rest @ ..] = numbers.as_slice() else {
            panic!("no counts: `{text}`")
        };
        let [first_allowed, last_allowed, first_refused, last_refused] = rest else {
            panic!("no counts: `{text}`")
        };
        Self {
            allowed: *allowed,
            refused: *refused,
            other: *other,
            error: *error,
            first_allowed: *first_allowed,
            last_allowed: *last_allowed,
            first_refused: *first_refused,
            last_refused: *last_refused,
        }
    }
}

impl Interactive {
    /// Waits until an operation that is repeated (`start`) was tried often enough for a condition, however busy the
    /// machine is.
    ///
    /// # Panics
    /// When it was not within a minute.
    #[track_caller]
    pub fn wait_for_turn(&mut self, name: &str, had: impl Fn(Counts) -> bool) {
        eventually("the operation to have its turn", Duration::from_secs(60), || {
            had(Counts::from(self.ask(["counts", name]))).then_some(())
        });
    }
}

/// Nanoseconds by the monotonic clock, to compare with those of [`Counts`].
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the record is ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap_or_default()
}
