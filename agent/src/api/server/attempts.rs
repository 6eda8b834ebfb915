//! Acts of control that were refused or failed: each leaves a line of the log, as one that was done does. Who tries
//! again and again gets some lines a minute, and then one that counts the rest, so that a session can't fill the log.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use agent_common::id::Tag;
use axum::http::StatusCode;

use super::{ApiError, Server, peer::Peer, users};
use crate::{
    bpf::Confinement,
    session::{
        Actor, Id, Sessions,
        witness::{Act, Control, Outcome},
    },
};

/// Lines that one session, or one user, gets in each [`WINDOW`].
const LINES: u32 = 10;
/// Time after which lines are counted anew, and what has none is summed up.
const WINDOW: Duration = Duration::from_secs(60);

/// An act of control as somebody tries it.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    act: Act,
    /// The session's name or id, as it was asked for.
    session: Option<String>,
    tool: Option<String>,
    reason: Option<String>,
    detail: Option<String>,
}

impl Attempt {
    /// An act on no session.
    pub(super) fn new(act: Act) -> Self {
        Self { act, session: None, tool: None, reason: None, detail: None }
    }

    /// An act on a session.
    pub(super) fn on(act: Act, session: &str) -> Self {
        Self { session: Some(session.to_owned()), ..Self::new(act) }
    }

    /// The tool that it concerns.
    pub(super) fn tool(self, tool: &str) -> Self {
        Self { tool: Some(tool.to_owned()), ..self }
    }

    /// The reason that was given.
    pub(super) fn reason(self, reason: Option<&str>) -> Self {
        Self { reason: reason.map(str::to_owned), ..self }
    }

    /// What else was asked for.
    pub(super) fn detail(self, detail: String) -> Self {
        Self { detail: Some(detail), ..self }
    }
}

/// Who is counted together: a session, or a user's processes outside of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Session(u64),
    User(u32),
}

/// What one of them tried lately.
struct Recent {
    since: Instant,
    written: u32,
    /// Attempts without a line, and the last of them.
    held: u64,
    last: Option<Control>,
}

impl Recent {
    fn new(now: Instant) -> Self {
        Self { since: now, written: 0, held: 0, last: None }
    }

    /// The line for all that have none.
    fn sum(&mut self) -> Option<Control> {
        let count = mem::take(&mut self.held);
        let mut control = self.last.take()?;
        let last = control.detail.take().unwrap_or_default();
        control.detail = Some(format!("{count} attempts without a line each; the last: {last}"));
        control.count = Some(count);
        Some(control)
    }
}

/// What is to be done with an attempt.
struct Verdict {
    lines: Vec<Control>,
    /// Whether somebody has to come back for what is held.
    is_first_held: bool,
}

/// The attempts of everybody, lately.
#[derive(Clone, Default)]
pub struct Attempts(Arc<Mutex<HashMap<Who, Recent>>>);

impl Attempts {
    fn lock(&self) -> MutexGuard<'_, HashMap<Who, Recent>> {
        // A count that a panic left is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an attempt, and gives the lines that it makes.
    fn take(&self, who: Who, control: Control, now: Instant) -> Verdict {
        let mut all = self.lock();
        let is_over = |recent: &Recent| now.saturating_duration_since(recent.since) >= WINDOW;
        all.retain(|_, recent| recent.held > 0 || !is_over(recent));
        let recent = all.entry(who).or_insert_with(|| Recent::new(now));
        let mut lines = Vec::new();
        if is_over(recent) {
            lines.extend(recent.sum());
            *recent = Recent::new(now);
        }
        if recent.written < LINES {
            recent.written += 1;
            lines.push(control);
            return Verdict { lines, is_first_held: false };
        }
        recent.held += 1;
        recent.last = Some(control);
        Verdict { lines, is_first_held: recent.held == 1 }
    }

    /// The line for what somebody tried without one.
    fn sum_of(&self, who: Who) -> Option<Control> {
        let mut all = self.lock();
        let sum = all.get_mut(&who).and_then(Recent::sum);
        all.remove(&who);
        sum
    }

    /// Writes down what has no line yet.
    pub fn flush(&self, sessions: &Sessions) {
        let sums: Vec<Control> =
            self.lock().drain().filter_map(|(_, mut recent)| recent.sum()).collect();
        for control in sums {
            sessions.lock().note_attempt(control);
        }
    }
}

impl Server {
    /// Writes down an act that was refused or failed. Called on a thread that may block.
    pub(super) fn note_attempt(&self, peer: &Peer, attempt: Attempt, error: &ApiError) {
        let tag = match peer.confinement(self.sessions.lock().enforcer()) {
            Confinement::Of(tag) => Some(tag),
            Confinement::None | Confinement::Unknown(_) => None,
        };
        let who = tag.map_or(Who::User(peer.uid), |tag: Tag| Who::Session(tag.session.0));
        let by = Actor { uid: peer.uid, user: users::name(peer.uid), pid: peer.pid };
        let message = &error.body.message;
        let detail =
            attempt.detail.map_or_else(|| message.clone(), |what| format!("{what}: {message}"));
        let is_refused = error.status == StatusCode::FORBIDDEN;
        let control = Control {
            session: attempt.session.and_then(|word| {
                let registry = self.sessions.lock();
                registry.find(&word).ok().map(Into::into)
            }),
            tools: attempt.tool.into_iter().collect(),
            reason: attempt.reason,
            outcome: if is_refused { Outcome::Refused } else { Outcome::Failed },
            detail: Some(detail),
            by_session: tag.map(|tag| Id(tag.session)),
            ..Control::new(attempt.act, &by)
        };
        let Verdict { lines, is_first_held } = self.attempts.take(who, control, Instant::now());
        for line in lines {
            self.sessions.lock().note_attempt(line);
        }
        if is_first_held {
            self.come_back_for(who);
        }
    }

    /// Has what somebody tries without a line summed up when the time is over.
    fn come_back_for(&self, who: Who) {
        let (attempts, sessions) = (self.attempts.clone(), self.sessions.clone());
        tokio::spawn(async move {
            tokio::time::sleep(WINDOW).await;
            let sum = move || {
                if let Some(control) = attempts.sum_of(who) {
                    sessions.lock().note_attempt(control);
                }
            };
            // A daemon that stops meanwhile sums up by itself.
            let _ = tokio::task::spawn_blocking(sum).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control() -> Control {
        let by = Actor { uid: 0, user: "root".into(), pid: 1 };
        Control { detail: Some("no".into()), ..Control::new(Act::Grant, &by) }
    }

    #[test]
    fn flood_of_attempts_is_summed_up_and_counted() {
        let attempts = Attempts::default();
        let (who, other) = (Who::Session(7), Who::User(0));
        let start = Instant::now();
        let taken: Vec<Verdict> = (0..1000).map(|_| attempts.take(who, control(), start)).collect();
        let lines: usize = taken.iter().map(|verdict| verdict.lines.len()).sum();
        let returns = taken.iter().filter(|verdict| verdict.is_first_held).count();
        assert_eq!((lines, returns), (LINES as usize, 1));
        assert_eq!(attempts.take(other, control(), start).lines.len(), 1, "others have their own");
        let later = attempts.take(who, control(), start + WINDOW).lines;
        assert_eq!((later.len(), later[0].count), (2, Some(1000 - u64::from(LINES))));
        assert_eq!(later[1].count, None);
        assert!(attempts.sum_of(who).is_none());
    }
}
