//! `remitd`: composes the parts, and starts and stops them in their order.
//!
//! Start: settings, lock, kernel, registry (which takes over the live sessions), policy, log, control socket,
//! readiness. The daemon does not start if the settings are wrong or the kernel can't enforce. It does start with a
//! wrong policy, or if the state directory or the log can't be written: these are troubles (`troubles`), which it
//! reports until they are mended. Stop: the control socket, then the log; the kernel goes on enforcing by itself.

mod alarm;
mod apart;
mod builtin;
mod canary;
mod context;
mod host;
pub mod kernel;
mod lock;
mod log;
mod memory;
mod message;
mod notify;
mod policy;
pub mod teardown;
mod work;

use std::{
    fs,
    io::IsTerminal as _,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
};

use clap::Parser;

use self::{
    context::DaemonContext,
    kernel::Kernel,
    lock::{Lock, LockError},
    log::{LogHandle, Reader, Writer},
    message::ToCanary,
};
use crate::{
    api::server::{self, Attempts, Server, SocketError, users},
    bpf::{Vacancies, packets, pins::Pins},
    groups::Groups,
    incident::{Journal, JournalError, Options},
    session::{
        self, Registry, Sessions, clock, policy_dir::PolicyDir, private::PrivateFolders,
        registry::Parts,
    },
    settings::{Settings, SettingsError},
    troubles::Troubles,
    vitals::Vitals,
};

/// The daemon of Remit: puts the policy in force and answers on the control socket
#[derive(Debug, Parser)]
#[command(
    name = "remitd",
    version,
    after_help = "\
SIGHUP reads the policy again. When the daemon stops, enforcement stays: `remit teardown` ends it.
A policy that is wrong leaves the last good one in force, and is said until it is mended.
Exit status: 1 it could not start, 2 the settings are wrong.
`RUST_LOG` sets how much it says: `RUST_LOG=debug remitd`."
)]
struct Args {
    /// The settings [default: /etc/remit/remitd.toml, where it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Why the daemon did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Another daemon is running.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The kernel can't enforce.
    #[error(transparent)]
    Kernel(#[from] kernel::StartError),
    /// The sessions can't be taken over, or the policy does not fit.
    #[error(transparent)]
    Registry(#[from] session::Error),
    /// The log can't be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The control socket can't be offered.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The system refused something.
    #[error("can't {action}: {source}")]
    System {
        /// The operation.
        action: &'static str,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

impl DaemonError {
    fn system(action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { action, source }
    }

    fn code(&self) -> u8 {
        match self {
            Self::Settings(_) => 2,
            _ => 1,
        }
    }
}

/// Runs `remitd` with the process's arguments.
pub fn main() -> ExitCode {
    if let Some(code) = crate::canary::child::main() {
        return code;
    }
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    // The journal has its own times and no use for colours.
    let format = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let format = format.with_ansi(terminal).with_target(false);
    if terminal {
        format.init()
    } else {
        format.without_time().init()
    }
    match run(args.config.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            if let DaemonError::Kernel(_) = error {
                tracing::error!("`remit doctor` says what to change on this host");
            }
            ExitCode::from(error.code())
        }
    }
}

fn run(config: Option<&Path>) -> Result<(), DaemonError> {
    let settings = Settings::load(config)?;
    allow_descriptors();
    let locks = (Lock::take(&settings.state_dir)?, Lock::take_pins(&settings.pin_dir)?);
    // On an error the pin directory, which the lock made, is removed again; one with pins in it stays.
    let started = kernel::start(&settings).inspect_err(|_| drop(fs::remove_dir(&settings.pin_dir)));
    let Kernel { enforcer, events, wake, vacancies, epoch } = started?;
    let troubles = Arc::new(Troubles::default());
    let (log, inbox) = log::channel().map_err(DaemonError::system("make an event counter"))?;
    let groups = Groups::open(&settings.control_group);
    tracing::info!("control groups: {}", groups.describe());
    groups.keep_base(&settings.state_dir);
    if let Some(sessions) = groups.sessions()
        && let Err(error) = packets::attach(&Pins::new(&settings.pin_dir), &sessions)
    {
        tracing::error!("packets with a routing header can leave sessions: {error}");
    }
    let parts = Parts {
        enforcer,
        clock: Arc::new(clock::System),
        act_log: Box::new(log.clone()),
        builtin: builtin::of(&settings, config, groups.mount()),
        detach_after: settings.detach_after,
        troubles: Arc::clone(&troubles),
        private: Arc::new(PrivateFolders::new(
            &settings.tmp_dir,
            &settings.cache_dir,
            &settings.state_dir,
        )),
    };
    let mut registry = Registry::take_over(parts, &settings.state_dir)?;
    let dirs = (&*settings.policy_dir, &*settings.shipped_dir);
    policy::put_in_force(&mut registry, dirs, &troubles)?;
    registry.settle();
    let sessions = Sessions::new(registry);
    sessions.lock().use_groups(groups);
    let mut options = Options::new(&settings.log_dir, epoch);
    options.group = users::gid(&settings.group);
    let journal = Journal::open(options.clone()).or_else(|error| {
        // The log's thread opens it as soon as it can. Until then that is a trouble.
        tracing::error!("{error}");
        Journal::later(options)
    })?;
    let vitals = Arc::new(Vitals::new(settings.canary_interval));
    let (to_canary, messages) = mpsc::channel();
    let attached = to_canary.clone();
    sessions.lock().on_watch(Box::new(move || drop(attached.send(ToCanary::Attached))));
    let context = DaemonContext::new(host::name(), sessions.clone(), to_canary.clone());
    let reports = (Arc::clone(&vitals), Arc::clone(&troubles));
    let writer = Writer::new(events, wake, context, journal, inbox, reports).spawn();
    let writer = writer.map_err(DaemonError::system("start the log's thread"))?;
    let served = serve(&settings, sessions, vacancies, &log, vitals, (to_canary.clone(), messages));
    // A run that is under way is given up.
    let _ = to_canary.send(ToCanary::Stop);
    log.stop();
    if writer.join().is_err() {
        tracing::error!("the log's thread panicked");
    }
    drop(locks);
    served
}

/// Raises the limit of open descriptors to the host's maximum: each connection needs three.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let more = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, more) {
        tracing::warn!("can't allow more descriptors: {error}");
    }
}

/// Answers on the control socket until a signal says to stop.
fn serve(
    settings: &Settings,
    sessions: Sessions,
    vacancies: Vacancies,
    log: &LogHandle,
    vitals: Arc<Vitals>,
    (to_canary, messages): (Sender<ToCanary>, Receiver<ToCanary>),
) -> Result<(), DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DaemonError::system("start the runtime"))?;
    let attempts = Attempts::default();
    let served = runtime.block_on(async {
        let note = |socket: BorrowedFd<'_>| sessions.lock().note_control_socket(socket);
        let listener = server::bind(&settings.socket, note)?;
        let policy = PolicyDir::new(&settings.policy_dir, &settings.shipped_dir, sessions.clone());
        let server = Server {
            sessions: sessions.clone(),
            policy: policy.clone(),
            log: Arc::new(Reader::new(&settings.log_dir, log.clone())),
            group: settings.group.as_str().into(),
            threads: server::peer::threads,
            vitals: Arc::clone(&vitals),
            canary: Arc::new(move || canary::run_now(&to_canary)),
            attempts: attempts.clone(),
        };
        if let Some(interval) = settings.canary_interval {
            let folder = crate::canary::folder(&settings.socket);
            let (sessions, log) = (sessions.clone(), log.clone());
            let troubles = Arc::clone(sessions.lock().troubles());
            let (waiting, skipped, pins) = (Vec::new(), None, settings.pin_dir.clone());
            let keeper = canary::Keeper {
                sessions,
                log,
                vitals,
                folder,
                messages,
                waiting,
                pins,
                skipped,
                troubles,
            };
            keeper.spawn(interval).map_err(DaemonError::system("start the canary's thread"))?;
        }
        let live = sessions.lock().live().count();
        tracing::info!(
            "in force; {live} sessions live; control socket `{}`",
            settings.socket.display()
        );
        memory::give_back();
        notify::ready();
        tokio::select! {
            served = server::serve(listener, server) => {
                served.map_err(DaemonError::system("accept connections"))
            }
            stopped = work::until_stopped(sessions.clone(), policy, vacancies) => {
                stopped.map_err(DaemonError::system("wait for signals"))
            }
        }
    });
    notify::stopping();
    // Waits for requests that change something, but not for followers of the log, which never end.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    attempts.flush(&sessions);
    served
}
