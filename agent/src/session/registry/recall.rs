//! What can be taken from open descriptors, and with that, whether the kernel has to look at each use of
//! them. Looking costs every process of the host, so it is done only while a session lost, or may lose by
//! its expiry, something that it may have open.

use super::Registry;
use crate::{
    bpf::KernelError,
    policy::Recall,
    session::{
        Id, Session,
        mappings::Lost,
        model::{Condition, Grant},
    },
};

impl Registry {
    /// Whether the loss of a grant leaves open what was opened with it.
    pub(super) fn is_kept(&self, grant: &Grant) -> bool {
        self.bits.bit(&grant.tool) == Some(grant.tool_bit())
            && self.policy.tools.get(&grant.tool).is_some_and(|tool| tool.recall == Recall::Opens)
    }

    /// Whether a session may have something open that it lost, or that its expiry would take.
    fn needs_recall(&self, session: &Session) -> bool {
        match session.state {
            Condition::Ended => self.tasks_of(session).is_ok_and(|tasks| tasks > 0),
            Condition::Quarantined => true,
            // Every session expires, and what was lost stays lost.
            Condition::Active => session.ever().any(|grant| !self.is_kept(grant)),
        }
    }

    /// Has the kernel look at each use of what is open, before a session is written for which it has to.
    pub(super) fn arm_for(&mut self, session: &Session) -> Result<(), KernelError> {
        if self.armed != Some(true) && self.needs_recall(session) {
            self.enforcer.recall(true)?;
            self.armed = Some(true);
        }
        Ok(())
    }

    /// Remembers what a session lost, for who looks at what it has mapped.
    pub(super) fn note_lost(&mut self, session: Id, grants: &[Grant]) {
        let policy = &self.policy;
        self.lost.extend(grants.iter().filter_map(|grant| {
            let tool = policy.tools.get(&grant.tool)?;
            let on_revoke = tool.on_revoke;
            let has_files = !tool.files.is_empty();
            has_files.then(|| Lost { session, tool: grant.tool.clone(), on_revoke })
        }));
    }

    /// What sessions lost since this was asked last.
    pub fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    /// Resets the connections that sessions may not use any more, if one lost something since this was asked last.
    pub fn reset_lost_connections(&mut self) {
        if std::mem::take(&mut self.has_shrunk)
            && let Err(error) = self.enforcer.reset_connections()
        {
            tracing::warn!("{error}; their sessions are refused them");
        }
    }

    /// Remembers an ended session whose processes may live on.
    pub(super) fn linger(&mut self, session: &Session) {
        self.lingering.push((session.id, session.slot()));
    }

    /// Lets go of what no session needs any more: what ended sessions were given, and the look at each use.
    pub(super) fn settle(&mut self) {
        let lingering = std::mem::take(&mut self.lingering);
        let (left, gone): (Vec<_>, Vec<_>) = lingering.into_iter().partition(|(_, slot)| {
            // A slot that another session has counts that one's processes.
            self.by_slot(*slot).is_none() && self.enforcer.tasks_of(*slot).is_ok_and(|n| n > 0)
        });
        self.lingering = left;
        // All at once: the kernel's table is gone through for it.
        let gone: Vec<_> = gone.into_iter().map(|(id, _)| id.0).collect();
        if !gone.is_empty()
            && let Err(error) = self.enforcer.forget_given(&gone)
        {
            tracing::warn!("{error}");
        }
        let needed = !self.lingering.is_empty()
            || self.live.values().any(|session| self.needs_recall(session));
        if self.armed != Some(needed) {
            match self.enforcer.recall(needed) {
                Ok(()) => self.armed = Some(needed),
                Err(error) => tracing::error!("{error}"),
            }
        }
    }
}
