//! What libtest says at the end of each run, added up while it is passed on.
//! It must not know where the runs take place.

use std::{
    fmt,
    io::{self, Write},
    ops::AddAssign,
    sync::{Arc, Mutex, PoisonError},
};

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Tests that passed.
    pub(super) passed: u64,
    /// Tests that failed.
    pub(super) failed: u64,
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

/// The counts of a [`Counter`], read when it is done.
pub(super) struct Shared(Arc<Mutex<Counts>>);

impl Shared {
    /// What was counted so far.
    pub(super) fn get(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A writer that passes on what it gets and counts libtest's closing lines.
pub(super) struct Counter<W> {
    to: W,
    line: Vec<u8>,
    counts: Arc<Mutex<Counts>>,
}

impl<W: Write> Counter<W> {
    /// A counter in front of `to`, and its counts.
    pub(super) fn new(to: W) -> (Self, Shared) {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let shared = Shared(Arc::clone(&counts));
        let line = Vec::new();
        (Self { to, line, counts }, shared)
    }
}

impl<W: Write> Write for Counter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write_all(bytes)?;
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let counts = parse(&String::from_utf8_lossy(&self.line));
            self.line.clear();
            *self.counts.lock().unwrap_or_else(PoisonError::into_inner) += counts;
        }
        self.to.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// The numbers of a line `test result: ok. 3 passed; 1 failed; …`; none of any other.
fn parse(line: &str) -> Counts {
    let Some((_, numbers)) = line
        .strip_prefix("test result: ")
        .and_then(|rest| rest.split_once(". "))
    else {
        return Counts::default();
    };
    let number = |name: &str| {
        let mut parts = numbers.split("; ").filter_map(|part| part.split_once(' '));
        let found = parts.find(|(_, word)| *word == name);
        found
            .and_then(|(number, _)| number.parse().ok())
            .unwrap_or(0)
    };
    Counts {
        passed: number("passed"),
        failed: number("failed"),
    }
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
        assert_eq!(
            counts.get(),
            Counts {
                passed: 4,
                failed: 2
            }
        );
        assert_eq!(output, text.as_bytes());
    }
}
