//! Operations that are done again and again, counted, and dated by the clock that all processes share.

use std::{
    collections::HashMap,
    ffi::OsString,
    fmt,
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::call;
use crate::{Answer, State, Words, number};

/// What came of all the repetitions: `tests::repeat` reads it.
#[derive(Clone, Copy, Default)]
struct Counts {
    allowed: u64,
    refused: u64,
    other: u64,
    /// The last error that was no refusal.
    error: i32,
    /// When the first and the last operation began that was allowed, in nanoseconds.
    allowed_at: (u64, u64),
    /// The same of those that were refused.
    refused_at: (u64, u64),
}

impl Counts {
    fn one(&mut self, state: &mut State, operation: &[OsString]) {
        let begin = now();
        let note = |at: &mut (u64, u64)| *at = (if at.0 == 0 { begin } else { at.0 }, begin);
        match crate::run(state, operation) {
            Ok(_) => {
                self.allowed += 1;
                note(&mut self.allowed_at);
            }
            Err(error) if matches!(error.0, libc::EACCES | libc::EPERM) => {
                self.refused += 1;
                note(&mut self.refused_at);
            }
            Err(error) => {
                self.other += 1;
                self.error = error.0;
            }
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allowed, refused, other, error, allowed_at, refused_at } = self;
        write!(out, "{allowed} {refused} {other} {error} ")?;
        write!(out, "{} {} {} {}", allowed_at.0, allowed_at.1, refused_at.0, refused_at.1)
    }
}

/// A loop that runs.
struct Loop {
    stop: Arc<AtomicBool>,
    /// What came of it so far.
    counts: Arc<Mutex<Counts>>,
    thread: JoinHandle<Counts>,
}

static LOOPS: LazyLock<Mutex<HashMap<OsString, Loop>>> = LazyLock::new(Mutex::default);

/// Tries an operation that repeats others.
pub(super) fn run(name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        // So many times, one after the other.
        ("many", [times, operation @ ..]) => {
            let (mut counts, mut state) = (Counts::default(), State::default());
            for _ in 0..number(times) {
                counts.one(&mut state, operation);
            }
            Ok(counts.to_string())
        }
        // In a thread of its own until `stop`, with a pause after each, in microseconds.
        ("start", [name, pause, operation @ ..]) => {
            let pause = Duration::from_micros(number(pause).into());
            let started = start(pause, operation.to_vec());
            LOOPS.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), started);
            Ok(String::new())
        }
        ("counts", [name]) => {
            let loops = LOOPS.lock().unwrap_or_else(PoisonError::into_inner);
            let Loop { counts, .. } = loops.get(name).unwrap_or_else(|| panic!("no loop {name:?}"));
            Ok(counts.lock().unwrap_or_else(PoisonError::into_inner).to_string())
        }
        ("stop", [name]) => {
            let found = LOOPS.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
            let Loop { stop, thread, .. } = found.unwrap_or_else(|| panic!("no loop {name:?}"));
            stop.store(true, Ordering::Relaxed);
            let counts = thread.join().unwrap_or_else(|_| panic!("loop {name:?} panicked"));
            Ok(counts.to_string())
        }
        _ => return None,
    })
}

fn start(pause: Duration, operation: Vec<OsString>) -> Loop {
    let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Counts>>::default());
    let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&counts));
    let thread = thread::spawn(move || {
        let (mut counts, mut state) = (Counts::default(), State::default());
        while !stopped.load(Ordering::Relaxed) {
            counts.one(&mut state, &operation);
            // Who reads them keeps nobody waiting, and is told of the next.
            if let Ok(mut counted) = counted.try_lock() {
                *counted = counts;
            }
            if !pause.is_zero() {
                thread::sleep(pause);
            }
        }
        counts
    });
    Loop { stop, counts, thread }
}

/// Nanoseconds by the monotonic clock.
fn now() -> u64 {
    let mut time = [0u64; 2];
    let clock = usize::try_from(libc::CLOCK_MONOTONIC).unwrap_or_default();
    let got = call::call(libc::SYS_clock_gettime, [clock, (&raw mut time) as usize]);
    got.unwrap_or_else(|error| panic!("no clock: {error}"));
    time[0] * 1_000_000_000 + time[1]
}
