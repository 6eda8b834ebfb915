//! `cargo xtask bench`: what Remit costs, in instructions of a guest, beside other confinements.
//! Knows the steps; must not know what is measured or how a table looks.

mod docs;
mod results;
mod table;
mod targets;
mod user;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    build::Build,
    process::run,
    project::{cargo, make_folder, root, target, write},
    say,
    vm::{Guest, kernel::Series, programs},
};
use results::{Flat, Profile, Real, Results, Verifier};

/// Measures what operations cost: bare, beside Remit, in a session, under Landlock and AppArmor.
///
/// One boot, one processor, time that counts instructions: the same figures in each run. Exits with
/// 1 when something costs more than 1 % more than in the committed results.
#[derive(clap::Args)]
pub(crate) struct Bench {
    /// The kernel's series.
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Series,

    /// Measure that nothing costs more where there are many sessions, tools and rules.
    #[arg(long)]
    flat: bool,

    /// Show which programs run in each operation, and what each run takes.
    #[arg(long, conflicts_with = "flat")]
    profile: bool,

    /// Measure whole programs at work, and the daemon at rest.
    #[arg(long, conflicts_with_all = ["flat", "profile", "user"])]
    real: bool,

    /// Measure here, without a guest, what the policy and the control interface take, against yardsticks in
    /// the same run.
    #[arg(long, conflicts_with_all = ["flat", "profile", "baseline_update", "json"])]
    user: bool,

    /// Write the tables of `docs/performance.md` from the committed results, without measuring anything.
    #[arg(long, exclusive = true)]
    tables: bool,

    /// Print what was measured as JSON.
    #[arg(long)]
    json: bool,

    /// Write what was measured to `bench/results`, for later runs to be compared with.
    #[arg(long)]
    baseline_update: bool,

    /// Take the binaries as they are.
    #[arg(long)]
    no_build: bool,

    /// Stop the guest after so many seconds.
    #[arg(long, value_name = "SECS", default_value_t = TIMEOUT)]
    timeout: u64,
}

/// What the measuring program prints.
#[derive(Deserialize, Serialize)]
struct Measured {
    #[serde(flatten)]
    results: Results,
    verifier: Verifier,
}

/// The longest that a guest may measure, in seconds: on a busy machine.
const TIMEOUT: u64 = 2400;

/// Boots before something counts as worse.
const BOOTS: usize = 3;

impl Bench {
    /// Compares what operations cost on 6.12 with the committed results, with the binaries as they are.
    ///
    /// # Errors
    /// When the measuring programs can't be built.
    pub(crate) fn prepared() -> Result<Self> {
        build()?;
        Ok(Self {
            kernel: Series::ALL[0],
            flat: false,
            profile: false,
            real: false,
            user: false,
            tables: false,
            json: false,
            baseline_update: false,
            no_build: true,
            timeout: TIMEOUT,
        })
    }

    /// Measures, prints, and tells whether nothing got worse.
    ///
    /// # Errors
    /// When something can't be built or booted, or the measuring fails.
    pub(crate) fn run(&self) -> Result<bool> {
        if self.user {
            return user::run_all();
        }
        if self.tables {
            return docs::update().map(|()| true);
        }
        if !self.no_build {
            Build::default().run()?;
            build()?;
        }
        match (self.flat, self.profile, self.real) {
            (true, ..) => self.flat(),
            (_, true, _) => self.profile().map(|()| true),
            (.., true) => self.real(),
            _ => self.table(),
        }
    }

    fn table(&self) -> Result<bool> {
        let mut measured: Measured = self.measure(&[])?;
        let results = &measured.results;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&measured)?);
        } else {
            print!("{}", table::of(results));
            print!("{}", table::of_verifier(&measured.verifier));
        }
        for missed in targets::missed(results) {
            say::warn(missed);
        }
        if self.baseline_update {
            save(&self.file(""), results)?;
            save(&self.file("-verifier"), &measured.verifier)?;
            docs::update()?;
            return Ok(true);
        }
        let Some(baseline) = self.baseline::<Results>("")? else {
            return Ok(true);
        };
        let results = &mut measured.results;
        let mut worse = results.worse_than(&baseline);
        for _ in 1..BOOTS {
            if worse.is_empty() {
                break;
            }
            say::step("something seems worse than it was: measuring once more");
            let again: Measured = self.measure(&[])?;
            results.take_lesser(&again.results);
            worse = results.worse_than(&baseline);
        }
        if let Some(baseline) = self.baseline::<Verifier>("-verifier")? {
            worse.extend(measured.verifier.worse_than(&baseline));
        }
        for entry in &worse {
            say::warn(format!("worse than the committed result: {entry}"));
        }
        Ok(worse.is_empty())
    }

    fn flat(&self) -> Result<bool> {
        let flat: Flat = self.measure(&["--flat"])?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&flat)?);
        } else {
            print!("{}", table::of_flat(&flat));
        }
        if self.baseline_update {
            save(&self.file("-flat"), &flat)?;
            docs::update()?;
            return Ok(true);
        }
        let baseline = self.baseline::<Flat>("-flat")?;
        let worse = baseline.map(|baseline| flat.worse_than(&baseline)).unwrap_or_default();
        for entry in &worse {
            say::warn(format!("worse than the committed result: {entry}"));
        }
        Ok(worse.is_empty())
    }

    fn real(&self) -> Result<bool> {
        let real: Real = self.measure(&["--real"])?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&real)?);
        } else {
            print!("{}", table::of_real(&real));
        }
        if self.baseline_update {
            save(&self.file("-real"), &real)?;
            docs::update()?;
        }
        let missed = real.missed();
        for entry in &missed {
            say::warn(format!("target missed: {entry}"));
        }
        Ok(missed.is_empty())
    }

    fn profile(&self) -> Result<()> {
        let profile: Profile = self.measure(&["--profile"])?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&profile)?);
        } else {
            print!("{}", table::of_profile(&profile));
        }
        if self.baseline_update {
            save(&self.file("-profile"), &profile)?;
            docs::update()?;
        }
        Ok(())
    }

    /// Boots a guest, measures in it, and reads what was printed.
    fn measure<T: DeserializeOwned>(&self, options: &[&str]) -> Result<T> {
        let mut command = vec![OsString::from(folder().join("bench"))];
        command.extend(options.iter().map(OsString::from));
        let mut guest = Guest::new(&Build::default().folder(), command)?;
        guest.icount = true;
        guest.timeout = Duration::from_secs(self.timeout);
        // The same addresses in each boot: chains of hashed pointers are as long as before.
        guest.parameters = ["nokaslr", "norandmaps"].map(str::to_owned).to_vec();
        guest.environment.push(("REMIT_GUEST".into(), "1".into()));
        add_apparmor(&mut guest)?;
        let output = Output::default();
        guest.stdout = Box::new(output.clone());
        say::step(format!("booting {} to measure", self.kernel.name()));
        let status = guest.run(self.kernel)?;
        if status != 0 {
            bail!("measuring failed (status {status})");
        }
        let bytes = output.0.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::from_slice(&bytes).context("the measuring program printed no results")
    }

    fn file(&self, what: &str) -> PathBuf {
        root().join("bench/results").join(format!("{}{what}.json", self.kernel.name()))
    }

    /// The committed results; none when there are none.
    fn baseline<T: DeserializeOwned>(&self, what: &str) -> Result<Option<T>> {
        let path = self.file(what);
        match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                say::step(format!("nothing to compare with: `{}` is missing", path.display()));
                Ok(None)
            }
            read => {
                let read = read.with_context(|| format!("cannot read `{}`", path.display()))?;
                let found = serde_json::from_slice(&read);
                found.with_context(|| format!("`{}` holds no results", path.display())).map(Some)
            }
        }
    }
}

/// The target whose programs can be linked without shared libraries: the host's own, by name, so
/// that what runs while they are built is not.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds the measuring programs.
fn build() -> Result<()> {
    say::step("building the measuring programs");
    let mut command = cargo();
    command.args(["build", "--release", "--package", "bench", "--target", TARGET]);
    command.env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    run(&mut command)
}

/// Where the measuring programs are.
fn folder() -> PathBuf {
    target().join(TARGET).join("release")
}

/// Lets the guest find the program that loads AppArmor's profiles; without it that column is empty.
fn add_apparmor(guest: &mut Guest) -> Result<()> {
    let parser = match programs::path_of("apparmor_parser", "apparmor") {
        Ok(parser) => parser,
        Err(error) => {
            say::warn(format!("no column for AppArmor: {error:#}"));
            return Ok(());
        }
    };
    let folder = parser.parent().unwrap_or(Path::new("/"));
    for (name, value) in &mut guest.environment {
        if name == "PATH" {
            let folders = env::split_paths(value).chain([folder.to_owned()]);
            *value = env::join_paths(folders).context("a folder of PATH holds a colon")?;
        }
    }
    Ok(())
}

fn save<T: Serialize>(path: &Path, what: &T) -> Result<()> {
    path.parent().map_or(Ok(()), make_folder)?;
    let mut text = serde_json::to_string_pretty(what)?;
    text.push('\n');
    write(path, text)?;
    say::step(format!("wrote {}", path.display()));
    Ok(())
}

/// What the guest writes, kept.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
