//! `cargo xtask test`: unit tests on the host, integration tests in a guest, one boot a kernel.
//! Knows the order of the steps and what is counted; must not know what the tests test.

mod count;
mod executables;
mod lanes;
pub(crate) mod without;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    bench::Bench,
    build::{self, Build},
    hunt::Hunt,
    project::{attack_results, cargo, make_folder, root},
    say,
    vm::{self, Guest, kernel::Series},
};
use count::{Counter, Counts};
use lanes::Named;

/// Runs the unit tests here and the integration tests in a guest.
#[derive(clap::Args)]
pub(crate) struct Test {
    /// Run only tests whose name contains this; a guest boots only when it needs to.
    filter: Option<String>,

    /// Boot a kernel of this series instead of 6.12.
    #[arg(long, value_enum, conflicts_with = "all_kernels")]
    kernel: Option<Series>,

    /// Boot all series, some at once: three on two processors (the default where `CI=true`); the catalogue of attacks is
    /// tried on the first of them, and on all by `cargo xtask attacks`.
    #[arg(long)]
    all_kernels: bool,

    /// Hunt for three minutes and measure what operations cost, too, beside the last tests; a find, and what costs more
    /// than it did, count as failures.
    #[arg(long, conflicts_with_all = ["filter", "unit_only", "without"])]
    bench: bool,

    /// Leave out the integration tests.
    #[arg(long, conflicts_with = "guest_only")]
    unit_only: bool,

    /// Leave out the unit tests.
    #[arg(long)]
    guest_only: bool,

    /// Leave out a hook's program, or with `all` one after another: tells which tests notice, and fails
    /// when none does. Without a filter it tries the attacks that the hook stops.
    #[arg(long, value_name = "HOOK", conflicts_with = "unit_only")]
    without: Option<String>,

    /// How many processors a guest has. Without: one, since with two the tests take three times as long; and two for
    /// the attacks and for the tests of what happens at once, on the first kernel.
    #[arg(long, value_name = "N")]
    cpus: Option<u32>,

    /// Take the eBPF object and the binaries as they are.
    #[arg(long)]
    no_build: bool,

    /// Stop a guest after so many seconds.
    #[arg(long, value_name = "SECS", default_value_t = 2400)]
    timeout: u64,
}

impl Test {
    /// The integration tests whose names contain `filter`, on all kernels.
    pub(crate) fn for_all_kernels(filter: &str) -> Self {
        Self {
            filter: Some(filter.to_owned()),
            kernel: None,
            all_kernels: true,
            bench: false,
            unit_only: false,
            guest_only: true,
            without: None,
            cpus: None,
            no_build: false,
            timeout: 2400,
        }
    }

    /// Runs the tests, prints what came of them, and tells whether all passed.
    ///
    /// # Errors
    /// When something doesn't compile, or no test matches the filter.
    pub(crate) fn run(&self) -> Result<bool> {
        if let Some(hook) = &self.without {
            return self.without(hook);
        }
        if !self.no_build {
            build::object()?;
        }
        let mut results = Vec::new();
        if !self.guest_only {
            results.push(("unit tests".to_owned(), self.unit()?));
        }
        if !self.unit_only {
            self.integration(&mut results)?;
        }
        let mut total = Counts::default();
        for (name, counts) in &results {
            say::step(format!("{name}: {counts}"));
            total += *counts;
        }
        match &self.filter {
            Some(filter) if total == Counts::default() => bail!("no test matches `{filter}`"),
            _ => println!("{total}"),
        }
        Ok(total.failed == 0)
    }

    /// The unit tests, of every crate but the one for the guest. (`--bins` would run those that are no tests, too.)
    fn unit(&self) -> Result<Counts> {
        say::step("running the unit tests");
        let mut command = cargo();
        command.args(["test", "--workspace", "--exclude", "tests", "--tests"]);
        command.args(["--no-fail-fast", "--"]).args(&self.filter);
        command.env(build::OBJECT_VARIABLE, build::object_path());
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run cargo")?;
        let (mut counter, counts) = Counter::new(io::stdout());
        if let Some(mut output) = child.stdout.take() {
            io::copy(&mut output, &mut counter).context("cannot read cargo's output")?;
        }
        let status = child.wait().context("cannot wait for cargo")?;
        let counts = counts.get();
        if !status.success() && counts.failed == 0 {
            bail!("`cargo test` failed ({status})");
        }
        Ok(counts)
    }

    /// The integration tests that match, on each kernel that was asked for.
    fn integration(&self, results: &mut Vec<(String, Counts)>) -> Result<()> {
        say::step("building the integration tests");
        let executables = executables::with_tests(self.filter.as_deref())?;
        if executables.is_empty() {
            say::step("no integration test to run: no guest is booted");
            return Ok(());
        }
        // Packages are unpacked while a compiler waits for another.
        let kernels = self.kernels();
        thread::scope(|scope| {
            let had = scope.spawn(|| vm::fetch(&kernels));
            if !self.no_build {
                Build::default().host(&build::object_path())?;
            }
            had.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        let tests = Executables::new(executables);
        let jobs = self.jobs(&tests);
        let lanes = lanes::lanes(jobs.len());
        let of_jobs = lanes::side_by_side(&jobs, lanes, |job| {
            anyhow::Ok(match job {
                Job::Tests { name, executables, setup } => {
                    (name.clone(), self.on_kernel(*setup, executables, lanes > 1)?)
                }
                Job::Hunt(kernel) => {
                    let counts = Counts::of_one(Hunt::brief(*kernel)?);
                    (format!("kernel {}, the hunt", kernel.name()), counts)
                }
                Job::Bench => {
                    let counts = Counts::of_one(Bench::prepared()?.run()?);
                    ("cost of operations".to_owned(), counts)
                }
            })
        });
        for of_job in of_jobs {
            results.push(of_job?);
        }
        Ok(())
    }

    /// What needs a guest. What takes longest comes first, so that no processor waits at the end.
    fn jobs<'a>(&'a self, tests: &'a Executables) -> Vec<Job<'a>> {
        let kernels = self.kernels();
        let first = kernels[0];
        let guest = |what: &str, executables: &'a [PathBuf], setup: Setup<'a>| {
            let name = format!("kernel {}{what}", setup.series.name());
            (!executables.is_empty()).then_some(Job::Tests { name, executables, setup })
        };
        let suite = |series: &Series| guest("", &tests.usual, self.setup(*series, 1));
        let mut jobs: Vec<Job<'a>> = kernels.iter().filter_map(suite).collect();
        // They take minutes: all kernels have them where they are asked for.
        let attacked = kernels.iter().filter(|series| **series == first || self.filter.is_some());
        let attacks = |series: &Series| guest(", attacks", &tests.attacks, self.setup(*series, 2));
        jobs.extend(attacked.filter_map(attacks));
        if self.bench {
            jobs.extend([Job::Hunt(first), Job::Bench]);
        }
        if self.filter.is_none() && self.cpus.is_none() {
            let at_once = Setup { filter: AT_ONCE, ..self.setup(first, 2) };
            jobs.extend(guest(", what happens at once", &tests.usual, at_once));
        }
        let unfit = |series: &Series| {
            let setup = Setup { parameters: WITHOUT_BPF, ..self.setup(*series, 1) };
            guest(" without BPF security modules", &tests.unfit, setup)
        };
        jobs.extend(kernels.iter().filter_map(unfit));
        jobs
    }

    /// A guest for the tests that were asked for, of so many processors unless another number was asked for.
    fn setup(&self, series: Series, cpus: u32) -> Setup<'_> {
        let filter = self.filter.as_deref().unwrap_or_default();
        Setup { series, cpus: self.cpus.unwrap_or(cpus), filter, parameters: &[] }
    }

    fn kernels(&self) -> Vec<Series> {
        match self.kernel {
            Some(series) => vec![series],
            None if self.all_kernels || env::var_os("CI").is_some_and(|value| value == "true") => {
                Series::ALL.to_vec()
            }
            None => vec![Series::ALL[0]],
        }
    }

    /// Runs the executables in one guest; a guest that died counts as one test that failed.
    /// One that died before the first test is booted once more: older emulators were seen to panic a kernel
    /// in its first seconds. `named`: each line says which kernel it is of.
    fn on_kernel(&self, setup: Setup<'_>, executables: &[PathBuf], named: bool) -> Result<Counts> {
        let series = setup.series;
        let begin = Instant::now();
        let boot = || {
            say::step(format!("booting {} for the integration tests", series.name()));
            let stdout: Box<dyn Write + Send> = if named {
                Box::new(Named::new(io::stdout(), series.name()))
            } else {
                Box::new(io::stdout())
            };
            let (counter, counts) = Counter::new(stdout);
            let guest = self.guest(setup, executables, Box::new(counter))?;
            anyhow::Ok((guest.run(series), counts))
        };
        let (mut ended, mut counts) = boot()?;
        if let Err(error) = &ended
            && counts.get() == Counts::default()
            && counts.unfinished().is_none()
        {
            say::error(error);
            (ended, counts) = boot()?;
        }
        let mut counted = counts.get();
        if let Some(line) = counts.unfinished() {
            println!();
            say::warn(format!("`{}` never ended", line.trim_end_matches([' ', '.'])));
        }
        match ended {
            Ok(status) if status != 0 && counted.failed == 0 => {
                say::warn(format!("the tests ended with status {status}"));
                counted.failed += 1;
            }
            Ok(_) => {}
            Err(error) => {
                say::error(&error);
                counted.failed += 1;
            }
        }
        say::step(format!(
            "{} took {} s{}",
            series.name(),
            begin.elapsed().as_secs(),
            slow(&counts)
        ));
        Ok(counted)
    }

    fn guest(
        &self,
        setup: Setup<'_>,
        executables: &[PathBuf],
        stdout: Box<dyn Write + Send>,
    ) -> Result<Guest> {
        let mut command = ["sh", "-c", RUN_ALL, "tests", setup.filter].map(OsString::from).to_vec();
        command.extend(executables.iter().map(OsString::from));
        let binaries =
            if self.without.is_some() { build::hole_folder() } else { Build::default().folder() };
        let mut guest = Guest::new(&binaries, command)?;
        let folder = root().join("tests");
        for (name, value) in [
            ("REMIT_GUEST", "1".into()),
            ("REMIT_KERNEL", setup.series.name().into()),
            ("CARGO_MANIFEST_DIR", OsString::from(&folder)),
        ] {
            guest.environment.push((name.into(), value));
        }
        // What came of the attacks is kept for `cargo xtask attacks`.
        if executables.iter().any(|path| executables::has_attacks(path)) {
            let results = attack_results();
            make_folder(&results)?;
            guest.environment.push(("REMIT_ATTACKS".into(), results.clone().into()));
            guest.shared.push(results);
        }
        guest.parameters = setup.parameters.iter().map(ToString::to_string).collect();
        guest.cpus = setup.cpus;
        guest.folder = folder;
        guest.timeout = Duration::from_secs(self.timeout);
        guest.stdout = stdout;
        Ok(guest)
    }
}

/// The executables of the tests, by the guests that they need.
struct Executables {
    /// The catalogue of attacks.
    attacks: Vec<PathBuf>,
    /// For a host that can't enforce.
    unfit: Vec<PathBuf>,
    /// All others.
    usual: Vec<PathBuf>,
}

impl Executables {
    fn new(all: Vec<PathBuf>) -> Self {
        let (unfit, rest) = all.into_iter().partition(|path| executables::is_for_unfit_host(path));
        let (attacks, usual) =
            Vec::into_iter(rest).partition(|path| executables::has_attacks(path));
        Self { attacks, unfit, usual }
    }
}

/// A guest that runs tests.
#[derive(Clone, Copy)]
struct Setup<'a> {
    series: Series,
    cpus: u32,
    /// Parts of the tests' names, one of which is enough; none for all.
    filter: &'a str,
    /// What the kernel is told.
    parameters: &'a [&'a str],
}

/// The tests of what happens at once, by parts of their names.
const AT_ONCE: &str = "under_load renamed two_hundred";

/// What is done side by side.
enum Job<'a> {
    /// Tests in a guest, and what they are called together.
    Tests { name: String, executables: &'a [PathBuf], setup: Setup<'a> },
    /// Earlier finds of the hunter, and a short hunt.
    Hunt(Series),
    /// What operations cost: in instructions, so that nothing else that runs matters.
    Bench,
}

/// The tests to look at when the whole takes too long, for the end of a line.
fn slow(counts: &count::Shared) -> String {
    let mut slow = counts.slowest(SLOW);
    slow.retain(|(_, took)| *took >= Duration::from_secs(10));
    let tests: Vec<_> =
        slow.iter().map(|(name, took)| format!("{name} {} s", took.as_secs())).collect();
    if tests.is_empty() { String::new() } else { format!(", longest: {}", tests.join(", ")) }
}

/// How many tests are named as those that took longest.
const SLOW: usize = 12;

/// What makes a kernel one that can't enforce: its list of security modules has no `bpf`.
const WITHOUT_BPF: &[&str] = &["lsm=landlock,lockdown,yama"];

/// Runs each executable, with the words of the filter as its parameters.
const RUN_ALL: &str = r#"
filter=$1 failed=0
shift
for executable; do
    echo "     Running ${executable##*/}" >&2
    "$executable" --test-threads=1 $filter || failed=1
done
exit $failed
"#;
