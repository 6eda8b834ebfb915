//! Taking over the sessions that were live before the daemon started.
//!
//! The kernel's entries are the truth on what each session holds. The files say what it is called and who granted what.
//! A grant that only a file has never came into force, or was revoked: it is dropped.

use agent_common::{
    authority::{self, Expiries, State},
    id::{BootNanos, Slot},
    limits::SESSIONS,
};

use super::{Error, Registry};
use crate::session::{
    Actor, Id, Session,
    acts::{Act, Control},
    clock::Moment,
    entry::until,
    model::{Condition, Ending, Grant, Loss, Origin},
};

impl Registry {
    /// Takes over the sessions of the files, compared with the kernel's entries.
    pub(super) fn adopt(&mut self) -> Result<(), Error> {
        let now = self.clock.now();
        for session in self.store.sessions()? {
            let (entry, expiries) = self.enforcer.read_session(session.slot())?;
            if !session.is_live() {
                if entry.id == session.id.0 {
                    self.lingering.push((session.id, session.slot()));
                }
                self.remember(session);
                continue;
            }
            if entry.id == session.id.0 && entry.state != State::Ended as u32 {
                let session = self.reconcile(session, &entry, &expiries, now);
                self.live.insert(session.id, session);
            } else {
                self.end_missing(session, now);
            }
        }
        let adopted: Vec<Session> = self.live.values().cloned().collect();
        for session in adopted {
            // Written back to the kernel and the file, so that both agree from here on.
            let mut control = Control::of(Act::Adopt, &session, &Actor::daemon());
            control.tools = session.grants.iter().map(|grant| grant.tool.clone()).collect();
            self.shrink(session)?;
            self.log_act(control);
        }
        self.end_unknown_entries()
    }

    /// A file's session, corrected by the kernel's entry.
    fn reconcile(
        &self,
        mut session: Session,
        entry: &authority::Session,
        expiries: &Expiries,
        now: Moment,
    ) -> Session {
        let expiry = |bit: u16| expiries.get(usize::from(bit)).copied().unwrap_or(BootNanos(0));
        let absent = |grant: &Grant| {
            let named = self.bits.bit(&grant.tool) == Some(grant.tool_bit());
            !named || !entry.tools.contains(grant.tool_bit())
        };
        let gone = session.lose(absent, Loss::Revoked, now, &Actor::daemon());
        for grant in gone {
            tracing::warn!(session = %session.name, tool = %grant.tool,
                "the file has a grant that the kernel does not have: dropped");
        }
        for grant in &mut session.grants {
            let kernel = expiry(grant.bit);
            if kernel != until(grant) {
                grant.until = (kernel != BootNanos::NEVER).then(|| now.at_boot(kernel));
            }
        }
        let unnamed = entry
            .tools
            .iter()
            .filter(|bit| !session.grants.iter().any(|grant| grant.tool_bit() == *bit));
        let found: Vec<Grant> = unnamed
            .filter_map(|bit| {
                let kernel = expiry(bit.0);
                Some(Grant {
                    tool: self.bits.name(bit)?.to_owned(),
                    bit: bit.0,
                    from: session.started,
                    until: (kernel != BootNanos::NEVER).then(|| now.at_boot(kernel)),
                    given_by: Actor::daemon(),
                    reason: Some("found in the kernel at the daemon's start".into()),
                    source: Origin::Grant,
                })
            })
            .filter(|grant| session.grant(&grant.tool).is_none())
            .collect();
        session.grants.extend(found);
        session.state = if entry.state == State::Active as u32 {
            Condition::Active
        } else {
            Condition::Quarantined
        };
        session.expires = if session.expires.boot == entry.expires.0 {
            session.expires
        } else {
            now.at_boot(entry.expires)
        };
        session
    }

    /// Ends a session of a file that the kernel has no entry of any more.
    fn end_missing(&mut self, mut session: Session, now: Moment) {
        let by = Actor::daemon();
        let reason = "the kernel does not know it any more";
        session.state = Condition::Ended;
        session.ended = Some(Ending { at: now, by: by.clone(), reason: reason.into() });
        let mut control = Control::of(Act::End, &session, &by);
        control.reason = Some(reason.into());
        self.save(&session);
        self.remember(session);
        self.log_act(control);
    }

    /// Ends the kernel's entries that no file has: nobody could name such a session, or revoke anything from it.
    fn end_unknown_entries(&mut self) -> Result<(), Error> {
        for slot in (0..SESSIONS as u32).map(Slot) {
            let (mut entry, expiries) = self.enforcer.read_session(slot)?;
            let known = self.live.values().any(|session| session.slot() == slot);
            if known || entry.state == State::Ended as u32 {
                continue;
            }
            tracing::error!(
                "slot {} has session {:016x}, of which no file tells: ended",
                slot.0,
                entry.id.0
            );
            entry.state = State::Ended as u32;
            self.enforcer.write_session(slot, &entry, &expiries)?;
            self.lingering.push((Id(entry.id), slot));
        }
        Ok(())
    }
}
