//! Rounds, batches and what is taken of them. It must not know what is timed.

use std::{io, thread, time::Duration};

use bench::Line;

use crate::sys;

/// What came of one batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Batch {
    /// The nanoseconds of the timed part.
    pub(crate) nanoseconds: u64,
    /// Those of them that the daemon spent.
    pub(crate) daemon: u64,
    /// How many rounds were refused.
    pub(crate) refused: u64,
}

impl From<u64> for Batch {
    fn from(nanoseconds: u64) -> Self {
        Self { nanoseconds, ..Self::default() }
    }
}

/// Does one batch of so many rounds.
pub(crate) type Run = Box<dyn FnMut(u64) -> io::Result<Batch>>;

/// What is taken of the batches.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Taken {
    /// The cheapest of several, after one that is not counted: the timer's interrupt and the work that
    /// the kernel puts off come between rounds of some batches, not of all.
    Least(u32),
    /// The only one: every round is another.
    First,
    /// The only one, in processor time, with what the daemon has to do for it until it is at rest.
    WithDaemon,
}

/// A loop: an operation, and how it is timed.
#[derive(Debug)]
pub(crate) struct Loop {
    /// The operation's name.
    pub(crate) name: &'static str,
    /// How many rounds a batch has. Fewer than the 4,000,000 instructions between two interrupts of the
    /// timer, so that some batches have none.
    pub(crate) rounds: u64,
    /// What is taken of the batches.
    pub(crate) taken: Taken,
    /// Prepares what is used.
    pub(crate) prepare: fn() -> io::Result<Run>,
}

/// What the loops are told.
#[derive(Debug, Default)]
pub(crate) struct Setting {
    /// The daemon's process id, where there is one.
    pub(crate) daemon: Option<libc::pid_t>,
}

impl Loop {
    /// Runs it.
    ///
    /// # Errors
    /// What an operation failed with.
    pub(crate) fn run(&self, setting: &Setting) -> io::Result<Line> {
        let mut run = (self.prepare)()?;
        let batch = match self.taken {
            Taken::Least(batches) => {
                run(self.rounds)?;
                let mut least = run(self.rounds)?;
                for _ in 1..batches {
                    let batch = run(self.rounds)?;
                    if batch.nanoseconds < least.nanoseconds {
                        least = batch;
                    }
                }
                least
            }
            Taken::First => run(self.rounds)?,
            Taken::WithDaemon => {
                let rest = || setting.daemon.map(|_| thread::sleep(REST));
                rest();
                let before = spent(setting)?;
                let batch = run(self.rounds)?;
                let own = sys::now(libc::CLOCK_THREAD_CPUTIME_ID)? - before.own;
                rest();
                let daemon = spent(setting)?.daemon - before.daemon;
                Batch { nanoseconds: own + daemon, daemon, ..batch }
            }
        };
        let each = |nanoseconds: u64| (nanoseconds + self.rounds / 2) / self.rounds;
        Ok(Line {
            operation: self.name.to_owned(),
            instructions: each(batch.nanoseconds),
            daemon: each(batch.daemon),
            refused: batch.refused,
        })
    }
}

/// How long the daemon gets to be at rest: it folds what repeats, and writes it down a second later.
const REST: Duration = Duration::from_secs(3);

/// Processor time that was spent.
struct Spent {
    own: u64,
    daemon: u64,
}

fn spent(setting: &Setting) -> io::Result<Spent> {
    let daemon = setting.daemon.map_or(Ok(0), |daemon| sys::now(sys::clock_of(daemon)))?;
    Ok(Spent { own: sys::now(libc::CLOCK_THREAD_CPUTIME_ID)?, daemon })
}

/// Times what `part` does.
///
/// # Errors
/// What it fails with.
pub(crate) fn time(part: impl FnOnce() -> io::Result<()>) -> io::Result<u64> {
    let begin = sys::now(libc::CLOCK_MONOTONIC)?;
    part()?;
    Ok(sys::now(libc::CLOCK_MONOTONIC)? - begin)
}
