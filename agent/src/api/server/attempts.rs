//! Logs acts of control that were refused or failed. Each gets a line of the log, up to some lines a minute for each
//! session or user; further attempts are summed up in one line, so that a session can't fill the log.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::http::StatusCode;

use super::{ApiError, access::Account, caller::Caller};
use crate::session::{
    Sessions,
    acts::{Act, Control, Outcome},
};

/// Lines that one account gets in each [`WINDOW`].
const LINES: u32 = 10;
/// The time after which lines are counted anew, and attempts without a line are summed up.
const WINDOW: Duration = Duration::from_secs(60);

/// An act of control that a request attempts.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    act: Act,
    /// The session's name or id, as the request has it.
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

    /// The reason that the request gives.
    pub(super) fn reason(self, reason: Option<&str>) -> Self {
        Self { reason: reason.map(str::to_owned), ..self }
    }

    /// Further words on what was attempted.
    pub(super) fn detail(self, detail: String) -> Self {
        Self { detail: Some(detail), ..self }
    }
}

/// The recent attempts of one account.
struct Recent {
    since: Instant,
    /// How many got a line.
    logged: u32,
    /// How many did not.
    withheld: u64,
    /// The last that did not.
    last: Option<Control>,
}

impl Recent {
    fn new(now: Instant) -> Self {
        Self { since: now, logged: 0, withheld: 0, last: None }
    }

    /// The line that sums up the attempts without one.
    fn sum(&mut self) -> Option<Control> {
        let count = mem::take(&mut self.withheld);
        let mut control = self.last.take()?;
        let last = control.detail.take().unwrap_or_default();
        control.detail = Some(format!("{count} attempts without a line each; the last: {last}"));
        control.count = Some(count);
        Some(control)
    }
}

/// What to do with an attempt.
struct Lines {
    /// The lines to log now.
    now: Vec<Control>,
    /// Whether a summary has to be logged when the window is over, and none is planned yet.
    plan_summary: bool,
}

/// The recent attempts of all accounts; clones share them.
#[derive(Clone, Default)]
pub struct Attempts(Arc<Mutex<HashMap<Account, Recent>>>);

impl Attempts {
    fn lock(&self) -> MutexGuard<'_, HashMap<Account, Recent>> {
        // A panic leaves nothing worse than a wrong count.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an attempt, and returns the lines to log.
    fn count(&self, account: Account, control: Control, now: Instant) -> Lines {
        let mut all = self.lock();
        let is_over = |recent: &Recent| now.saturating_duration_since(recent.since) >= WINDOW;
        all.retain(|_, recent| recent.withheld > 0 || !is_over(recent));
        let recent = all.entry(account).or_insert_with(|| Recent::new(now));
        let mut lines = Vec::new();
        if is_over(recent) {
            lines.extend(recent.sum());
            *recent = Recent::new(now);
        }
        if recent.logged < LINES {
            recent.logged += 1;
            lines.push(control);
            return Lines { now: lines, plan_summary: false };
        }
        recent.withheld += 1;
        recent.last = Some(control);
        Lines { now: lines, plan_summary: recent.withheld == 1 }
    }

    /// The summary of an account's attempts without a line. The account starts anew.
    fn take_sum(&self, account: Account) -> Option<Control> {
        let mut all = self.lock();
        let sum = all.get_mut(&account).and_then(Recent::sum);
        all.remove(&account);
        sum
    }

    /// Logs the summaries of all accounts now.
    pub fn flush(&self, sessions: &Sessions) {
        let sums: Vec<Control> =
            self.lock().drain().filter_map(|(_, mut recent)| recent.sum()).collect();
        for control in sums {
            sessions.lock().log_act(control);
        }
    }

    /// Logs an act that was refused or failed. To be called in a thread of the runtime that may block.
    pub(super) fn log(
        &self,
        sessions: &Sessions,
        caller: &Caller,
        attempt: Attempt,
        error: &ApiError,
    ) {
        let message = &error.body.message;
        let detail =
            attempt.detail.map_or_else(|| message.clone(), |what| format!("{what}: {message}"));
        let is_refused = error.status == StatusCode::FORBIDDEN;
        let control = Control {
            session: attempt.session.and_then(|word| {
                let registry = sessions.lock();
                registry.find(&word).ok().map(Into::into)
            }),
            tools: attempt.tool.into_iter().collect(),
            reason: attempt.reason,
            outcome: if is_refused { Outcome::Refused } else { Outcome::Failed },
            detail: Some(detail),
            by_session: caller.session(),
            ..Control::new(attempt.act, &caller.actor())
        };
        let account = caller.account();
        let Lines { now, plan_summary } = self.count(account, control, Instant::now());
        for line in now {
            sessions.lock().log_act(line);
        }
        if plan_summary {
            self.log_summary_later(sessions, account);
        }
    }

    /// Logs the summary of an account's attempts when the window is over.
    fn log_summary_later(&self, sessions: &Sessions, account: Account) {
        let (attempts, sessions) = (self.clone(), sessions.clone());
        tokio::spawn(async move {
            tokio::time::sleep(WINDOW).await;
            let log = move || {
                if let Some(control) = attempts.take_sum(account) {
                    sessions.lock().log_act(control);
                }
            };
            // A daemon that stops meanwhile calls `flush`.
            let _ = tokio::task::spawn_blocking(log).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use agent_common::id::SessionId;

    use super::*;
    use crate::session::Actor;

    fn control() -> Control {
        let by = Actor { uid: 0, user: "root".into(), pid: 1 };
        Control { detail: Some("no".into()), ..Control::new(Act::Grant, &by) }
    }

    #[test]
    fn attempts_beyond_the_limit_are_summed_up() {
        let attempts = Attempts::default();
        let (account, other) = (Account::Session(SessionId(7)), Account::User(0));
        let start = Instant::now();
        let counted: Vec<Lines> =
            (0..1000).map(|_| attempts.count(account, control(), start)).collect();
        let lines: usize = counted.iter().map(|lines| lines.now.len()).sum();
        let summaries = counted.iter().filter(|lines| lines.plan_summary).count();
        assert_eq!((lines, summaries), (LINES as usize, 1));
        assert_eq!(attempts.count(other, control(), start).now.len(), 1, "others have their own");
        let later = attempts.count(account, control(), start + WINDOW).now;
        assert_eq!((later.len(), later[0].count), (2, Some(1000 - u64::from(LINES))));
        assert_eq!(later[1].count, None);
        assert!(attempts.take_sum(account).is_none());
    }
}
