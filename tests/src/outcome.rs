//! What came of a command.

use std::{
    fmt,
    io::{Read, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a command may take before the test fails.
pub const LIMIT: Duration = Duration::from_secs(180);

/// What a command that has ended said.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit status; none after a signal.
    pub status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Standard output; what is not UTF-8 is replaced.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Outcome {
    /// Runs a command to its end, with `input` as its standard input.
    ///
    /// # Panics
    /// When it can't be started, or takes longer than [`LIMIT`].
    pub fn of(command: &mut Command, input: &[u8]) -> Self {
        command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        if let Some(mut stdin) = child.stdin.take() {
            let input = input.to_owned();
            // A command that doesn't read all of it is no failure of ours.
            thread::spawn(move || stdin.write_all(&input));
        }
        Self::after(child, LIMIT)
    }

    /// Waits for a child whose output is piped.
    pub(crate) fn after(mut child: Child, limit: Duration) -> Self {
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let status = wait(&mut child, limit);
        let text = |bytes: thread::JoinHandle<Vec<u8>>| {
            String::from_utf8_lossy(&bytes.join().unwrap_or_default()).into_owned()
        };
        let (stdout, stderr) = (text(stdout), text(stderr));
        let Some(status) = status else {
            panic!("no end after {limit:?}\n--- output\n{stdout}\n--- errors\n{stderr}");
        };
        Self { status: status.code(), signal: status.signal(), stdout, stderr }
    }

    /// Whether it ended with status zero.
    pub fn is_success(&self) -> bool {
        self.status == Some(0)
    }

    /// Itself, when the status is `expected`.
    ///
    /// # Panics
    /// When it is another; shows what the command said.
    #[track_caller]
    pub fn expect(self, expected: i32) -> Self {
        assert_eq!(self.status, Some(expected), "{self}");
        self
    }

    /// Standard output read as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status, self.signal) {
            (Some(status), _) => writeln!(out, "status {status}")?,
            (None, Some(signal)) => writeln!(out, "signal {signal}")?,
            (None, None) => writeln!(out, "no status")?,
        }
        write!(out, "--- output\n{}--- errors\n{}", self.stdout, self.stderr)
    }
}

fn collect<R: Read + Send + 'static>(from: Option<R>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            // What came until an error is shown all the same.
            let _ = from.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// The child's status; none, and the child killed, when the limit is past.
fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if Instant::now() > end {
            // It may have ended just now.
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Waits until `condition` gives something.
///
/// # Panics
/// When it gave nothing within the limit; `what` says what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}
