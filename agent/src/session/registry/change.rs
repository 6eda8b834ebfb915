//! Changes to a running session: grants, revocations, its state, its end.

use std::time::Duration;

use agent_common::authority::ToolSet;

use super::{Error, Registry, start::is_text};
use crate::session::{
    Actor, Id, Session,
    acts::{Act, Control},
    clock::Moment,
    model::{Condition, Ending, Grant, Loss, Origin},
};

impl Registry {
    /// Grants a tool to a live session for some time, at most until the session's end. If it holds the tool already,
    /// the later end counts.
    ///
    /// # Errors
    /// The session has ended, there is no such tool, the session holds it until its end, or the
    /// kernel refused.
    pub fn grant(
        &mut self,
        session: &str,
        tool: &str,
        ttl: Duration,
        reason: Option<String>,
        by: &Actor,
    ) -> Result<&Session, Error> {
        let mut session = self.find_live(session)?.clone();
        let bit = self.bit(tool)?;
        if ttl.is_zero() {
            return Err(Error::ZeroTtl);
        }
        if reason.as_deref().is_some_and(|reason| !is_text(reason)) {
            return Err(Error::BadText { what: "reason", help: "at most 4,096 bytes, no NUL" });
        }
        let now = self.clock.now();
        let until = earlier(now.after(ttl), session.expires);
        let (from, until) = match session.grant(tool) {
            Some(Grant { until: None, .. }) => {
                return Err(Error::HeldAlready { session: session.name, tool: tool.to_owned() });
            }
            Some(Grant { from, until: Some(held), .. }) => (*from, later(*held, until)),
            None => (now, until),
        };
        session.grants.retain(|grant| grant.tool != tool);
        session.grants.push(Grant {
            tool: tool.to_owned(),
            bit,
            from,
            until: Some(until),
            given_by: by.clone(),
            reason: reason.clone(),
            source: Origin::Grant,
        });
        let mut control = Control::of(Act::Grant, &session, by);
        control.tools = vec![tool.to_owned()];
        control.until = Some(until.wall);
        control.reason = reason;
        let id = self.grow(session)?.id;
        self.log_act(control);
        self.known(id)
    }

    /// Revokes a tool, or all of them. In force when this returns.
    ///
    /// # Errors
    /// The session has ended, does not hold the tool, or the kernel refused.
    pub fn revoke(
        &mut self,
        session: &str,
        tool: Option<&str>,
        by: &Actor,
    ) -> Result<&Session, Error> {
        let mut session = self.find_live(session)?.clone();
        if let Some(tool) = tool
            && session.grant(tool).is_none()
        {
            self.bit(tool)?;
            return Err(Error::NotHeld { session: session.name, tool: tool.to_owned() });
        }
        let lost = |grant: &Grant| tool.is_none_or(|tool| grant.tool == tool);
        let gone = session.lose(lost, Loss::Revoked, self.clock.now(), by);
        let mut control = Control::of(Act::Revoke, &session, by);
        control.tools = names(&gone);
        self.note_lost(session.id, &gone);
        let id = self.shrink(session)?.id;
        self.log_act(control);
        self.known(id)
    }

    /// Quarantines a session: everything is refused until it is resumed.
    ///
    /// # Errors
    /// The session has ended or is quarantined already, or the kernel refused.
    pub fn quarantine(&mut self, session: &str, by: &Actor) -> Result<&Session, Error> {
        let mut session = self.find_live(session)?.clone();
        if session.state == Condition::Quarantined {
            return Err(Error::WrongState { name: session.name, state: "quarantined already" });
        }
        session.state = Condition::Quarantined;
        let control = Control::of(Act::Quarantine, &session, by);
        let id = self.shrink(session)?.id;
        self.log_act(control);
        self.known(id)
    }

    /// Freezes the processes of a quarantined session, until it is resumed or ends.
    ///
    /// # Errors
    /// It is not quarantined, has no control group, or the kernel refused.
    pub fn freeze(&mut self, session: &str, by: &Actor) -> Result<&Session, Error> {
        let session = self.find_live(session)?;
        let (id, name) = (session.id, session.name.clone());
        if session.state != Condition::Quarantined {
            return Err(Error::WrongState { name, state: "not quarantined" });
        }
        let mut control = Control::of(Act::Quarantine, session, by);
        control.reason = Some("its processes are frozen".into());
        match self.groups.freeze(&id.to_string(), true) {
            Ok(true) => {}
            Ok(false) => return Err(Error::Unfrozen { name, why: self.groups.describe() }),
            Err(error) => return Err(Error::Unfrozen { name, why: error.to_string() }),
        }
        self.log_act(control);
        self.known(id)
    }

    /// Thaws the processes of a session, which may be frozen. (A frozen process can't even be killed.)
    pub(super) fn thaw(&self, id: Id) {
        if let Err(error) = self.groups.freeze(&id.to_string(), false) {
            tracing::warn!("can't let the processes of session {id} go on: {error}");
        }
    }

    /// Resumes a quarantined session: it can use its tools again.
    ///
    /// # Errors
    /// The session has ended or is not quarantined, or the kernel refused.
    pub fn resume(&mut self, session: &str, by: &Actor) -> Result<&Session, Error> {
        let mut session = self.find_live(session)?.clone();
        if session.state != Condition::Quarantined {
            return Err(Error::WrongState { name: session.name, state: "not quarantined" });
        }
        session.state = Condition::Active;
        let control = Control::of(Act::Resume, &session, by);
        let id = self.grow(session)?.id;
        self.thaw(id);
        self.log_act(control);
        self.known(id)
    }

    /// Ends a session: whatever its processes try from here on is refused.
    ///
    /// # Errors
    /// The session has ended already, or the kernel refused.
    pub fn end(&mut self, session: &str, reason: &str, by: &Actor) -> Result<&Session, Error> {
        let session = self.find_live(session)?.clone();
        self.finish(session, reason, by)
    }

    /// Ends a session and logs it.
    pub(super) fn finish(
        &mut self,
        session: Session,
        reason: &str,
        by: &Actor,
    ) -> Result<&Session, Error> {
        let mut control = Control::of(Act::End, &session, by);
        control.reason = Some(reason.to_owned());
        let ending = Ending { at: self.clock.now(), by: by.clone(), reason: reason.to_owned() };
        let id = self.close(session, ending)?.id;
        self.log_act(control);
        self.known(id)
    }

    /// The tools that a live session holds, by bit.
    pub fn tools_of(session: &Session) -> ToolSet {
        session.grants.iter().map(Grant::tool_bit).collect()
    }

    fn known(&self, id: Id) -> Result<&Session, Error> {
        self.by_id(id).ok_or_else(|| Error::NoSession { name: id.to_string(), nearest: None })
    }
}

/// The names of the tools of some grants.
pub(super) fn names(grants: &[Grant]) -> Vec<String> {
    grants.iter().map(|grant| grant.tool.clone()).collect()
}

fn earlier(a: Moment, b: Moment) -> Moment {
    if b.boot < a.boot { b } else { a }
}

fn later(a: Moment, b: Moment) -> Moment {
    if b.boot > a.boot { b } else { a }
}
