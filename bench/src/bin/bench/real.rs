//! What real work costs: whole programs, all instructions of the guest while they run, those of the daemon
//! and the kernel's own threads among them.
//!
//! The same shell commands run bare, beside a session, and in a session under the policy for a new host;
//! their files lie in memory. Also what the daemon takes while nothing happens.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

use crate::{
    flat::Crowd,
    kernel,
    process::{capture, say},
    remit::{self, Remit},
    rows::POLICY,
};

/// Everything that one boot has shown.
#[derive(Serialize)]
pub(crate) struct Real {
    /// As `uname -r` says it.
    kernel: String,
    rows: Vec<Cells>,
    idle: Idle,
}

/// Instructions of one piece of work.
#[derive(Serialize)]
struct Cells {
    work: &'static str,
    bare: u64,
    untagged: u64,
    tagged: u64,
}

/// The daemon at rest.
#[derive(Serialize)]
struct Idle {
    sessions: u32,
    resident_kib: u64,
    wakeups_per_minute: u64,
    instructions_per_second: u64,
}

/// Something that is done by a shell in the work folder.
struct Work {
    name: &'static str,
    /// The program that it takes.
    needs: &'static str,
    /// Done once.
    prepare: &'static str,
    /// Done before each time.
    reset: &'static str,
    run: &'static str,
}

const WORKS: &[Work] = &[
    Work {
        name: "git status, 2,000 files",
        needs: "git",
        prepare: "mkdir repository; cd repository; git init -q .
            for d in $(seq 40); do mkdir -p a/d$d; for f in $(seq 50); do echo $f > a/d$d/f$f; done; done
            git -c user.name=a -c user.email=a@b add .
            git -c user.name=a -c user.email=a@b commit -qm all",
        reset: "touch repository/a/d1/f1",
        run: "cd repository; git status --short",
    },
    Work {
        name: "find -name, 20,000 names",
        needs: "find",
        prepare: "for d in $(seq 400); do mkdir -p tree/$((d % 20))/$d
            for f in $(seq 50); do : > tree/$((d % 20))/$d/file-$f; done; done",
        reset: "",
        run: "find tree -name nothing",
    },
    Work {
        name: "grep -r, 2,000 files",
        needs: "grep",
        prepare: "mkdir text; lines=$(seq 100); for d in $(seq 40); do mkdir -p text/d$d
            for f in $(seq 50); do echo \"$lines\" > text/d$d/f$f; done; done",
        reset: "",
        run: "grep -rc 100 text",
    },
    Work {
        name: "python3 imports 40 modules",
        needs: "/usr/bin/python3",
        prepare: "",
        reset: "",
        run: "/usr/bin/python3 -c 'import argparse, ast, asyncio, base64, bisect, calendar, collections, \
              concurrent.futures, configparser, csv, dataclasses, datetime, decimal, difflib, email, enum, \
              fractions, functools, glob, hashlib, heapq, html, http.client, inspect, ipaddress, json, logging, \
              pathlib, pickle, platform, random, re, shutil, socket, sqlite3, ssl, statistics, subprocess, \
              tempfile, unittest'",
    },
    Work {
        name: "npm installs a packed folder",
        needs: "npm",
        prepare: r#"mkdir -p library program
            echo '{"name":"library","version":"1.0.0"}' > library/package.json
            for f in $(seq 200); do echo "module.exports = $f" > library/f$f.js; done
            (cd library; npm pack --silent)"#,
        reset: r#"rm -rf program; mkdir program
            echo '{"name":"program","version":"1.0.0"}' > program/package.json"#,
        run: "cd program; npm install --silent --offline --no-audit --no-fund ../library/library-1.0.0.tgz",
    },
    Work {
        name: "cargo build of a small program",
        needs: "cargo",
        prepare: r#"mkdir -p small/src; echo 'fn main() { println!("built") }' > small/src/main.rs
            printf '[package]\nname = "small"\nversion = "0.1.0"\nedition = "2021"\n' > small/Cargo.toml"#,
        reset: "rm -rf small/target",
        run: "cd small; cargo build --offline --quiet",
    },
    Work {
        name: "sh starts 200 programs",
        needs: "sh",
        prepare: "",
        reset: "",
        run: "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i + 1)); done",
    },
];

/// The policy for a new host.
const DEFAULT: &str = include_str!("../../../../agent/policy/default.toml");
/// The folder in which everything is done.
const FOLDER: &str = "/srv/real";
/// How often each is done; the least counts. The first fills the caches.
const ROUNDS: u32 = 2;
/// How many sessions the daemon has while it is at rest.
const SESSIONS: u32 = 100;
/// How long until the threads have ended that served what was asked.
const SERVED: Duration = Duration::from_secs(15);
/// How long it is watched.
const WATCH: Duration = Duration::from_secs(60);

/// Measures everything.
///
/// # Errors
/// When something fails that should not.
pub(crate) fn measure() -> Result<Real> {
    fs::create_dir_all(FOLDER).context("cannot make the work folder")?;
    let works: Vec<&Work> = WORKS.iter().filter(|work| is_there(work.needs)).collect();
    for work in &works {
        say(format!("preparing `{}`", work.name));
        capture(&mut shell(&format!("cd {FOLDER}; set -e; {}", work.prepare)))?;
    }
    let bare = column("bare", &works, &mut Shell::start(&mut Command::new("sh"))?)?;
    let remit = Remit::start(POLICY)?;
    let idle = idle(&remit)?;
    remit.policy(DEFAULT)?;
    let mut beside = session("beside");
    let beside = Shell::start(beside.arg("cat"))?;
    let untagged = column("untagged", &works, &mut Shell::start(&mut Command::new("sh"))?)?;
    drop(beside);
    let tagged = column("tagged", &works, &mut Shell::start(session("real").arg("sh"))?)?;
    let refusals = remit::refusals("real")?;
    ensure!(refusals.trim().is_empty(), "refused in the session:\n{refusals}");
    remit.end()?;
    let mut rows = Vec::new();
    for (place, work) in works.iter().enumerate() {
        let (bare, untagged, tagged) = (bare[place], untagged[place], tagged[place]);
        rows.push(Cells { work: work.name, bare, untagged, tagged });
    }
    Ok(Real { kernel: kernel()?, rows, idle })
}

/// `remit run` of a session that works here; the command is for the caller to add.
fn session(name: &str) -> Command {
    let mut command = remit::run_in("coder", FOLDER);
    command.args(["--name", name, "--"]);
    command
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&path).any(|folder| folder.join(program).exists());
    if !there {
        say(format!("no `{program}` on this machine"));
    }
    there
}

/// The folder of the compiler's own `cargo`, where this was built by it: a wrapper would choose at each
/// start which one to run.
fn path() -> String {
    let own = option_env!("CARGO").and_then(|cargo| Path::new(cargo).parent());
    let own = own.map(|folder| format!("{}:", folder.display())).unwrap_or_default();
    format!("{own}/usr/local/bin:/usr/bin:/bin")
}

fn with_environment(command: &mut Command) {
    command.env("PATH", format!("{}:{}", path(), std::env::var("PATH").unwrap_or_default()));
    command.env("HOME", FOLDER).env("CARGO_HOME", format!("{FOLDER}/.cargo"));
    command.env("npm_config_update_notifier", "false").env("LC_ALL", "C");
    command.current_dir(FOLDER);
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    with_environment(&mut command);
    command
}

/// A shell that is told one thing after another.
struct Shell {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start(command: &mut Command) -> Result<Self> {
        with_environment(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot run a shell")?;
        let input = child.stdin.take().context("a shell without input")?;
        let output = child.stdout.take().context("a shell without output")?;
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    fn run(&mut self, script: &str) -> Result<()> {
        let silent = "> /dev/null 2> said < /dev/null && echo done || echo failed";
        writeln!(self.input, "( set -e; {script}\n) {silent}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line != "done\n" {
            let said = fs::read_to_string(Path::new(FOLDER).join("said")).unwrap_or_default();
            bail!("`{script}`: {}: {said}", line.trim_end());
        }
        Ok(())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn column(name: &str, works: &[&Work], runner: &mut Shell) -> Result<Vec<u64>> {
    let mut column = Vec::new();
    for work in works {
        let mut least = u64::MAX;
        for _ in 0..ROUNDS {
            capture(&mut shell(&format!("cd {FOLDER}; {}", work.reset)))?;
            thread::sleep(Duration::from_secs(2));
            let before = spent()?;
            runner.run(work.run)?;
            least = least.min(spent()? - before);
        }
        say(format!("{name}: {}: {} million", work.name, least / 1_000_000));
        column.push(least);
    }
    Ok(column)
}

/// Nanoseconds, and so instructions, that tasks of this guest ran so far: all of them, on its one
/// processor. Idle time is none.
fn spent() -> Result<u64> {
    let text =
        fs::read_to_string("/proc/schedstat").context("this kernel keeps no /proc/schedstat")?;
    let line = text.lines().find(|line| line.starts_with("cpu0 ")).context("no processor 0")?;
    let field = line.split_ascii_whitespace().nth(7).context("another form of /proc/schedstat")?;
    field.parse().context("another form of /proc/schedstat")
}

/// The daemon with many sessions of which none does anything.
fn idle(remit: &Remit) -> Result<Idle> {
    let mut crowd = Crowd::default();
    crowd.start(SESSIONS)?;
    thread::sleep(SERVED);
    say("watching the daemon at rest");
    let before = threads(remit.pid())?;
    thread::sleep(WATCH);
    let seconds = WATCH.as_secs();
    let spent = spent_since(&before, &threads(remit.pid())?);
    let found = Idle {
        sessions: SESSIONS,
        resident_kib: resident(remit.pid())?,
        wakeups_per_minute: spent.sleeps * 60 / seconds,
        instructions_per_second: spent.instructions / seconds,
    };
    drop(crowd);
    remit::rest();
    Ok(found)
}

fn resident(pid: u32) -> Result<u64> {
    status_field(Path::new(&format!("/proc/{pid}/status")), "VmRSS:")
}

/// What a thread did.
#[derive(Clone, Copy, Default)]
struct Spent {
    /// How often it went to sleep, which is how often it woke.
    sleeps: u64,
    /// Nanoseconds, and so instructions, that it ran.
    instructions: u64,
}

/// What each thread of the daemon did so far.
fn threads(pid: u32) -> Result<HashMap<OsString, Spent>> {
    let mut threads = HashMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).context("the daemon is gone")? {
        let entry = entry?;
        // A thread that ends meanwhile counts no more.
        let Ok(sleeps) = status_field(&entry.path().join("status"), "voluntary_ctxt_switches:")
        else {
            continue;
        };
        let text = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
        let first = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
        let spent = Spent { sleeps, instructions: first.unwrap_or(0) };
        threads.insert(entry.file_name(), spent);
    }
    Ok(threads)
}

/// What all threads did meanwhile that are still there.
fn spent_since(before: &HashMap<OsString, Spent>, now: &HashMap<OsString, Spent>) -> Spent {
    let mut sum = Spent::default();
    for (thread, now) in now {
        let before = before.get(thread).copied().unwrap_or_default();
        sum.sleeps += now.sleeps.saturating_sub(before.sleeps);
        sum.instructions += now.instructions.saturating_sub(before.instructions);
    }
    sum
}

fn status_field(path: &Path, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
    let number = line.split_ascii_whitespace().next().context("no number")?;
    number.parse().context("no number")
}
