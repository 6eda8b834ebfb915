//! `hunt`: makes programs at random, runs each in a session of its own, and says what a session could do that it may
//! not, and what was refused that it may. Runs in a guest of `cargo xtask hunt`; see `docs/hunt.md`.
//!
//! `table` knows the calls, `world` the objects, `generate` makes programs, `run` has `child` do them in a session, and
//! `judge` says what came of them, by `outside`, `files`, `servers` and `victim`, which know no call. `record` asks the
//! daemon.

mod child;
mod choice;
mod coverage;
mod event;
mod facts;
mod files;
mod generate;
mod judge;
mod memory;
mod outside;
mod program;
mod record;
mod run;
mod servers;
mod shared;
mod shrink;
mod table;
mod victim;
mod world;

use std::{
    env, fs,
    process::ExitCode,
    time::{Duration, Instant},
};

use fastrand::Rng;

use coverage::Coverage;
use judge::Find;
use program::{Program, User};
use run::Runner;
use table::Table;

/// How long a hunt takes that nobody gave a time.
const SECONDS: u64 = 180;

/// What is to be done.
struct Options {
    /// How long to hunt; without, as long as [`SECONDS`] unless programs are given.
    seconds: Option<u64>,
    programs: u64,
    seed: u64,
    replay: Vec<String>,
    /// Stop when finds of all these kinds were made; without shrinking any.
    until: Vec<String>,
    keep_going: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        seconds: None,
        programs: u64::MAX,
        seed: 1,
        replay: Vec::new(),
        until: Vec::new(),
        keep_going: false,
    };
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("`{word}` needs a value"));
        let number =
            |text: String| text.parse::<u64>().map_err(|_| format!("`{text}` is no number"));
        match word.as_str() {
            "--seconds" => options.seconds = Some(number(value()?)?),
            "--programs" => options.programs = number(value()?)?,
            "--seed" => options.seed = number(value()?)?,
            "--until" => options.until.push(value()?),
            "--replay" => options.replay.push(value()?),
            "--keep-going" => options.keep_going = true,
            _ => return Err(format!("no such option as `{word}`")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("hunt: {problem}");
            return ExitCode::from(2);
        }
    };
    let table = Table::read();
    let mut runner = Runner::new(&table);
    let mut found = replay(&options.replay, &mut runner);
    if let Some(seconds) = options.seconds.or(options.replay.is_empty().then_some(SECONDS)) {
        found |= hunt(&options, seconds, &mut runner);
    }
    if found { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Tries programs that are kept as files; tells whether one has a find.
fn replay(paths: &[String], runner: &mut Runner<'_>) -> bool {
    let mut found = false;
    for path in paths {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let program =
            Program::read(&text, runner.table).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut finds = Vec::new();
        for _ in 0..3 {
            finds = runner.run(&program).finds;
            if !finds.is_empty() {
                break;
            }
        }
        println!("replay {path} ... {}", if finds.is_empty() { "ok" } else { "FOUND" });
        for find in &finds {
            println!("  {}: {}", find.kind, find.text);
        }
        found |= !finds.is_empty();
    }
    found
}

/// Makes and runs programs; tells whether there was a find.
fn hunt(options: &Options, seconds: u64, runner: &mut Runner<'_>) -> bool {
    let mut rng = Rng::with_seed(options.seed);
    let begin = Instant::now();
    let limit = Duration::from_secs(seconds);
    let mut coverage = Coverage::default();
    let mut kinds: Vec<String> = Vec::new();
    let mut told = begin;
    println!("hunt: seed {}", options.seed);
    while begin.elapsed() < limit && coverage.programs() < options.programs {
        let user = if coverage.programs() % 2 == 0 { User::Root } else { User::Ordinary };
        let program = generate::generate(runner.table, &mut rng, user);
        let report = runner.run(&program);
        coverage.add(&program, &report);
        if told.elapsed() > Duration::from_secs(15) {
            told = Instant::now();
            let rate = coverage.programs() * 60 / begin.elapsed().as_secs().max(1);
            println!(
                "hunt: {} programs, {rate} a minute, {} finds",
                coverage.programs(),
                kinds.len()
            );
        }
        for find in report.finds {
            if kinds.contains(&find.kind) {
                continue;
            }
            kinds.push(find.kind.clone());
            if options.until.is_empty() {
                tell(runner, &program, &find, begin.elapsed());
                continue;
            }
            println!("FIND after {} s: {}: {}", begin.elapsed().as_secs(), find.kind, find.text);
            if options.until.iter().all(|wanted| kinds.contains(wanted)) {
                return true;
            }
        }
        if kinds.len() >= 20 && !options.keep_going && options.until.is_empty() {
            println!("hunt: stopped after 20 kinds of finds");
            break;
        }
    }
    print!("{}{}", coverage.text(runner.table), record::met());
    println!("hunt: {} finds in {} s", kinds.len(), begin.elapsed().as_secs());
    !kinds.is_empty()
}

/// Shrinks a find and prints it.
fn tell(runner: &mut Runner<'_>, program: &Program, find: &Find, after: Duration) {
    println!("\nFIND after {} s: {}: {}", after.as_secs(), find.kind, find.text);
    println!("# before it was shrunk:\n{}", program.text(runner.table).replace('\n', "\n# "));
    match shrink::shrink(runner, program, find) {
        Some(short) => print!("# {}: {}\n{}", find.kind, find.text, short.text(runner.table)),
        None => print!("# seen once, and not again: {}\n{}", find.text, program.text(runner.table)),
    }
    println!();
}
