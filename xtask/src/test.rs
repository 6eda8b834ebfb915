//! `cargo xtask test`: unit tests on the host, integration tests in a guest, one boot a kernel.
//! Knows the order of the steps and what is counted; must not know what the tests test.

mod count;
mod executables;

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::{self, Build},
    project::{cargo, root},
    say,
    vm::{Guest, kernel::Series},
};
use count::{Counter, Counts};

/// Runs the unit tests here and the integration tests in a guest.
#[derive(clap::Args)]
pub(crate) struct Test {
    /// Run only tests whose name contains this; a guest boots only when it needs to.
    filter: Option<String>,

    /// Boot a kernel of this series instead of 6.12.
    #[arg(long, value_enum, conflicts_with = "all_kernels")]
    kernel: Option<Series>,

    /// Boot all series one after another (the default where `CI=true`).
    #[arg(long)]
    all_kernels: bool,

    /// Leave out the integration tests.
    #[arg(long, conflicts_with = "guest_only")]
    unit_only: bool,

    /// Leave out the unit tests.
    #[arg(long)]
    guest_only: bool,

    /// Take the eBPF object and the binaries as they are.
    #[arg(long)]
    no_build: bool,

    /// Stop a guest after so many seconds.
    #[arg(long, value_name = "SECS", default_value_t = 1500)]
    timeout: u64,
}

impl Test {
    /// Runs the tests, prints what came of them, and tells whether all passed.
    ///
    /// # Errors
    /// When something doesn't compile, or no test matches the filter.
    pub(crate) fn run(&self) -> Result<bool> {
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

    /// The unit tests, of every crate but the one for the guest.
    fn unit(&self) -> Result<Counts> {
        say::step("running the unit tests");
        let mut command = cargo();
        command.args(["test", "--workspace", "--exclude", "tests", "--lib", "--bins"]);
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
        if !self.no_build {
            Build::default().host(&build::object_path())?;
        }
        for series in self.kernels() {
            let name = format!("kernel {}", series.name());
            results.push((name, self.on_kernel(series, &executables)?));
        }
        Ok(())
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
    /// One that died before the first test is booted once more: an emulated processor that is patched
    /// while another runs was seen to panic a kernel in its first seconds.
    fn on_kernel(&self, series: Series, executables: &[PathBuf]) -> Result<Counts> {
        let begin = Instant::now();
        let boot = || {
            say::step(format!("booting {} for the integration tests", series.name()));
            let (counter, counts) = Counter::new(io::stdout());
            let ended = self.guest(series, executables, Box::new(counter))?.run(series);
            anyhow::Ok((ended, counts))
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
        say::step(format!("{} took {} s", series.name(), begin.elapsed().as_secs()));
        Ok(counted)
    }

    fn guest(
        &self,
        series: Series,
        executables: &[PathBuf],
        stdout: Box<dyn Write + Send>,
    ) -> Result<Guest> {
        let mut command: Vec<OsString> =
            ["sh", "-c", RUN_ALL, "tests", self.filter.as_deref().unwrap_or_default()]
                .map(OsString::from)
                .to_vec();
        command.extend(executables.iter().map(OsString::from));
        let mut guest = Guest::new(&Build::default().folder(), command)?;
        let folder = root().join("tests");
        for (name, value) in [
            ("REMIT_GUEST", "1".into()),
            ("REMIT_KERNEL", series.name().into()),
            ("CARGO_MANIFEST_DIR", OsString::from(&folder)),
        ] {
            guest.environment.push((name.into(), value));
        }
        guest.folder = folder;
        guest.timeout = Duration::from_secs(self.timeout);
        guest.stdout = stdout;
        Ok(guest)
    }
}

/// Runs each executable, with the filter as its first parameter where there is one.
const RUN_ALL: &str = r#"
filter=$1 failed=0
shift
for executable; do
    echo "     Running ${executable##*/}" >&2
    "$executable" --test-threads=1 ${filter:+"$filter"} || failed=1
done
exit $failed
"#;
