//! The test bed: the daemon that an executable's tests share, and the policy in force.
//!
//! The daemon outlives its executable (nothing runs when a static ends); the next bed ends it and takes
//! enforcement off before it starts its own.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::{
    http::{self, Response},
    incident::{self, Incident},
    layout,
    outcome::{Outcome, eventually},
};

/// What a session needs to run the probe and the system's programs, and the profile `plain`, which holds
/// no more. In force beside each policy of [`Bed::policy`].
const SYSTEM_POLICY: &str = r#"
schema = 1

[tool.system]
files = [
  { paths = ["/usr/**", "/lib/**", "/lib64/**", "/run/remit-test/bin/**"], access = ["read", "exec"] },
  { paths = ["/", "/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/localtime",
             "/etc/locale.alias",
             "/proc/self/**", "/proc/sys/**", "/proc/meminfo", "/proc/filesystems", "/proc/stat",
             "/sys/devices/system/cpu/**"], access = ["read"] },
  { paths = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/tty"], access = ["read", "write", "ioctl"] },
]

[profile.plain]
tools = ["system"]
"#;

/// The policy for a new host.
pub const DEFAULT_POLICY: &str = include_str!("../../agent/policy/default.toml");

/// How systemd starts the daemon.
const UNIT: &str = include_str!("../../xtask/src/remitd.service");

/// As many incidents as no session has: with a limit they come in one piece.
const ALL: u32 = 1_000_000;

/// A daemon of the tests' own.
pub struct Bed {
    daemon: Mutex<Option<Child>>,
    names: AtomicU32,
}

/// The bed of this executable; made, and its daemon started, when it is first asked for.
///
/// # Panics
/// Outside of a guest, and when the daemon does not start.
pub fn bed() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(Bed::new)
}

impl Bed {
    fn new() -> Self {
        layout::check_guest();
        end_former();
        layout::make();
        let bed = Self { daemon: Mutex::new(None), names: AtomicU32::new(0) };
        write_policy(&[("10-test.toml", SYSTEM_POLICY)]);
        bed.start();
        bed
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Child>> {
        // A test that failed with the lock held leaves the child as it is.
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn start(&self) {
        self.start_with(&[]);
    }

    /// Starts the daemon with no more capabilities than its unit leaves it, and waits until it answers.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn start_as_unit(&self) {
        let lines = UNIT.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet=CAP_"));
        let names = lines.flat_map(|line| line.split(" CAP_"));
        let set: String = names.map(|name| format!(",+{}", name.to_lowercase())).collect();
        let mut command = Command::new("setpriv");
        command.arg(format!("--bounding-set=-all{set}")).arg("remitd");
        self.start_by(command, &[]);
    }

    /// Takes enforcement off the host and starts a daemon anew that leaves out these hooks. Sessions, log
    /// and policy are gone; the processes of former sessions are nobody's.
    ///
    /// # Panics
    /// When it does not start: also where it is none that can leave out hooks.
    #[track_caller]
    pub fn start_without(&self, hooks: &[&str]) {
        self.kill();
        end_former();
        for folder in [layout::STATE, layout::LOG] {
            layout::empty(Path::new(folder));
        }
        write_policy(&[("10-test.toml", SYSTEM_POLICY)]);
        self.start_with(&[("REMIT_WITHOUT_HOOK", &hooks.join(","))]);
        let links = Path::new(layout::PINS).join("v1/links");
        for hook in hooks {
            assert!(!links.join(hook).exists(), "`{hook}` is attached all the same");
        }
    }

    /// Whether the daemon runs.
    pub fn is_running(&self) -> bool {
        self.daemon().as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    #[track_caller]
    fn start_with(&self, environment: &[(&str, &str)]) {
        self.start_by(Command::new("remitd"), environment);
    }

    #[track_caller]
    fn start_by(&self, mut command: Command, environment: &[(&str, &str)]) {
        let log = File::options().create(true).append(true).open(layout::DAEMON_LOG);
        let log = log.expect("the daemon's output can be kept");
        command.args(["--config", layout::SETTINGS]).stderr(log).process_group(0);
        command.envs(environment.iter().copied());
        let child = command.spawn().unwrap_or_else(|error| panic!("remitd: {error}"));
        let pid = child.id();
        *self.daemon() = Some(child);
        fs::write(former(), pid.to_string()).expect("the daemon's number can be kept");
        eventually("the daemon to answer", Duration::from_secs(600), || {
            if let Some(status) = self.daemon().as_mut().and_then(|child| child.try_wait().ok()?) {
                panic!("remitd ended: {status}\n{}", self.daemon_log());
            }
            http::request(layout::SOCKET, "GET", "/v1/health", "").ok()
        });
    }

    /// Stops the daemon as a service manager would, and waits for its end.
    pub fn stop(&self) {
        self.end(libc::SIGTERM);
    }

    /// Kills the daemon.
    pub fn kill(&self) {
        self.end(libc::SIGKILL);
    }

    fn end(&self, signal: i32) {
        let Some(mut child) = self.daemon().take() else { return };
        send(child.id(), signal);
        child.wait().expect("the daemon can be waited for");
    }

    /// The daemon's process id, while it runs.
    pub fn daemon_pid(&self) -> Option<u32> {
        self.daemon().as_ref().map(Child::id)
    }

    /// Has the daemon do nothing, until the guard is dropped.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn pause(&self) -> Paused {
        let pid = self.daemon_pid().expect("the daemon runs");
        send(pid, libc::SIGSTOP);
        Paused(pid)
    }

    /// What the daemon said so far.
    pub fn daemon_log(&self) -> String {
        fs::read_to_string(layout::DAEMON_LOG).unwrap_or_default()
    }

    /// Runs `remit` to its end.
    pub fn remit<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Outcome {
        let mut command = self.command();
        Outcome::of(command.args(arguments), &[])
    }

    /// Asks what `remit` would ask, without starting it.
    ///
    /// # Panics
    /// When nobody answers.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Response {
        let answer = http::request(layout::SOCKET, method, path, body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.daemon_log()))
    }

    /// `remit`, without arguments as yet.
    pub fn command(&self) -> Command {
        let mut command = Command::new("remit");
        command.env("REMIT_SOCKET", layout::SOCKET).current_dir(layout::WORK);
        command
    }

    /// Puts a policy in force: `text`, without `schema`, beside the tool `system` and the profile
    /// `plain` of the harness.
    ///
    /// # Panics
    /// When the daemon refuses it.
    #[track_caller]
    pub fn policy(&self, text: &str) {
        self.put_in_force("10-test.toml", SYSTEM_POLICY, text);
    }

    /// Puts the policy for a new host in force, and `text`, without `schema`.
    ///
    /// # Panics
    /// When the daemon refuses it.
    #[track_caller]
    pub fn default_policy(&self, text: &str) {
        self.put_in_force("10-default.toml", DEFAULT_POLICY, text);
    }

    #[track_caller]
    fn put_in_force(&self, name: &str, first: &str, text: &str) {
        let text = format!("schema = 1\n{text}");
        write_policy(&[(name, first), ("50-test.toml", &text)]);
        self.ask("POST", "/v1/policy/reload", "{}").done();
    }

    /// Makes the policy's folder hold just these files and asks for a reload.
    pub fn reload(&self, files: &[(&str, &str)]) -> Outcome {
        write_policy(files);
        self.remit(["policy", "reload"])
    }

    /// The name of a session of a profile, which no other has.
    pub(crate) fn fresh_name(&self, profile: &str) -> String {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        format!("t{number}-{profile}")
    }

    /// An empty folder below `/srv/test` that no rule of the harness covers.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = Path::new(layout::FILES).join(name);
        layout::empty(&folder);
        folder
    }

    /// The incidents of a session, of all that happened before the call.
    ///
    /// # Panics
    /// When the daemon does not answer.
    #[track_caller]
    pub fn incidents(&self, session: &str) -> Vec<Incident> {
        let path = format!("/v1/incidents?session={session}&kind=incident&limit={ALL}");
        incident::read(&self.ask("GET", &path, "").json()["incidents"])
    }

    /// Waits until a session has an incident that fulfils `condition`, and returns it.
    ///
    /// # Panics
    /// When there is none within ten seconds; shows those that there are.
    #[track_caller]
    pub fn incident(&self, session: &str, condition: impl Fn(&Incident) -> bool) -> Incident {
        let mut seen = Vec::new();
        for _ in 0..50 {
            seen = self.incidents(session);
            if let Some(found) = seen.iter().find(|incident| condition(incident)) {
                return found.clone();
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("no such incident; there are:\n{}", incident::list(&seen));
    }
}

/// A daemon that does nothing; it goes on when this is dropped.
#[must_use]
pub struct Paused(u32);

impl Drop for Paused {
    fn drop(&mut self) {
        send(self.0, libc::SIGCONT);
    }
}

/// Where the number of an executable's daemon is kept for the next executable.
fn former() -> PathBuf {
    Path::new(layout::HOME).join("remitd.pid")
}

/// Ends the daemon of the executable that ran before, and takes its enforcement off.
fn end_former() {
    let pid = fs::read_to_string(former()).ok().and_then(|text| text.parse::<u32>().ok());
    if let Some(pid) = pid
        && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "remitd\n")
    {
        send(pid, libc::SIGKILL);
        eventually("the former daemon to end", Duration::from_secs(10), || {
            (!Path::new(&format!("/proc/{pid}/exe")).exists()).then_some(())
        });
    }
    if Path::new(layout::PINS).exists() {
        let mut command = Command::new("remit");
        command.env("REMIT_SOCKET", layout::SOCKET);
        command.args(["teardown", "--yes", "--config", layout::SETTINGS]);
        Outcome::of(&mut command, &[]).expect(0);
    }
}

fn write_policy(files: &[(&str, &str)]) {
    layout::empty(Path::new(layout::POLICY));
    for (name, text) in files {
        let path = Path::new(layout::POLICY).join(name);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// Sends a signal; a process that is gone needs none.
pub(crate) fn send(pid: u32, signal: i32) {
    let pid = i32::try_from(pid).expect("process ids are positive");
    // SAFETY: the call takes two numbers.
    unsafe { libc::kill(pid, signal) };
}
