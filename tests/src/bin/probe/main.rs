//! `probe`: tries operations as a process of a session and says what came of each; for what a shell
//! can't do. See `tests::probe` for the form of words and answers.
//!
//! One file a kind of operation; each offers `run`, which gives nothing for a word that it doesn't know.

mod act;
mod attack;
mod ends;
mod errno;
mod exec;
mod file;
mod held;
mod holds;
mod name;
mod sys;
mod task;
mod uring;

use std::{
    collections::HashMap,
    env,
    ffi::{OsStr, OsString},
    io::{self, BufRead as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    process::ExitCode,
};

use errno::Errno;

/// What an operation gives.
type Answer = Result<String, Errno>;

/// What operations leave for later ones.
#[derive(Default)]
struct State {
    /// Descriptors by the names that they were given.
    kept: HashMap<OsString, OwnedFd>,
}

/// The words after an operation's name.
type Words<'a> = &'a [OsString];

fn main() -> ExitCode {
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    let mut state = State::default();
    if words == ["serve"] {
        return serve(&mut state);
    }
    for operation in words.split(|word| word == "+") {
        if say(&run(&mut state, operation)).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Does what standard input says, line by line.
fn serve(state: &mut State) -> ExitCode {
    for line in io::stdin().lock().split(b'\n') {
        let Ok(line) = line else { return ExitCode::FAILURE };
        let words: Vec<OsString> =
            line.split(|byte| *byte == 0x1f).map(|word| OsString::from_vec(word.into())).collect();
        if say(&run(state, &words)).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn say(answer: &Answer) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match answer {
        Ok(value) => writeln!(out, "ok {}", value.replace('\n', "\\n"))?,
        Err(error) => writeln!(out, "{error}")?,
    }
    out.flush()
}

/// Tries one operation.
fn run(state: &mut State, operation: Words<'_>) -> Answer {
    let (name, words) = operation.split_first().expect("an operation has a name");
    if name == "nothing" {
        return Ok(String::new());
    }
    let name = name.to_str().unwrap_or_default();
    file::run(state, name, words)
        .or_else(|| holds::run(name, words))
        .or_else(|| held::run(state, name, words))
        .or_else(|| ends::run(state, name, words))
        .or_else(|| name::run(name, words))
        .or_else(|| exec::run(name, words))
        .or_else(|| uring::run(name, words))
        .or_else(|| task::run(state, name, words))
        .or_else(|| attack::run(state, name, words))
        .or_else(|| act::run(name, words))
        .unwrap_or_else(|| panic!("no operation `{name}` with {} words", words.len()))
}

/// A word as a C string.
fn c(word: &OsStr) -> std::ffi::CString {
    std::ffi::CString::new(word.as_bytes()).expect("words have no NUL")
}

/// A word as a number, octal where it begins with `0`.
fn number(word: &OsStr) -> u32 {
    let text = word.to_str().unwrap_or_default();
    let parsed = match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal, 8),
        _ => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("`{text}` is no number"))
}
