//! A daemon of the measurement's own, and its sessions.

use std::{
    fs::{self, File},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use bench::WORK;

use crate::{
    layout::{self, HOME},
    process::{capture, say},
};

/// The pins.
const PINS: &str = "/sys/fs/bpf/remit-bench";
/// The longest that a start may take, on an emulated processor.
const START: Duration = Duration::from_secs(120);
/// What ships.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/policy");
/// How long the daemon gets to be at rest.
const REST: Duration = Duration::from_secs(5);

/// A running daemon. Ended when it is dropped, its enforcement only by [`Remit::end`].
pub(crate) struct Remit {
    daemon: Child,
    /// From the daemon's start until it answered.
    pub(crate) started_in: Duration,
}

impl Remit {
    /// Starts a daemon with a policy and waits until it is at rest.
    ///
    /// # Errors
    /// When it does not start; with what it said.
    pub(crate) fn start(policy: &str) -> Result<Self> {
        layout::write(&policy_file(), policy.as_bytes())?;
        // The daemon protects the folder, by a path without `..`.
        let shipped = Path::new(SHIPPED).canonicalize().context("nothing ships")?;
        let settings = format!(
            "policy_dir = \"{HOME}/policy.d\"\nshipped_dir = {shipped:?}\nstate_dir = \"{HOME}/state\"\n\
             log_dir = \"{HOME}/log\"\nsocket = \"{}\"\npin_dir = \"{PINS}\"\n\
             canary_interval = \"off\"\n",
            socket()
        );
        layout::write(Path::new(&settings_file()), settings.as_bytes())?;
        say("starting remitd");
        let log = File::create(log_file()).context("cannot keep what the daemon says")?;
        let begin = Instant::now();
        let daemon = Command::new("remitd")
            .args(["--config", &settings_file()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot run remitd")?;
        let mut remit = Self { daemon, started_in: Duration::ZERO };
        while UnixStream::connect(socket()).is_err() {
            if let Some(status) = remit.daemon.try_wait()? {
                bail!("remitd ended: {status}\n{}", said());
            }
            if begin.elapsed() > START {
                bail!("remitd did not start\n{}", said());
            }
            thread::sleep(Duration::from_millis(1));
        }
        remit.started_in = begin.elapsed();
        rest();
        Ok(remit)
    }

    /// The daemon's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.id()
    }

    /// Puts another policy in force.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) fn policy(&self, policy: &str) -> Result<()> {
        layout::write(&policy_file(), policy.as_bytes())?;
        remit(&["policy", "reload"])?;
        rest();
        Ok(())
    }

    /// Starts a session with a process that does nothing.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn idle(&self, profile: &str) -> Result<Idle> {
        let name = format!("idle-{profile}");
        let mut command = run(profile);
        let loops = layout::loops();
        command.args(["--name", &name, "--", &loops, "sleep"]).stdin(Stdio::null());
        let child = command.spawn().context("cannot run remit")?;
        let idle = Idle(child);
        let begin = Instant::now();
        while let Err(error) = remit(&["session", "show", &name]) {
            if begin.elapsed() > START {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(50));
        }
        rest();
        Ok(idle)
    }

    /// The hooks that are attached now, each with its pinned link.
    ///
    /// # Errors
    /// When there are none.
    pub(crate) fn links(&self) -> Result<Vec<(String, PathBuf)>> {
        links(&Path::new(PINS).join("v1/links"))
    }

    /// The links of what the programs share: those of each function in the program of each hook, each with its name.
    ///
    /// # Errors
    /// When there are none.
    pub(crate) fn shared(&self) -> Result<Vec<(String, PathBuf)>> {
        let loading = links(&Path::new(PINS).join("v1/shared"))?;
        let (_, loading) = loading.first().context("nothing is shared")?;
        let named = |(name, path): (String, PathBuf)| {
            let (_, function) = name.split_once('-')?;
            Some((format!("shared {function}"), path))
        };
        Ok(links(loading)?.into_iter().filter_map(named).collect())
    }

    /// Ends the daemon and takes its programs off the host.
    ///
    /// # Errors
    /// When that fails.
    pub(crate) fn end(mut self) -> Result<()> {
        terminate(&mut self.daemon)?;
        remit(&["teardown", "--yes", "--config", &settings_file()])?;
        rest();
        Ok(())
    }
}

impl Drop for Remit {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A session that does nothing; its process ends when this is dropped.
pub(crate) struct Idle(Child);

impl Drop for Idle {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `remit run` of a profile in the work folder; what follows is for the caller to add.
pub(crate) fn run(profile: &str) -> Command {
    run_in(profile, WORK)
}

/// `remit run` of a profile in a folder; what follows is for the caller to add.
pub(crate) fn run_in(profile: &str, folder: &str) -> Command {
    let mut command = Command::new("remit");
    command.env("REMIT_SOCKET", socket()).current_dir("/");
    command.args(["run", "--profile", profile, "--workdir", folder]);
    command
}

/// What was refused to a session, one incident a line.
///
/// # Errors
/// When the daemon does not answer.
pub(crate) fn refusals(session: &str) -> Result<String> {
    let lines = remit(&["incidents", "--json", "--session", session])?;
    let is_refusal = |line: &&str| !line.contains("\"kind\":\"control\"");
    Ok(lines.lines().filter(is_refusal).collect::<Vec<_>>().join("\n"))
}

/// The control socket.
pub(crate) fn socket() -> String {
    format!("{HOME}/socket/control.sock")
}

/// Lets what is put off in the kernel and in the daemon be done.
pub(crate) fn rest() {
    thread::sleep(REST);
}

fn remit(words: &[&str]) -> Result<String> {
    capture(Command::new("remit").env("REMIT_SOCKET", socket()).args(words))
}

fn terminate(daemon: &mut Child) -> Result<()> {
    let pid = libc::pid_t::try_from(daemon.id()).context("process ids are positive")?;
    // SAFETY: the call takes two numbers.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    daemon.wait().context("cannot wait for remitd").map(drop)
}

fn policy_file() -> PathBuf {
    Path::new(HOME).join("policy.d/bench.toml")
}

fn settings_file() -> String {
    format!("{HOME}/remitd.toml")
}

fn log_file() -> String {
    format!("{HOME}/remitd.log")
}

fn said() -> String {
    fs::read_to_string(log_file()).unwrap_or_default()
}

/// What is pinned in a folder, by name.
fn links(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut links = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        links.push((name, path));
    }
    links.sort();
    Ok(links)
}
