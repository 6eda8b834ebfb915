//! What the daemon does besides answering: expiries, deserted sessions, signals, the watchdog.

use std::{io, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval},
};

use super::notify;
use crate::session::{Actor, Error, Sessions, mappings, policy_dir::PolicyDir};

/// How often what has run out is tidied away.
const EXPIRED: Duration = Duration::from_millis(500);
/// How often sessions without a process are looked for.
const DESERTED: Duration = Duration::from_secs(2);

/// Does all that until a signal says to stop.
pub(super) async fn until_stopped(sessions: Sessions, policy: PolicyDir) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut expired = interval(EXPIRED);
    let mut deserted = interval(DESERTED);
    let watched = notify::interval();
    let mut watchdog = interval(watched.unwrap_or(Duration::from_secs(3600)));
    for ticks in [&mut expired, &mut deserted, &mut watchdog] {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                let policy = policy.clone();
                blocking(move || reload(&policy)).await;
            }
            _ = expired.tick() => {
                let sessions = sessions.clone();
                blocking(move || {
                    sessions.lock().sweep_expired();
                    mappings::settle(&sessions);
                })
                .await;
            }
            _ = deserted.tick() => {
                let sessions = sessions.clone();
                blocking(move || sessions.lock().sweep_deserted()).await;
            }
            // Sent from here, so that it says that the registry can still be had: the other arms wait
            // for it.
            _ = watchdog.tick(), if watched.is_some() => notify::alive(),
        }
    }
    tracing::info!("stops; enforcement stays");
    Ok(())
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

async fn blocking(work: impl FnOnce() + Send + 'static) {
    if tokio::task::spawn_blocking(work).await.is_err() {
        tracing::error!("a task panicked");
    }
}
