//! `cargo xtask hunt`: programs made at random, each run in a session in a guest, and judged. See `docs/hunt.md`.
//! Knows how the hunter is built and booted, and against which build of Remit; must not know what it tries.

mod before;
pub(crate) mod faults;

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::Build,
    process::run,
    project::{cargo, root, target},
    say,
    vm::{Guest, kernel::Series},
};

/// Makes programs at random, runs each in a session of its own, and reports what a session could do that it may
/// not, and what was refused that it may.
#[derive(clap::Args)]
pub(crate) struct Hunt {
    /// How long to hunt.
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u64,

    /// What the programs are made from: the same number makes the same programs. Without: a fresh one, which is printed.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// The kernel's series.
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Series,

    /// Try only this program, kept as a file; may be given several times.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["minutes", "seed"])]
    replay: Vec<PathBuf>,

    /// Hunt the build of this commit, to see whether a fault that was mended since is found.
    #[arg(long, value_name = "COMMIT", conflicts_with = "no_build")]
    before: Option<String>,

    /// Hunt, in the builds of earlier commits, for the faults that `tests/hunt/faults.txt` lists.
    #[arg(long, conflicts_with_all = ["minutes", "seed", "replay", "before"])]
    faults: bool,

    /// Go on after twenty kinds of finds.
    #[arg(long)]
    keep_going: bool,

    /// Take the binaries as they are.
    #[arg(long)]
    no_build: bool,
}

/// How long `.ci/run` hunts, in seconds, and from what: a fresh number would stop work that has nothing to do with a find.
const BRIEF: u64 = 180;
const BRIEF_SEED: u64 = 2026;

/// What starting the hunter and shrinking a last find take beside hunting.
const MARGIN: Duration = Duration::from_secs(600);

impl Hunt {
    /// Hunts, and tells whether nothing was found.
    ///
    /// # Errors
    /// When something can't be built or booted.
    pub(crate) fn run(&self) -> Result<bool> {
        if self.faults {
            return faults::find_again(self.kernel);
        }
        if !self.no_build {
            if self.before.is_none() {
                Build::default().run()?;
            }
            build()?;
        }
        let remit = match &self.before {
            Some(commit) => before::build(commit)?,
            None => Build::default().folder(),
        };
        if !self.replay.is_empty() {
            return hunt(&remit, self.kernel, &replays(&self.replay)?, MARGIN);
        }
        let seed = self.seed.unwrap_or_else(fresh_seed);
        let seconds = self.minutes * 60;
        let mut options = words(["--seconds", &seconds.to_string(), "--seed", &seed.to_string()]);
        if self.keep_going {
            options.push("--keep-going".into());
        }
        say::step(format!(
            "hunting on {} for {} minutes, seed {seed}",
            self.kernel.name(),
            self.minutes
        ));
        hunt(&remit, self.kernel, &options, Duration::from_secs(seconds) + MARGIN)
    }

    /// Tries all earlier finds again and hunts for a short while from a fixed seed, with the binaries as they are.
    ///
    /// # Errors
    /// When the hunter can't be built or booted.
    pub(crate) fn brief(kernel: Series) -> Result<bool> {
        build()?;
        let mut options = replays(&finds()?)?;
        options.extend(words(["--seconds", &BRIEF.to_string(), "--seed", &BRIEF_SEED.to_string()]));
        hunt(&Build::default().folder(), kernel, &options, Duration::from_secs(BRIEF) + MARGIN)
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<OsString> {
    words.map(OsString::from).to_vec()
}

/// The options that have the hunter try programs that are kept as files.
fn replays(paths: &[PathBuf]) -> Result<Vec<OsString>> {
    let mut options = Vec::new();
    for path in paths {
        let path =
            path.canonicalize().with_context(|| format!("cannot find `{}`", path.display()))?;
        options.extend([OsString::from("--replay"), path.into()]);
    }
    Ok(options)
}

/// The programs of earlier finds.
fn finds() -> Result<Vec<PathBuf>> {
    let folder = root().join("tests/hunt/finds");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    if paths.is_empty() {
        bail!("no find in `{}`", folder.display());
    }
    Ok(paths)
}

/// A number that no hunt had before.
fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.as_millis() as u64
}

/// Builds the hunter, fast: it shares its processor with what it hunts.
fn build() -> Result<()> {
    say::step("building the hunter");
    let mut command = cargo();
    command.args(["build", "--release", "--package", "tests", "--bin", "hunt", "--bin", "probe"]);
    run(&mut command)
}

/// Boots a guest with the binaries of a folder and hunts in it.
fn hunt(remit: &Path, kernel: Series, options: &[OsString], timeout: Duration) -> Result<bool> {
    hunt_with(remit, kernel, options, timeout, Box::new(io::stdout()))
}

/// The same, with what is printed going to `stdout`.
fn hunt_with(
    remit: &Path,
    kernel: Series,
    options: &[OsString],
    timeout: Duration,
    stdout: Box<dyn Write + Send>,
) -> Result<bool> {
    let mut command = vec![target().join("release/hunt").into_os_string()];
    command.extend(options.iter().cloned());
    let mut guest = Guest::new(remit, command)?;
    guest.cpus = 1;
    guest.timeout = timeout;
    guest.stdout = stdout;
    guest.environment.push(("REMIT_GUEST".into(), "1".into()));
    guest.environment.push(("REMIT_KERNEL".into(), kernel.name().into()));
    Ok(guest.run(kernel)? == 0)
}
