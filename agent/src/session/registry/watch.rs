//! What the kernel has to look at, and what can be taken from open descriptors. Looking costs every process of the
//! host: so nothing is looked at while there is no session, and uses of what is open only while a session lost, or
//! may lose by its expiry, something that it may have open.

use std::time::Duration;

use agent_common::{id::Slot, limits::SLOTS};

use super::Registry;
use crate::{
    bpf::{KernelError, Need},
    policy::{OnRevoke, Recall},
    session::{
        Id, Session,
        mappings::Lost,
        model::{Condition, Grant},
    },
};

/// What the kernel looks at, and since when it need not.
#[derive(Default)]
pub(super) struct Watch {
    /// What is attached; none before the first say.
    need: Option<Need>,
    /// Since when nobody needs anything, by the clock of expiries.
    idle: Option<u64>,
    /// Whether the canary runs.
    canary: bool,
    /// How long programs stay attached that nobody needs; none for ever.
    linger: Option<Duration>,
    /// Told when programs are attached of which none was.
    begun: Option<Box<dyn Fn() + Send>>,
}

impl Watch {
    pub(super) fn new(linger: Option<Duration>) -> Self {
        Self { linger, ..Self::default() }
    }
}

impl Registry {
    /// Whether the loss of a grant leaves open what was opened with it.
    pub(super) fn is_kept(&self, grant: &Grant) -> bool {
        self.bits.bit(&grant.tool) == Some(grant.tool_bit())
            && self.policy.tools.get(&grant.tool).is_some_and(|tool| tool.recall == Recall::Opens)
    }

    /// Whether the loss of a grant kills who used the tool.
    fn kills(&self, grant: &Grant) -> bool {
        let tool = self.policy.tools.get(&grant.tool);
        tool.is_some_and(|tool| tool.on_revoke != OnRevoke::Block)
    }

    /// What has to be looked at for a session: uses as well where it may have something open that it lost, or that
    /// its expiry would take; or where it matters who uses what others opened.
    fn need_of(&self, session: &Session) -> Need {
        let uses = match session.state {
            Condition::Ended => return self.need_of_rest(session.slot()),
            Condition::Quarantined => true,
            // Every session expires, and what was lost stays lost.
            Condition::Active => {
                session.ever().any(|grant| !self.is_kept(grant) || self.kills(grant))
            }
        };
        if uses { Need::Uses } else { Need::Acts }
    }

    /// What has to be looked at for the processes that a session left behind.
    fn need_of_rest(&self, slot: Slot) -> Need {
        if self.enforcer.tasks_of(slot).is_ok_and(|tasks| tasks == 0) {
            Need::Nothing
        } else {
            Need::Uses
        }
    }

    /// Has the kernel look at what a session takes, before it is written.
    pub(super) fn watch_for(&mut self, session: &Session) -> Result<(), KernelError> {
        let need = self.need_of(session);
        self.watch_at_least(need)
    }

    /// Has the kernel look at what the canary tries, until [`Self::unwatch_canary`].
    pub(super) fn watch_canary(&mut self) -> Result<(), KernelError> {
        self.watch_at_least(Need::Acts)?;
        self.watch.canary = true;
        Ok(())
    }

    /// What the canary took is not needed for it any more.
    pub(super) fn unwatch_canary(&mut self) {
        self.watch.canary = false;
        self.settle_watch();
        self.bell.notify_one();
    }

    fn watch_at_least(&mut self, need: Need) -> Result<(), KernelError> {
        self.watch.idle = None;
        if self.watch.need < Some(need) {
            self.watch(need)?;
        }
        Ok(())
    }

    fn watch(&mut self, need: Need) -> Result<(), KernelError> {
        if let Err(error) = self.enforcer.attach(need) {
            // Some may be attached of which nobody has need.
            self.watch.need = self.watch.need.filter(|before| *before > Need::Nothing);
            return Err(error);
        }
        let before = self.watch.need.replace(need);
        if before < Some(Need::Acts)
            && need >= Need::Acts
            && let Some(begun) = &self.watch.begun
        {
            begun();
        }
        Ok(())
    }

    /// Whether the kernel looks at what sessions do.
    pub fn is_watching(&self) -> bool {
        self.watch.need >= Some(Need::Acts)
    }

    /// Says whom to tell when the kernel begins to look at what sessions do.
    pub fn on_watch(&mut self, begun: Box<dyn Fn() + Send>) {
        self.watch.begun = Some(begun);
    }

    /// How long until programs are taken off that nobody needs; none where there are none, or where they stay.
    pub(super) fn until_unwatched(&self) -> Option<Duration> {
        let since = self.watch.idle?;
        if self.watch.need == Some(Need::Nothing) {
            return None;
        }
        let idle = Duration::from_nanos(self.clock.now().boot.saturating_sub(since));
        Some(self.watch.linger?.saturating_sub(idle))
    }

    /// Remembers what a session lost, for who looks at what is left of it.
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

    /// Remembers what kills who used it: a session that has ended lost that, too. (What its processes have mapped is
    /// not told then: it would be all that they run.)
    pub(super) fn note_ended(&mut self, session: &Session) {
        let deadly: Vec<Grant> =
            session.grants.iter().filter(|grant| self.kills(grant)).cloned().collect();
        self.note_lost(session.id, &deadly);
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

    /// Whether something changed, so that there may be something to let go of.
    pub fn is_unsettled(&self) -> bool {
        self.is_unsettled
    }

    /// Lets go of what no session needs any more: what ended sessions were given, and what is looked at for them.
    pub fn settle(&mut self) {
        self.is_unsettled = false;
        self.save_rest();
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
        if !gone.is_empty() {
            self.tidy_groups();
        }
        self.settle_watch();
    }

    /// Has the kernel look at no more than is needed, a while after it was.
    pub(super) fn settle_watch(&mut self) {
        let of_rest = if self.lingering.is_empty() { Need::Nothing } else { Need::Uses };
        let of_canary = if self.watch.canary { Need::Acts } else { Need::Nothing };
        let of_live = self.live.values().map(|session| self.need_of(session)).max();
        let mut need = of_rest.max(of_canary).max(of_live.unwrap_or(Need::Nothing));
        if need == Need::Nothing {
            self.watch.idle.get_or_insert(self.clock.now().boot);
            let is_due = self.until_unwatched().is_some_and(|left| left.is_zero());
            if !is_due {
                // What a start found attached stays for so long, too.
                let Some(attached) = self.watch.need else { return };
                need = attached.min(Need::Acts);
            } else if self.has_tagged() {
                // Nobody knows whose they are: they are refused everything all the same.
                self.watch.idle = Some(self.clock.now().boot);
                need = Need::Acts;
            }
        } else {
            self.watch.idle = None;
        }
        if self.watch.need != Some(need)
            && let Err(error) = self.watch(need)
        {
            tracing::error!("{error}");
        }
    }

    /// Whether any task carries a tag, as far as the kernel counted.
    fn has_tagged(&self) -> bool {
        (0..SLOTS as u32).map(Slot).any(|slot| self.need_of_rest(slot) != Need::Nothing)
    }
}
