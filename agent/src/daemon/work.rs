//! What the daemon does besides answering requests: expiries, sessions without tasks, signals, systemd's watchdog.

use std::{io, time::Duration};

use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use super::{alarm::Alarm, memory, notify};
use crate::{
    bpf::Vacancies,
    session::{Actor, Error, Registry, Sessions, clearing, losses, policy_dir::PolicyDir},
};

/// The least time between two removals of what has expired.
const EXPIRED: Duration = Duration::from_millis(500);
/// How long after a change the daemon tidies up, so that many changes are tidied up together.
const SETTLE: Duration = Duration::from_secs(2);
/// How often, when something wakes the daemon anyway, it looks for sessions without tasks, in case a notice of the
/// kernel was missed.
const LOOK: Duration = Duration::from_secs(60);

/// Does all that until a signal says to stop. Wakes only when there is something to do.
pub(super) async fn until_stopped(
    sessions: Sessions,
    policy: PolicyDir,
    vacancies: Vacancies,
) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // SAFETY: the descriptor is the map's, which is open as long as the value lives.
    let mut vacancies = unsafe { AsyncFd::register_with_interest(vacancies, Interest::READABLE) }?;
    let (expiry, settling, watchdog) = (Alarm::new()?, Alarm::new()?, Alarm::new()?);
    let interval = notify::interval();
    watchdog.set(interval)?;
    let changed = sessions.lock().changed();
    // Sessions may have lost their last task while no daemon ran.
    work(&sessions, Registry::end_sessions_without_tasks).await;
    // Another daemon may have left some.
    clear_folders(&sessions);
    let (mut swept, mut looked) = (Instant::now(), Instant::now());
    let (mut is_settling, mut is_watchdog_due) = (false, false);
    loop {
        let mut next = Next::after(&sessions).await;
        if next.has_sessions && looked.elapsed() >= LOOK {
            work(&sessions, Registry::end_sessions_without_tasks).await;
            looked = Instant::now();
            next = Next::after(&sessions).await;
        }
        if std::mem::take(&mut is_watchdog_due) {
            // Only now: `Next::after` has locked the registry, so no caller holds it for ever.
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
            () = changed.notified() => {}
            ready = vacancies.readable_mut() => {
                let mut ready = ready?;
                ready.get_inner_mut().take();
                ready.clear_ready();
                work(&sessions, Registry::end_sessions_without_tasks).await;
                looked = Instant::now();
            }
            fired = expiry.fired() => {
                fired?;
                let sessions = sessions.clone();
                blocking(move || {
                    sessions.lock().sweep_expired();
                    // Its errors are in the daemon's log.
                    let _ = losses::settle(&sessions);
                })
                .await;
                swept = Instant::now();
            }
            fired = settling.fired() => {
                fired?;
                work(&sessions, Registry::settle).await;
                clear_folders(&sessions);
                blocking(memory::give_back).await;
                is_settling = false;
            }
            fired = watchdog.fired() => {
                fired?;
                watchdog.set(interval)?;
                is_watchdog_due = true;
            }
        }
    }
    tracing::info!("stops; enforcement stays");
    Ok(())
}

/// What there is to do for sessions.
struct Next {
    /// How long until something may expire.
    expiry: Option<Duration>,
    /// Whether there is something to tidy up.
    is_unsettled: bool,
    /// Whether there are sessions, which may have no tasks left.
    has_sessions: bool,
}

impl Next {
    /// What there is to do, by the registry's present state.
    async fn after(sessions: &Sessions) -> Self {
        // Usually no other caller has the registry, and no thread is needed to wait for it.
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

/// Removes the temporary folders of sessions that are over, which may take long: nothing waits for it.
fn clear_folders(sessions: &Sessions) {
    let sessions = sessions.clone();
    drop(tokio::task::spawn_blocking(move || clearing::clear(&sessions)));
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

/// Runs a function on the registry, in a thread that may block.
async fn work(sessions: &Sessions, work: fn(&mut Registry)) {
    let sessions = sessions.clone();
    blocking(move || work(&mut sessions.lock())).await;
}

/// Runs a function in a thread that may block; `None` if it panicked.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let result = tokio::task::spawn_blocking(work).await;
    if result.is_err() {
        tracing::error!("a task panicked");
    }
    result.ok()
}
