//! What the daemon does besides answering: expiries, deserted sessions, signals, the watchdog.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::notify;
use crate::session::{Actor, Error, Sessions, policy_dir::PolicyDir};

/// The least time from one tidying of what has run out to the next.
const EXPIRED: Duration = Duration::from_millis(500);
/// The most: the clock of expiries goes on while the host sleeps, that of timers does not.
const LONGEST: Duration = Duration::from_secs(60);
/// How often sessions without a process are looked for, while there are sessions.
const DESERTED: Duration = Duration::from_secs(2);

/// Does all that until a signal says to stop. Wakes for nothing else than what there is to do.
pub(super) async fn until_stopped(sessions: Sessions, policy: PolicyDir) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut deserted = interval(DESERTED);
    let watched = notify::interval();
    let mut watchdog = interval(watched.unwrap_or(Duration::from_secs(3600)));
    for ticks in [&mut deserted, &mut watchdog] {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let bell = sessions.lock().bell();
    let mut swept = Instant::now();
    let mut next = Next::after(&sessions).await;
    loop {
        let expiry = next.expiry.map(|expiry| expiry.max(swept + EXPIRED));
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                let policy = policy.clone();
                blocking(move || reload(&policy)).await;
            }
            () = bell.notified() => {}
            () = sleep_until(expiry.unwrap_or(swept)), if expiry.is_some() => {
                let sessions = sessions.clone();
                blocking(move || {
                    sessions.lock().sweep_expired();
                    sessions.settle_losses();
                })
                .await;
                swept = Instant::now();
            }
            _ = deserted.tick(), if next.has_processes => {
                let sessions = sessions.clone();
                blocking(move || sessions.lock().sweep_deserted()).await;
            }
            // Says that the registry can still be had.
            _ = watchdog.tick(), if watched.is_some() => {
                next = Next::after(&sessions).await;
                notify::alive();
                continue;
            }
        }
        next = Next::after(&sessions).await;
    }
    tracing::info!("stops; enforcement stays");
    Ok(())
}

/// What time will do to sessions.
struct Next {
    /// When something may run out.
    expiry: Option<Instant>,
    /// Whether there are processes that may end.
    has_processes: bool,
}

impl Next {
    /// What comes after what the registry says now.
    async fn after(sessions: &Sessions) -> Self {
        let sessions = sessions.clone();
        let look = move || {
            let registry = sessions.lock();
            (registry.until_expiry(), registry.has_processes())
        };
        let (expiry, has_processes) = blocking(look).await.unwrap_or((Some(EXPIRED), true));
        let expiry = expiry.map(|expiry| Instant::now() + expiry.min(LONGEST));
        Self { expiry, has_processes }
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

/// Does work that may wait; none when it panicked.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let result = tokio::task::spawn_blocking(work).await;
    if result.is_err() {
        tracing::error!("a task panicked");
    }
    result.ok()
}
