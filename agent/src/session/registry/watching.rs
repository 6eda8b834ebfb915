//! Which operations the kernel has to watch. Watching costs every process of the host. So nothing is watched while
//! there is no session, and uses of open files and sockets only while a session lost a tool, or may lose one by expiry,
//! that it may have something open by.
//!
//! Also what sessions lost, and what an ended session leaves behind until its last process exits.

use std::time::Duration;

use agent_common::{id::Slot, limits::SLOTS};

use super::Registry;
use crate::{
    bpf::{KernelError, Need},
    policy::{OnRevoke, Recall},
    session::{
        Id, Session,
        model::{Condition, Grant, Lost},
    },
};

impl Registry {
    /// Whether files and sockets that were opened by a tool stay usable after its loss (`recall = "opens"`).
    pub(super) fn is_kept(&self, grant: &Grant) -> bool {
        self.bits.bit(&grant.tool) == Some(grant.tool_bit())
            && self.policy.tools.get(&grant.tool).is_some_and(|tool| tool.recall == Recall::Opens)
    }

    /// Whether the loss of a grant kills the processes that used the tool (`on_revoke`).
    fn kills(&self, grant: &Grant) -> bool {
        let tool = self.policy.tools.get(&grant.tool);
        tool.is_some_and(|tool| tool.on_revoke != OnRevoke::Block)
    }

    /// What has to be watched for a session. Uses of open files and sockets too, if it may have something open by a
    /// tool that it lost or will lose by expiry, or if it matters which process uses what another opened.
    fn need_of(&self, session: &Session) -> Need {
        let uses = match session.state {
            Condition::Ended => return self.need_of_survivors(session.slot()),
            Condition::Quarantined => true,
            // Every session expires, and a tool that was lost stays lost.
            Condition::Active => {
                session.ever().any(|grant| !self.is_kept(grant) || self.kills(grant))
            }
        };
        if uses { Need::Uses } else { Need::Acts }
    }

    /// What has to be watched for processes that outlive their session.
    fn need_of_survivors(&self, slot: Slot) -> Need {
        if self.enforcer.tasks_of(slot).is_ok_and(|tasks| tasks == 0) {
            Need::Nothing
        } else {
            Need::Uses
        }
    }

    /// Has the kernel watch what a session needs, before the session is written.
    pub(super) fn watch_for(&mut self, session: &Session) -> Result<(), KernelError> {
        let need = self.need_of(session);
        self.watch_at_least(need)
    }

    /// Has the kernel watch what the canary tries, until [`Self::unwatch_canary`].
    pub(super) fn watch_canary(&mut self) -> Result<(), KernelError> {
        self.watch_at_least(Need::Acts)?;
        self.watch.canary = true;
        Ok(())
    }

    /// The canary needs no watching any more.
    pub(super) fn unwatch_canary(&mut self) {
        self.watch.canary = false;
        self.settle_watch();
        self.changed.notify_one();
    }

    fn watch_at_least(&mut self, need: Need) -> Result<(), KernelError> {
        self.watch.idle_since = None;
        if self.watch.attached < Some(need) {
            self.watch(need)?;
        }
        Ok(())
    }

    fn watch(&mut self, need: Need) -> Result<(), KernelError> {
        if let Err(error) = self.enforcer.attach(need) {
            // Some hooks may be attached that nobody needs.
            self.watch.attached = self.watch.attached.filter(|before| *before > Need::Nothing);
            return Err(error);
        }
        let before = self.watch.attached.replace(need);
        if before < Some(Need::Acts)
            && need >= Need::Acts
            && let Some(on_begin) = &self.watch.on_begin
        {
            on_begin();
        }
        Ok(())
    }

    /// Whether the kernel watches what sessions do.
    pub fn is_watching(&self) -> bool {
        self.watch.attached >= Some(Need::Acts)
    }

    /// Sets what is called when the kernel begins to watch what sessions do.
    pub fn on_watch(&mut self, call: Box<dyn Fn() + Send>) {
        self.watch.on_begin = Some(call);
    }

    /// How long until hooks that nobody needs are detached; `None` if there are none, or if they stay.
    pub(super) fn until_detached(&self) -> Option<Duration> {
        let since = self.watch.idle_since?;
        if self.watch.attached == Some(Need::Nothing) {
            return None;
        }
        let idle = Duration::from_nanos(self.clock.now().boot.saturating_sub(since));
        Some(self.watch.detach_after?.saturating_sub(idle))
    }

    /// Remembers what a session lost, for [`losses::settle`](crate::session::losses::settle).
    pub(super) fn note_lost(&mut self, session: Id, grants: &[Grant]) {
        let policy = &self.policy;
        self.lost.extend(grants.iter().filter_map(|grant| {
            let tool = policy.tools.get(&grant.tool)?;
            let on_revoke = tool.on_revoke;
            let has_files = !tool.files.is_empty();
            let (tool, bit) = (grant.tool.clone(), grant.tool_bit());
            has_files.then_some(Lost { session, tool, bit, on_revoke })
        }));
    }

    /// Remembers the tools of an ended session whose loss kills: it lost those too. (Mappings are not logged then: all
    /// that its processes run would be among them.)
    pub(super) fn note_ended(&mut self, session: &Session) {
        let killing: Vec<Grant> =
            session.grants.iter().filter(|grant| self.kills(grant)).cloned().collect();
        self.note_lost(session.id, &killing);
    }

    /// What sessions lost since the last call.
    pub fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    /// Resets the connections that sessions may not use any more, if a session lost something since the last call.
    pub fn reset_lost_connections(&mut self) {
        if std::mem::take(&mut self.has_shrunk)
            && let Err(error) = self.enforcer.reset_connections()
        {
            tracing::warn!("{error}; their sessions are refused them");
        }
    }

    /// Remembers an ended session, whose processes may live on.
    pub(super) fn remember_survivors(&mut self, session: &Session) {
        self.lingering.push((session.id, session.slot()));
    }

    /// Whether an ended session has processes left.
    pub fn has_survivors(&self, id: Id) -> bool {
        self.lingering.iter().any(|(of, slot)| *of == id && self.has_tasks_left(*slot))
    }

    /// Whether a slot that no live session has still has tasks. If it has another session by now, its count is of that
    /// one's.
    fn has_tasks_left(&self, slot: Slot) -> bool {
        self.by_slot(slot).is_none() && self.enforcer.tasks_of(slot).is_ok_and(|n| n > 0)
    }

    /// Whether something changed, so that [`Self::settle`] may find something to do.
    pub fn is_unsettled(&self) -> bool {
        self.is_unsettled
    }

    /// Removes what no session needs any more: records of the descriptors that ended sessions were given, control
    /// groups, attached hooks. Also writes what could not be written before.
    pub fn settle(&mut self) {
        self.is_unsettled = false;
        self.save_unsaved();
        let lingering = std::mem::take(&mut self.lingering);
        let (left, gone): (Vec<_>, Vec<_>) =
            lingering.into_iter().partition(|(_, slot)| self.has_tasks_left(*slot));
        self.lingering = left;
        // All by one call, since each call reads the whole table.
        let gone: Vec<_> = gone.into_iter().map(|(id, _)| id.0).collect();
        if !gone.is_empty()
            && let Err(error) = self.enforcer.forget_given(&gone)
        {
            tracing::warn!("{error}");
        }
        if !gone.is_empty() {
            self.tidy_groups();
        }
        self.settle_watch();
    }

    /// Has the kernel watch no more than is needed, once it has not been needed for a while.
    pub(super) fn settle_watch(&mut self) {
        let survivors = if self.lingering.is_empty() { Need::Nothing } else { Need::Uses };
        let canary = if self.watch.canary { Need::Acts } else { Need::Nothing };
        let live = self.live.values().map(|session| self.need_of(session)).max();
        let mut need = survivors.max(canary).max(live.unwrap_or(Need::Nothing));
        if need == Need::Nothing {
            self.watch.idle_since.get_or_insert(self.clock.now().boot);
            let is_due = self.until_detached().is_some_and(|left| left.is_zero());
            if !is_due {
                // Hooks that this daemon found attached stay for so long, too.
                let Some(attached) = self.watch.attached else { return };
                need = attached.min(Need::Acts);
            } else if self.has_tagged() {
                // The session of these tasks is unknown. They have to be refused everything all the same.
                self.watch.idle_since = Some(self.clock.now().boot);
                need = Need::Acts;
            }
        } else {
            self.watch.idle_since = None;
        }
        if self.watch.attached != Some(need)
            && let Err(error) = self.watch(need)
        {
            tracing::error!("{error}");
        }
    }

    /// Whether any task carries a tag, by the kernel's counts.
    fn has_tagged(&self) -> bool {
        (0..SLOTS as u32).map(Slot).any(|slot| self.need_of_survivors(slot) != Need::Nothing)
    }
}
