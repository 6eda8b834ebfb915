//! Expired grants and sessions, and sessions without tasks.
//!
//! The kernel refuses by its own clock from the very moment of an expiry; this only tidies up and logs it.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{Registry, change::names};
use crate::session::{
    Actor, Session,
    acts::{Act, Control},
    model::{Grant, Loss},
};

impl Registry {
    /// Notified whenever a session was written: the next expiry may be another then.
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// How long until the next grant or session expires, or hooks that nobody needs are detached; `None` if nothing is
    /// due.
    pub fn until_expiry(&self) -> Option<Duration> {
        let grants = self.live.values().flat_map(|session| &session.grants);
        let ends = grants.filter_map(|grant| grant.until);
        let next =
            ends.chain(self.live.values().map(|session| session.expires)).map(|end| end.boot);
        let now = self.clock.now().boot;
        let expiry = next.min().map(|next| Duration::from_nanos(next.saturating_sub(now)));
        expiry.into_iter().chain(self.until_detached()).min()
    }

    /// Removes expired grants, and ends expired sessions.
    pub fn sweep_expired(&mut self) {
        self.settle_watch();
        let now = self.clock.now();
        let is_expired = |grant: &Grant| grant.until.is_some_and(|until| until.reached(now));
        let due: Vec<Session> = self
            .live
            .values()
            .filter(|session| session.expires.reached(now) || session.grants.iter().any(is_expired))
            .cloned()
            .collect();
        let by = Actor::daemon();
        for mut session in due {
            if session.expires.reached(now) {
                if let Err(error) = self.finish(session, "its time was up", &by) {
                    tracing::error!("{error}");
                }
                continue;
            }
            let gone = session.lose(is_expired, Loss::Expired, now, &by);
            let mut control = Control::of(Act::Expire, &session, &by);
            control.tools = names(&gone);
            self.note_lost(session.id, &gone);
            match self.shrink(session) {
                Ok(_) => self.log_act(control),
                Err(error) => tracing::error!("{error}"),
            }
        }
    }

    /// Ends the sessions that have no tasks left. Sessions that ended earlier may have lost their last task too, so
    /// [`Self::settle`] has something to do.
    pub fn end_sessions_without_tasks(&mut self) {
        self.is_unsettled |= !self.lingering.is_empty();
        let without_tasks: Vec<Session> = self
            .live
            .values()
            .filter(|session| {
                session.tagged && self.enforcer.tasks_of(session.slot()).is_ok_and(|n| n == 0)
            })
            .cloned()
            .collect();
        for session in without_tasks {
            if let Err(error) = self.finish(session, "its last process ended", &Actor::daemon()) {
                tracing::error!("{error}");
            }
        }
    }
}
