//! What the daemon does besides answering: expiries, deserted sessions, signals, the watchdog.

use std::{io, time::Duration};

use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use super::{alarm::Alarm, memory, notify};
use crate::{
    bpf::Vacancies,
    session::{Actor, Error, Registry, Sessions, policy_dir::PolicyDir},
};

/// The least time from one tidying of what has run out to the next.
const EXPIRED: Duration = Duration::from_millis(500);
/// How long what a change leaves behind stays so: what many leave is tidied up at once.
const SETTLE: Duration = Duration::from_secs(2);
/// After how long something that wakes us is taken as a reason to look for sessions without a process, in case that
/// the kernel's word did not come.
const LOOK: Duration = Duration::from_secs(60);

/// Does all that until a signal says to stop. Wakes for nothing else than what there is to do.
pub(super) async fn until_stopped(
    sessions: Sessions,
    policy: PolicyDir,
    vacancies: Vacancies,
) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // SAFETY: the descriptor is the map's, which is open as long as the value is there.
    let mut vacancies = unsafe { AsyncFd::register_with_interest(vacancies, Interest::READABLE) }?;
    let (expiry, settling, watchdog) = (Alarm::new()?, Alarm::new()?, Alarm::new()?);
    let watched = notify::interval();
    watchdog.set(watched)?;
    let bell = sessions.lock().bell();
    // Sessions may have been deserted while no daemon ran.
    work(&sessions, Registry::sweep_deserted).await;
    let (mut swept, mut looked) = (Instant::now(), Instant::now());
    let (mut is_settling, mut is_called) = (false, false);
    loop {
        let mut next = Next::after(&sessions).await;
        if next.has_sessions && looked.elapsed() >= LOOK {
            work(&sessions, Registry::sweep_deserted).await;
            looked = Instant::now();
            next = Next::after(&sessions).await;
        }
        if std::mem::take(&mut is_called) {
            // The registry can still be had.
            notify::alive();
        }
        expiry.set(next.expiry.map(|left| left.max(EXPIRED.saturating_sub(swept.elapsed()))))?;
        if next.is_unsettled && !is_settling {
            settling.set(Some(SETTLE))?;
            is_settling = true;
        }
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                let policy = policy.clone();
                blocking(move || reload(&policy)).await;
            }
            () = bell.notified() => {}
            ready = vacancies.readable_mut() => {
                let mut ready = ready?;
                ready.get_inner_mut().take();
                ready.clear_ready();
                work(&sessions, Registry::sweep_deserted).await;
                looked = Instant::now();
            }
            rung = expiry.rung() => {
                rung?;
                let sessions = sessions.clone();
                blocking(move || {
                    sessions.lock().sweep_expired();
                    // What is left is in the daemon's log.
                    let _ = sessions.settle_losses();
                })
                .await;
                swept = Instant::now();
            }
            rung = settling.rung() => {
                rung?;
                work(&sessions, Registry::settle).await;
                blocking(memory::give_back).await;
                is_settling = false;
            }
            rung = watchdog.rung() => {
                rung?;
                watchdog.set(watched)?;
                is_called = true;
            }
        }
    }
    tracing::info!("stops; enforcement stays");
    Ok(())
}

/// What is to be done for sessions.
struct Next {
    /// How long until something may run out.
    expiry: Option<Duration>,
    /// Whether a change left something behind.
    is_unsettled: bool,
    /// Whether there are sessions that may be deserted.
    has_sessions: bool,
}

impl Next {
    /// What comes after what the registry says now.
    async fn after(sessions: &Sessions) -> Self {
        // As a rule nobody has it, and no thread is needed to wait.
        if let Some(registry) = sessions.try_lock() {
            return Self::of(&registry);
        }
        let sessions = sessions.clone();
        let look = blocking(move || Self::of(&sessions.lock())).await;
        look.unwrap_or(Self { expiry: Some(EXPIRED), is_unsettled: true, has_sessions: true })
    }

    fn of(registry: &Registry) -> Self {
        Self {
            expiry: registry.until_expiry(),
            is_unsettled: registry.is_unsettled(),
            has_sessions: registry.live().next().is_some(),
        }
    }
}

fn reload(policy: &PolicyDir) {
    match policy.reload(false, &Actor::daemon()) {
        Ok((installed, _)) => tracing::info!("policy {} in force", installed.generation),
        Err(error) => {
            if let Error::Policy(diagnostics) = &error {
                for diagnostic in diagnostics {
                    eprintln!("{diagnostic}\n");
                }
            }
            tracing::error!("{error}; the policy before stays in force");
        }
    }
}

/// Does something with the registry.
async fn work(sessions: &Sessions, work: fn(&mut Registry)) {
    let sessions = sessions.clone();
    blocking(move || work(&mut sessions.lock())).await;
}

/// Does work that may wait; none when it panicked.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let result = tokio::task::spawn_blocking(work).await;
    if result.is_err() {
        tracing::error!("a task panicked");
    }
    result.ok()
}
