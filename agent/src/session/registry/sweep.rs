//! What time does: grants and sessions that run out, sessions whose processes are gone.
//!
//! The kernel refuses by its own clock from the very moment; this only tidies up and tells the log.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{Registry, change::names};
use crate::session::{
    Actor, Session,
    model::{Grant, Loss},
    witness::{Act, Control},
};

impl Registry {
    /// Rung whenever a session was written: what runs out next may be another then.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// How long until the next grant or session runs out, or the time of programs that nobody needs any more; none
    /// while nothing does.
    pub fn until_expiry(&self) -> Option<Duration> {
        let grants = self.live.values().flat_map(|session| &session.grants);
        let ends = grants.filter_map(|grant| grant.until);
        let next =
            ends.chain(self.live.values().map(|session| session.expires)).map(|end| end.boot);
        let now = self.clock.now().boot;
        let expiry = next.min().map(|next| Duration::from_nanos(next.saturating_sub(now)));
        expiry.into_iter().chain(self.until_unwatched()).min()
    }

    /// Takes out what has run out.
    pub fn sweep_expired(&mut self) {
        self.settle_watch();
        let now = self.clock.now();
        let over = |grant: &Grant| grant.until.is_some_and(|until| until.reached(now));
        let due: Vec<Session> = self
            .live
            .values()
            .filter(|session| session.expires.reached(now) || session.grants.iter().any(over))
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
            let gone = session.lose(over, Loss::Expired, now, &by);
            let mut control = Control::of(Act::Expire, &session, &by);
            control.tools = names(&gone);
            self.note_lost(session.id, &gone);
            match self.shrink(session) {
                Ok(_) => self.tell(control),
                Err(error) => tracing::error!("{error}"),
            }
        }
    }

    /// Ends the sessions that had processes and have none left. Those that ended before may have left something
    /// behind that can go now.
    pub fn sweep_deserted(&mut self) {
        self.is_unsettled |= !self.lingering.is_empty();
        let deserted: Vec<Session> = self
            .live
            .values()
            .filter(|session| {
                session.tagged && self.enforcer.tasks_of(session.slot()).is_ok_and(|n| n == 0)
            })
            .cloned()
            .collect();
        for session in deserted {
            if let Err(error) = self.finish(session, "its last process ended", &Actor::daemon()) {
                tracing::error!("{error}");
            }
        }
    }
}
