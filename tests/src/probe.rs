//! The other end of the program `probe`: what it is told and what it says.
//!
//! `probe OPERATION WORDS… + OPERATION WORDS…` tries one after another and prints a line for each, `ok
//! VALUE` or the error's name such as `EACCES`. `probe serve` reads operations line by line, their words
//! separated by [`SEPARATOR`].

use std::{
    ffi::{OsStr, OsString},
    io::{BufRead as _, BufReader, Write as _},
    ops::Deref,
    os::unix::ffi::OsStrExt as _,
    process::{ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{
    layout,
    outcome::Outcome,
    session::{Builder, Finished, Running},
};

/// Separates words of an operation.
pub const SEPARATOR: u8 = 0x1f;

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was done, and gave this; most give nothing.
    Done(String),
    /// It failed with this error: `EACCES`.
    Failed(String),
}

impl Answer {
    /// The command that tries operations.
    pub fn command(operations: &[Vec<OsString>]) -> Vec<OsString> {
        let mut command = vec![layout::probe().into_os_string()];
        for (place, operation) in operations.iter().enumerate() {
            if place > 0 {
                command.push("+".into());
            }
            command.extend(operation.iter().cloned());
        }
        command
    }

    /// Reads the answers to `count` operations.
    ///
    /// # Panics
    /// When there are not so many.
    #[track_caller]
    pub fn read_all(outcome: &Outcome, count: usize) -> Vec<Self> {
        let answers: Vec<_> = outcome.stdout.lines().map(Self::read).collect();
        assert!(outcome.is_success() && answers.len() == count, "the probe: {outcome}");
        answers
    }

    fn read(line: &str) -> Self {
        match line.split_once(' ') {
            Some(("ok", value)) => Self::Done(value.to_owned()),
            _ if line == "ok" => Self::Done(String::new()),
            _ => Self::Failed(line.to_owned()),
        }
    }

    /// What the operation gave.
    ///
    /// # Panics
    /// When it failed.
    #[track_caller]
    pub fn value(self) -> String {
        match self {
            Self::Done(value) => value,
            Self::Failed(error) => panic!("failed with {error}"),
        }
    }

    /// The error's name; empty when there was none.
    pub fn error(&self) -> &str {
        match self {
            Self::Done(_) => "",
            Self::Failed(error) => error,
        }
    }
}

/// Tries operations, one after another, in a process that no session has: what is refused to a session
/// is to be possible here.
///
/// # Panics
/// When the probe can't be run or does not answer for each.
#[track_caller]
pub fn untagged(operations: &[Vec<OsString>]) -> Vec<Answer> {
    // It lays out the programs.
    crate::bed();
    let command = Answer::command(operations);
    let outcome = Outcome::of(Command::new(&command[0]).args(&command[1..]).current_dir("/"), &[]);
    Answer::read_all(&outcome, operations.len())
}

impl Builder {
    /// Tries operations, each a list of words, one after another in one process, and says what came of
    /// each.
    ///
    /// # Panics
    /// When the probe can't be run or does not answer for each.
    #[track_caller]
    pub fn probe(self, operations: &[Vec<OsString>]) -> (Finished, Vec<Answer>) {
        let finished = self.run(Answer::command(operations));
        let answers = Answer::read_all(&finished.outcome, operations.len());
        (finished, answers)
    }

    /// Starts a probe that is told its operations one by one.
    #[track_caller]
    pub fn interactive(self) -> Interactive {
        let mut command = self.command([layout::probe().as_os_str(), OsStr::new("serve")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (input, output) = (child.stdin.take(), child.stdout.take());
        Interactive::new(self.running(child), input.zip(output))
    }
}

/// A probe that runs in a session and does what it is told.
#[derive(Debug)]
pub struct Interactive {
    running: Running,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Interactive {
    #[track_caller]
    fn new(running: Running, pipes: Option<(ChildStdin, ChildStdout)>) -> Self {
        let (input, output) = pipes.expect("the probe's ends are pipes");
        let mut probe = Self { running, input, output: BufReader::new(output) };
        // From its answer on it runs, with its tag.
        assert_eq!(probe.ask(crate::words!["nothing"]).error(), "");
        probe
    }

    /// A probe that no session has.
    ///
    /// # Panics
    /// When it can't be started.
    #[track_caller]
    pub fn untagged() -> Self {
        Self::untagged_through::<[&str; 0]>([])
    }

    /// The same, started by a command such as `setpriv …`.
    ///
    /// # Panics
    /// When it can't be started.
    #[track_caller]
    pub fn untagged_through<I: IntoIterator<Item: AsRef<OsStr>>>(before: I) -> Self {
        crate::bed();
        let mut words: Vec<_> = before.into_iter().map(|word| word.as_ref().to_owned()).collect();
        words.extend([layout::probe().into_os_string(), "serve".into()]);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir("/");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (input, output) = (child.stdin.take(), child.stdout.take());
        Self::new(Running::untagged(child), input.zip(output))
    }

    /// Tries one operation, such as `words!["open-read", path]`.
    ///
    /// # Panics
    /// When the probe is gone.
    #[track_caller]
    pub fn ask<I: IntoIterator<Item: AsRef<OsStr>>>(&mut self, operation: I) -> Answer {
        let words: Vec<_> = operation.into_iter().map(|word| word.as_ref().to_owned()).collect();
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        let mut line = words.join(&SEPARATOR);
        line.push(b'\n');
        self.input.write_all(&line).expect("the probe reads");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("the probe answers in UTF-8");
        assert!(answer.ends_with('\n'), "the probe is gone after {words:?}");
        Answer::read(answer.trim_end_matches('\n'))
    }
}

impl Deref for Interactive {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}
