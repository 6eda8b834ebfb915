//! What time does: grants and sessions that run out, sessions whose processes are gone.
//!
//! The kernel refuses by its own clock from the very moment; this only tidies up and tells the log.

use super::{Registry, change::names};
use crate::session::{
    Actor, Session,
    model::{Grant, Loss},
    witness::{Act, Control},
};

impl Registry {
    /// Takes out what has run out.
    pub fn sweep_expired(&mut self) {
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

    /// Ends the sessions that had processes and have none left, and forgets what is not needed any more.
    pub fn sweep_deserted(&mut self) {
        self.settle();
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
