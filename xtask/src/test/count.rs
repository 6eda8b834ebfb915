//! What libtest says at the end of each run, added up while it is passed on.
//! It must not know where the runs take place.

use std::{
    fmt,
    io::{self, Write},
    ops::AddAssign,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Tests that passed.
    pub(super) passed: u64,
    /// Tests that failed.
    pub(super) failed: u64,
}

impl Counts {
    /// Of one thing that passed or did not.
    pub(super) fn of_one(passed: bool) -> Self {
        Self { passed: passed.into(), failed: (!passed).into() }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// Where the tests are.
#[derive(Default)]
struct State {
    /// The runs that came to their closing line.
    ended: Counts,
    /// The tests of the run that has not.
    running: Counts,
    /// The names of those that failed.
    failures: Vec<String>,
    /// How long each test took that ended.
    took: Vec<(String, Duration)>,
    /// The line that is being written.
    line: Vec<u8>,
    /// When its first byte came: of a test's line, when the test began.
    begun: Option<Instant>,
}

impl State {
    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let took = self.begun.take().map(|begun| begun.elapsed());
        let line = String::from_utf8_lossy(&line);
        if let Some(counts) = closing(&line) {
            self.ended += counts;
            self.running = Counts::default();
            return;
        }
        let Some((name, result)) =
            line.strip_prefix("test ").and_then(|line| line.rsplit_once(" ... "))
        else {
            return;
        };
        match result {
            "ok" => self.running.passed += 1,
            "FAILED" => {
                self.running.failed += 1;
                self.failures.push(name.to_owned());
            }
            _ => return,
        }
        self.took.extend(took.map(|took| (name.to_owned(), took)));
    }
}

/// What a [`Counter`] counted, read when it is done.
pub(super) struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// The tests that ended, those of a run without a closing line too.
    pub(super) fn get(&self) -> Counts {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = state.ended;
        counts += state.running;
        counts
    }

    /// The names of the tests that failed.
    pub(super) fn failures(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failures.clone()
    }

    /// The tests that took longest, at most so many, the longest first.
    pub(super) fn slowest(&self, most: usize) -> Vec<(String, Duration)> {
        let mut took = self.0.lock().unwrap_or_else(PoisonError::into_inner).took.clone();
        took.sort_by_key(|(_, took)| std::cmp::Reverse(*took));
        took.truncate(most);
        took
    }

    /// The line that was begun and never ended: the name of a test that never did.
    pub(super) fn unfinished(&self) -> Option<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = String::from_utf8_lossy(&state.line).into_owned();
        (!line.is_empty()).then_some(line)
    }
}

/// A writer that passes on what it gets and counts libtest's closing lines.
pub(super) struct Counter<W> {
    to: W,
    state: Arc<Mutex<State>>,
}

impl<W: Write> Counter<W> {
    /// A counter in front of `to`, and its counts.
    pub(super) fn new(to: W) -> (Self, Shared) {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Shared(Arc::clone(&state));
        (Self { to, state }, shared)
    }
}

impl<W: Write> Write for Counter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write_all(bytes)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            match byte {
                b'\n' => state.end_line(),
                byte => {
                    state.begun.get_or_insert_with(Instant::now);
                    state.line.push(*byte);
                }
            }
        }
        drop(state);
        self.to.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The numbers of a line `test result: ok. 3 passed; 1 failed; …`; none of any other.
fn closing(line: &str) -> Option<Counts> {
    let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let number = |name: &str| {
        let mut parts = numbers.split("; ").filter_map(|part| part.split_once(' '));
        let found = parts.find(|(_, word)| *word == name);
        found.and_then(|(number, _)| number.parse().ok()).unwrap_or(0)
    };
    Some(Counts { passed: number("passed"), failed: number("failed") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counter_closing_lines_are_added_up() {
        let mut output = Vec::new();
        let (mut counter, counts) = Counter::new(&mut output);
        let text = "test a ... ok\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored\n";
        for part in text.as_bytes().chunks(7) {
            counter.write_all(part).expect("a vector takes all");
        }
        assert_eq!(counts.get(), Counts { passed: 4, failed: 2 });
        assert_eq!(output, text.as_bytes());
    }

    #[test]
    fn counter_slowest_test_is_the_one_that_took_longest() {
        let (mut counter, counts) = Counter::new(io::sink());
        for (name, takes) in [("a", 0), ("b", 300), ("c", 10)] {
            counter.write_all(format!("test {name} ... ").as_bytes()).expect("a sink takes all");
            std::thread::sleep(Duration::from_millis(takes));
            counter.write_all(b"ok\n").expect("a sink takes all");
        }
        let slowest = counts.slowest(2);
        assert_eq!(slowest.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        assert!(slowest[0].1 >= Duration::from_millis(300), "{slowest:?}");
    }

    #[test]
    fn counter_run_without_its_end_counts_the_tests_that_ended() {
        let (mut counter, counts) = Counter::new(io::sink());
        let text = b"test a ... ok\ntest result: ok. 1 passed; 0 failed\n\
                     test b ... ok\ntest c ... FAILED\ntest d ... ";
        counter.write_all(text).expect("a sink takes all");
        assert_eq!(counts.get(), Counts { passed: 2, failed: 1 });
        assert_eq!(counts.failures(), ["c"]);
        assert_eq!(counts.unfinished().as_deref(), Some("test d ... "));
    }
}
