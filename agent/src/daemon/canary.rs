//! Runs the canary in a thread of its own: starts its process, has it tagged, and collects its answers and the refusals
//! that the kernel reported. Logs when enforcement does not hold, and when it holds again.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Read as _, Write as _},
    mem,
    os::{
        fd::AsFd as _,
        unix::{
            fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use agent_common::{event::Operation, id::SessionId};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, pidfd_open},
    time::Timespec,
};

use super::{host, log::LogHandle, message::ToCanary};
use crate::{
    api::server::peer::threads,
    bpf::load,
    canary::{self, Answer, Report, child},
    incident::{self, Time, record::new_id},
    session::Sessions,
    troubles::{Trouble, Troubles},
    vitals::Vitals,
};

/// How long the canary's process may take.
const WORK: Duration = Duration::from_secs(20);
/// How many times a run waits for the log if it is behind.
const FLUSHES: u32 = 3;
/// How long all of that waiting may take.
const DELIVERY: Duration = Duration::from_secs(6);
/// After how long a fault that stays is logged again.
const REMINDER: Duration = Duration::from_secs(3600);

/// Has the canary run now, and waits until it has.
pub(super) fn run_now(canary: &Sender<ToCanary>) {
    let (done, wait) = mpsc::sync_channel(1);
    // Up to two runs: one may be under way that began before this request. If the thread has ended, the age of the last
    // report shows it.
    if canary.send(ToCanary::Run(done)).is_ok() {
        let _ = wait.recv_timeout(2 * (WORK + DELIVERY));
    }
}

/// The canary's thread.
pub(super) struct Keeper {
    pub(super) sessions: Sessions,
    pub(super) log: LogHandle,
    pub(super) vitals: Arc<Vitals>,
    pub(super) folder: PathBuf,
    pub(super) messages: Receiver<ToCanary>,
    /// Requests that wait for a run that begins from now on.
    pub(super) waiting: Vec<SyncSender<()>>,
    /// Where the programs are pinned.
    pub(super) pins: PathBuf,
    /// How many skipped programs the kernel had counted at the last run.
    pub(super) skipped: Option<u64>,
    pub(super) troubles: Arc<Troubles>,
}

/// Why a run has no report.
enum Failure {
    /// The daemon stops.
    Stopped,
    /// The canary could not work.
    Failed(String),
}

impl Failure {
    fn of(action: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Failed(format!("can't {action}: {error}"))
    }
}

impl Keeper {
    /// Starts the thread.
    pub(super) fn spawn(self, interval: Duration) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("canary".into()).spawn(move || self.keep(interval))
    }

    fn keep(mut self, interval: Duration) {
        let mut logged = Logged::default();
        loop {
            let waiting = mem::take(&mut self.waiting);
            let report = match self.run() {
                Ok(report) => report,
                Err(Failure::Stopped) => return,
                Err(Failure::Failed(error)) => {
                    Report::failed(format!("the canary can't do its work: {error}"))
                }
            };
            if logged.is_news(&report, Instant::now()) {
                self.log_report(&report);
            }
            self.vitals.set_canary(report);
            for done in waiting {
                // The request may have given up.
                let _ = done.send(());
            }
            if !self.wait(Some(interval)) {
                return;
            }
        }
    }

    /// Waits until it is time to run; `false` when the daemon stops.
    fn wait(&mut self, interval: Option<Duration>) -> bool {
        let next = interval.map(|interval| Instant::now() + interval);
        while self.waiting.is_empty() {
            let left = match next.map(|next| next.checked_duration_since(Instant::now())) {
                None => Duration::MAX,
                Some(Some(left)) => left,
                Some(None) => break,
            };
            match self.messages.recv_timeout(left) {
                // Of a run that has ended.
                Ok(ToCanary::Events(..)) => {}
                Ok(ToCanary::Run(done)) => self.waiting.push(done),
                Ok(ToCanary::Attached) if next.is_none() => return true,
                // Its own run attached them, or one begins anyway.
                Ok(ToCanary::Attached) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Ok(ToCanary::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        if self.waiting.is_empty() && next.is_some() && !self.sessions.lock().is_watching() {
            // No hook is attached, so nothing can have broken. It runs again when hooks are attached.
            self.vitals.pause_canary();
            return self.wait(None);
        }
        true
    }

    /// Logs a report.
    fn log_report(&self, report: &Report) {
        if report.is_good() {
            tracing::info!("the canary finds that enforcement holds again");
        } else {
            tracing::error!(
                "the canary finds that enforcement does not hold: {}",
                report.message()
            );
        }
        let mut operations: Vec<String> =
            report.bad().map(|tried| tried.what.operation.name().to_owned()).collect();
        operations.dedup();
        let now = Time::now();
        self.log.canary(incident::Canary {
            id: new_id(now),
            time: now,
            host: host::name(),
            ok: report.is_good(),
            message: report.message(),
            operations,
            tries: report.bad().map(crate::api::server::canary_try).collect(),
        });
    }

    /// One run.
    fn run(&mut self) -> Result<Report, Failure> {
        let _listener = self.prepare()?;
        let allowed = self.folder.join(canary::ALLOWED).display().to_string();
        let denied = self.sessions.lock().denies_reading(&allowed);
        let mut process = Process::start(&self.folder, denied)?;
        process.until_ready()?;
        let pid = Pid::from_child(&process.0);
        let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from);
        let handle = handle.map_err(Failure::of("get a handle on its process"))?;
        if threads(process.0.id()).map_err(Failure::of("count its threads"))? != 1 {
            return Err(Failure::Failed("it has more than one thread".into()));
        }
        let started = self.sessions.lock().start_canary(handle.as_fd());
        let id = started.map_err(|error| Failure::Failed(error.to_string()))?;
        let report = process.work().and_then(|answers| self.collect(id, &answers));
        drop(process);
        let report = report.map(|report| self.with_skipped(report));
        if let Err(error) = self.sessions.lock().end_canary(id) {
            tracing::warn!("{error}; the canary's session runs out by itself");
        }
        report
    }

    /// Adds how many times the kernel skipped a program since the last run.
    fn with_skipped(&mut self, report: Report) -> Report {
        let skipped = match load::skipped(&self.pins) {
            Ok(skipped) => skipped,
            Err(error) => {
                tracing::warn!("can't tell whether programs were skipped: {error}");
                return report;
            }
        };
        self.vitals.set_skipped(skipped);
        // Fewer than before means that the programs were replaced.
        let before = self.skipped.replace(skipped);
        match before.and_then(|before| skipped.checked_sub(before)).filter(|more| *more > 0) {
            None => report,
            Some(more) => {
                let found = format!(
                    "the kernel left out programs {more} times because they were running already: what they should \
                     have decided was let pass"
                );
                let error = match report.error {
                    Some(error) => format!("{error}; {found}"),
                    None => found,
                };
                Report { error: Some(error), tried: report.tried }
            }
        }
    }

    /// Makes a report of the answers and of the refusals that reached the log.
    fn collect(&mut self, id: SessionId, answers: &[Answer]) -> Result<Report, Failure> {
        // A flush of the log delivers everything that the kernel reported before the process ended. Another session
        // with very many refusals can delay it; then refusals that are missing are only late.
        let is_behind = !(0..FLUSHES).any(|_| self.log.flush());
        let mut reported: Vec<Operation> = Vec::new();
        let mut trouble = None;
        loop {
            match self.messages.recv_timeout(Duration::ZERO) {
                Ok(ToCanary::Events(events, log)) => {
                    let own = events.into_iter().filter(|event| event.session == id);
                    reported.extend(own.map(|event| event.operation));
                    trouble = log.err().map(|error| format!("the log can't be written: {error}"));
                }
                Ok(ToCanary::Run(done)) => self.waiting.push(done),
                Ok(ToCanary::Attached) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let report = canary::judge(answers, &reported);
                    let report = if is_behind { report.of_late_log() } else { report };
                    let error = trouble.or_else(|| self.troubles.of(Trouble::Log));
                    return Ok(Report { error, ..report });
                }
                Ok(ToCanary::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    return Err(Failure::Stopped);
                }
            }
        }
    }

    /// Lays out the canary's folder, which only root can enter.
    fn prepare(&self) -> Result<UnixListener, Failure> {
        prepare(&self.folder).map_err(Failure::of(&format!("lay out `{}`", self.folder.display())))
    }
}

fn prepare(folder: &Path) -> io::Result<UnixListener> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let found = fs::symlink_metadata(folder)?;
    let own = rustix::process::geteuid().as_raw();
    if !found.is_dir() || found.uid() != own || found.mode() & 0o077 != 0 {
        return Err(io::Error::other("it is not a folder that only the daemon's user can use"));
    }
    for name in canary::TRACES {
        let path = folder.join(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir(&path)?,
            Ok(_) => fs::remove_file(&path)?,
            Err(_) => {}
        }
    }
    for name in [canary::ALLOWED, canary::FORBIDDEN, canary::DOOMED, canary::MOVED] {
        let path = folder.join(name);
        if !path.exists() {
            File::create(&path)?.set_permissions(Permissions::from_mode(0o600))?;
        }
    }
    let empty = folder.join(canary::FOLDER);
    if !empty.exists() {
        fs::create_dir(&empty)?;
    }
    let socket = folder.join(canary::SOCKET);
    let _ = fs::remove_file(&socket);
    UnixListener::bind(&socket)
}

/// The canary's process; killed when dropped.
struct Process(Child);

impl Process {
    fn start(folder: &Path, denied: bool) -> Result<Self, Failure> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(child::TRY).arg(folder);
        if denied {
            command.arg(child::DENIED);
        }
        command.env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map(Self).map_err(Failure::of("start its process"))
    }

    /// Waits until it is ready to begin.
    fn until_ready(&mut self) -> Result<(), Failure> {
        let text = self.read(|text| text.ends_with(b"\n"))?;
        if text == format!("{}\n", child::READY).as_bytes() {
            return Ok(());
        }
        Err(Failure::Failed("its process did not begin".into()))
    }

    /// Reads its output until there is enough, it ends, or the time is over.
    fn read(&mut self, enough: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, Failure> {
        let (mut text, mut part) = (Vec::new(), [0; 4096]);
        let Some(stdout) = &mut self.0.stdout else { return Ok(text) };
        let until = Instant::now() + WORK;
        while !enough(&text) {
            let left = until.saturating_duration_since(Instant::now());
            let time = Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            };
            let ready = poll(&mut [PollFd::new(&*stdout, PollFlags::IN)], Some(&time));
            match ready.map_err(io::Error::from) {
                Ok(0) => break,
                Ok(_) => match stdout.read(&mut part) {
                    Ok(0) => break,
                    Ok(count) => text.extend(part.iter().take(count)),
                    Err(error) => return Err(Failure::of("read its answers")(error)),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::of("wait for its answers")(error)),
            }
        }
        Ok(text)
    }

    /// Lets it begin, and reads its answers until it ends.
    fn work(&mut self) -> Result<Vec<Answer>, Failure> {
        if let Some(mut stdin) = self.0.stdin.take() {
            stdin.write_all(&[1]).map_err(Failure::of("let its process begin"))?;
        }
        let text = self.read(|_| false)?;
        Ok(read_answers(&String::from_utf8_lossy(&text)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Usually it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The answers, one a line; other lines are ignored.
fn read_answers(text: &str) -> Vec<Answer> {
    let answer = |line: &str| {
        let (index, errno) = line.split_once(' ')?;
        Some(Answer { index: index.parse().ok()?, errno: errno.parse().ok()? })
    };
    text.lines().filter_map(answer).collect()
}

/// The fault that was logged last.
#[derive(Default)]
struct Logged {
    fault: Option<(String, Instant)>,
}

impl Logged {
    /// Whether a report has to be logged: it differs from the last one, or the fault has stayed for long.
    fn is_news(&mut self, report: &Report, now: Instant) -> bool {
        let before = self.fault.as_ref();
        let fault = (!report.is_good()).then(|| report.message());
        let news = match (&fault, before) {
            (None, None) => false,
            (Some(fault), Some((last, when))) => {
                fault != last || now.duration_since(*when) >= REMINDER
            }
            _ => true,
        };
        if news {
            self.fault = fault.map(|fault| (fault, now));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_is_logged_when_it_begins_changes_ends_and_each_hour() {
        let (mut logged, start) = (Logged::default(), Instant::now());
        let (good, one, two) = (Report::default(), Report::failed("one"), Report::failed("two"));
        let after = |seconds| start + Duration::from_secs(seconds);
        let cases = [
            (&good, 0, false),
            (&one, 1, true),
            (&one, 2, false),
            (&two, 3, true),
            (&two, 3_602, false),
            (&two, 3_603, true),
            (&two, 3_604, false),
            (&good, 3_605, true),
            (&good, 3_606, false),
            (&two, 3_607, true),
        ];
        for (report, seconds, news) in cases {
            assert_eq!(logged.is_news(report, after(seconds)), news, "{seconds}");
        }
    }

    #[test]
    fn folder_after_unrefused_tries_is_laid_out_again() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("control.canary");
        drop(prepare(&folder).unwrap());
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        fs::remove_file(folder.join(canary::DOOMED)).unwrap();
        fs::remove_dir(folder.join(canary::FOLDER)).unwrap();
        fs::create_dir(folder.join("made-folder")).unwrap();
        fs::write(folder.join("made"), "").unwrap();
        drop(prepare(&folder).unwrap());
        assert!(folder.join(canary::DOOMED).exists() && folder.join(canary::FOLDER).exists());
        assert!(!folder.join("made").exists() && !folder.join("made-folder").exists());
        fs::set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
        assert!(prepare(&folder).is_err());
    }

    #[test]
    fn answers_with_other_lines_between_are_read() {
        let wanted = [Answer { index: 0, errno: 0 }, Answer { index: 7, errno: 13 }];
        assert_eq!(read_answers("0 0\n7 13\nnonsense\n8"), wanted);
    }
}
