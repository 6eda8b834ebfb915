//! The registry: every session, the tools that it holds, and the policy in force. The only writer of sessions, in the
//! kernel and in the state directory.

mod adopt;
mod canary;
mod change;
mod explain;
mod install;
mod saving;
mod start;
mod sweep;
mod unsaved;
mod watch;
mod watching;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::BorrowedFd,
    path::Path,
    sync::Arc,
    time::Duration,
};

use agent_common::{
    authority::ToolSet,
    id::{BootNanos, Generation, Slot},
};
use tokio::sync::Notify;

pub use explain::{Object, Verdict, refine};
pub use install::Installed;
pub use start::Start;
use unsaved::{Unsaved, unwritable};
use watch::Watch;

use super::{
    Error, Id, Session,
    acts::{Act, ActLog, Control},
    clock::Clock,
    entry::entry,
    model::{Ending, Grant, Lost},
    private::PrivateFolders,
    store::{Numbers, Store},
};
use crate::{
    bpf::{Enforcer, KernelError},
    groups::Groups,
    policy::{
        Policy, Profile,
        compile::{Builtin, Compiled},
        diagnostic::nearest,
        tables::Rules,
        tools::ToolBits,
    },
    troubles::{Trouble, Troubles},
};

/// A policy that allows nothing, in force before there is another.
pub fn empty() -> Policy {
    Policy {
        tools: BTreeMap::new(),
        profiles: BTreeMap::new(),
        denials: Vec::new(),
        data: Vec::new(),
        conflicts: Vec::new(),
        sensitivities: Vec::new(),
        warnings: Vec::new(),
        digest: String::new(),
    }
}

/// How many ended sessions are remembered, in memory and in the state directory: the newest.
const REMEMBERED: usize = 1024;

/// The parts that a registry is made of.
pub struct Parts {
    /// The kernel.
    pub enforcer: Box<dyn Enforcer>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// The log of control acts.
    pub act_log: Box<dyn ActLog>,
    /// Rules that hold besides those of every policy.
    pub builtin: Builtin,
    /// How long the kernel programs stay attached without a session; `None` for ever.
    pub detach_after: Option<Duration>,
    /// The list of what the daemon can't do at the moment.
    pub troubles: Arc<Troubles>,
    /// Where sessions' own folders are made.
    pub private: Arc<PrivateFolders>,
}

/// All sessions, and the policy in force.
pub struct Registry {
    enforcer: Box<dyn Enforcer>,
    clock: Arc<dyn Clock>,
    act_log: Box<dyn ActLog>,
    builtin: Builtin,
    store: Store,
    policy: Arc<Policy>,
    compiled: Compiled,
    bits: ToolBits,
    generation: Generation,
    live: BTreeMap<Id, Session>,
    rules: HashMap<Slot, Rules>,
    ended: BTreeMap<Id, Session>,
    /// Ended sessions that may have processes left.
    lingering: Vec<(Id, Slot)>,
    /// What sessions lost since [`super::losses::settle`] dealt with it.
    lost: Vec<Lost>,
    /// Whether a session lost authority since connections were reset last.
    has_shrunk: bool,
    /// Whether something changed since the last [`Self::settle`].
    is_unsettled: bool,
    /// Which operations the kernel watches.
    watch: Watch,
    /// Notified when a session was written, so that the next expiry may be another.
    changed: Arc<Notify>,
    /// The sessions' control groups.
    groups: Groups,
    /// What the daemon can't do at the moment.
    troubles: Arc<Troubles>,
    /// The files that could not be written.
    unsaved: Unsaved,
    /// Where sessions' own folders are made.
    private: Arc<PrivateFolders>,
}

impl Registry {
    /// Takes over the sessions of the state directory and the kernel, and puts a policy in force.
    ///
    /// # Errors
    /// The state directory can't be used, the policy does not fit, or the kernel refused.
    pub fn open(parts: Parts, state_dir: &Path, policy: Policy) -> Result<Self, Error> {
        let mut registry = Self::take_over(parts, state_dir)?;
        registry.install(policy, Act::DaemonStart, &super::Actor::daemon())?;
        registry.settle();
        Ok(registry)
    }

    /// Takes over the sessions of the state directory and the kernel. The kernel keeps the policy that it has; no
    /// session may be started before this registry has installed one. A state directory that can't be written is a
    /// trouble, and not an error.
    ///
    /// # Errors
    /// The state directory can't be read, or the kernel refused.
    pub fn take_over(parts: Parts, state_dir: &Path) -> Result<Self, Error> {
        let store = Store::open(state_dir).unwrap_or_else(|error| {
            parts.troubles.begin(Trouble::State, unwritable(&error));
            Store::as_is(state_dir)
        });
        let numbers = store.numbers().unwrap_or_else(|error| {
            tracing::error!("{error}; tools get new numbers, grants of before are dropped");
            None
        });
        let Numbers { generation, tools: bits } = numbers.unwrap_or_default();
        let Parts { enforcer, clock, act_log, builtin, detach_after, troubles, private } = parts;
        // The generation in force must not be given to other tables, and the file may be older than the kernel's state.
        let generation = generation.max(enforcer.generation()?.0);
        let empty = empty();
        let compiled = Compiled::new(&empty, &ToolBits::default(), &builtin)
            .map_err(|error| Error::Compile(error.to_string()))?;
        let mut registry = Self {
            enforcer,
            clock,
            act_log,
            builtin,
            store,
            policy: Arc::new(empty),
            compiled,
            bits,
            generation: Generation(generation),
            live: BTreeMap::new(),
            rules: HashMap::new(),
            ended: BTreeMap::new(),
            lingering: Vec::new(),
            lost: Vec::new(),
            is_unsettled: false,
            watch: Watch::new(detach_after),
            has_shrunk: false,
            changed: Arc::default(),
            groups: Groups::none("the daemon has not looked yet"),
            troubles,
            unsaved: Unsaved::default(),
            private,
        };
        registry.adopt()?;
        Ok(registry)
    }

    /// Gives new sessions control groups from here on.
    pub fn use_groups(&mut self, groups: Groups) {
        self.groups = groups;
        self.tidy_groups();
    }

    /// The sessions' control groups.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Removes the control groups of sessions that have ended and have no process left.
    fn tidy_groups(&self) {
        let is_live = |id: &str| id.parse().is_ok_and(|id: Id| self.live.contains_key(&id));
        self.groups.tidy(is_live);
    }

    /// Where sessions' own folders are made.
    pub fn private(&self) -> &Arc<PrivateFolders> {
        &self.private
    }

    /// The policy in force.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// The policy in force, compiled.
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// The bits of the tools.
    pub fn bits(&self) -> &ToolBits {
        &self.bits
    }

    /// The number of the policy in force.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The rules that hold besides those of every policy.
    pub fn builtin(&self) -> &Builtin {
        &self.builtin
    }

    /// The kernel, for questions.
    pub fn enforcer(&self) -> &dyn Enforcer {
        self.enforcer.as_ref()
    }

    /// Tells the kernel which socket is the control socket.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn note_control_socket(&mut self, socket: BorrowedFd<'_>) -> Result<(), KernelError> {
        self.enforcer.note_control_socket(socket)
    }

    /// The clocks.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// The live sessions, the oldest first.
    pub fn live(&self) -> impl Iterator<Item = &Session> {
        self.live.values()
    }

    /// The remembered sessions that ended, the oldest first.
    pub fn ended(&self) -> impl Iterator<Item = &Session> {
        self.ended.values()
    }

    /// The session of that id, live or remembered.
    pub fn by_id(&self, id: Id) -> Option<&Session> {
        self.live.get(&id).or_else(|| self.ended.get(&id))
    }

    /// The live session in that slot.
    pub fn by_slot(&self, slot: Slot) -> Option<&Session> {
        self.live.values().find(|session| session.slot() == slot)
    }

    /// The live session in that slot, or the last that had it.
    pub fn last_in(&self, slot: Slot) -> Option<&Session> {
        let ended = || self.ended.values().rev().find(|session| session.slot() == slot);
        self.by_slot(slot).or_else(ended)
    }

    /// The session of that name or id: a live one, or else the one that ended last.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, word: &str) -> Result<&Session, Error> {
        self.find_among(word, |_| true).ok_or_else(|| Error::NoSession {
            name: word.to_owned(),
            nearest: nearest(word, self.live.values().map(|session| session.name.as_str()))
                .map(str::to_owned),
        })
    }

    /// The same, among some sessions.
    pub fn find_among(&self, word: &str, is_one: impl Fn(&Session) -> bool) -> Option<&Session> {
        let by_id = word.to_ascii_lowercase().parse().ok().and_then(|id| self.by_id(id));
        let named = |session: &&Session| session.name == word && is_one(session);
        by_id
            .filter(|session| is_one(session))
            .or_else(|| self.live.values().find(named))
            .or_else(|| self.ended.values().rev().find(named))
    }

    /// The live session of that name or id.
    ///
    /// # Errors
    /// There is none, or it has ended.
    pub fn find_live(&self, word: &str) -> Result<&Session, Error> {
        let session = self.find(word)?;
        if session.is_live() {
            Ok(session)
        } else {
            Err(Error::Ended { name: session.name.clone() })
        }
    }

    /// The profile of that name.
    ///
    /// # Errors
    /// The policy has none.
    pub fn profile(&self, name: &str) -> Result<&Profile, Error> {
        self.policy.profiles.get(name).ok_or_else(|| Error::NoProfile {
            name: name.to_owned(),
            nearest: nearest(name, self.policy.profiles.keys().map(String::as_str))
                .map(str::to_owned),
        })
    }

    /// How many live tasks a session has, by the kernel's count.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn tasks_of(&self, session: &Session) -> Result<u64, KernelError> {
        self.enforcer.tasks_of(session.slot())
    }

    /// Makes the forks of a slot's session fail for some time; zero ends that.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn hold_forks(&mut self, slot: Slot, time: Duration) -> Result<(), KernelError> {
        let until =
            if time.is_zero() { BootNanos(0) } else { self.clock.now().after(time).nanos() };
        self.enforcer.hold_forks(slot, until)
    }

    /// The bits of all tools that some live session holds.
    fn held(&self) -> ToolSet {
        self.live.values().flat_map(|session| &session.grants).map(Grant::tool_bit).collect()
    }

    /// Logs an act of control.
    pub fn log_act(&mut self, control: Control) {
        self.act_log.record(control);
    }

    /// Writes a session's entry into the kernel.
    fn write_kernel(&mut self, session: &Session) -> Result<(), KernelError> {
        self.is_unsettled = true;
        self.changed.notify_one();
        let (entry, expiries) = entry(session, |grant| self.is_kept(grant));
        self.enforcer.write_session(session.slot(), &entry, &expiries)
    }

    /// Puts a session with more authority than before in force: the file first, so that the kernel never allows what no
    /// file explains.
    fn grow(&mut self, session: Session) -> Result<&Session, Error> {
        self.may_grow()?;
        self.watch_for(&session)?;
        let written = self.store.write_session(&session);
        self.note_written(written)?;
        if let Err(error) = self.write_kernel(&session) {
            if let Some(before) = self.live.get(&session.id).cloned() {
                self.save(&before);
            }
            return Err(error.into());
        }
        Ok(self.remember(session))
    }

    /// Puts a session with less authority than before in force: the kernel first. It stays in force if the file can't
    /// be written: a grant that only the file has is dropped when it is read. It also stays if hooks for open files
    /// can't be attached: that is an error, returned after everything else was done.
    fn shrink(&mut self, session: Session) -> Result<&Session, Error> {
        self.has_shrunk = true;
        let watched = self.watch_for(&session);
        self.write_kernel(&session)?;
        self.save(&session);
        let session = self.remember(session);
        watched?;
        Ok(session)
    }

    fn remember(&mut self, session: Session) -> &Session {
        let id = session.id;
        if session.is_live() {
            self.live.entry(id).insert_entry(session).into_mut()
        } else {
            self.live.remove(&id);
            while self.ended.len() >= REMEMBERED {
                if let Some((oldest, _)) = self.ended.pop_first()
                    && let Err(error) = self.store.remove_session(oldest)
                {
                    tracing::warn!("{error}");
                }
            }
            self.ended.entry(id).insert_entry(session).into_mut()
        }
    }

    /// Ends a session: it has no authority from here on, and its own rules leave the tables.
    fn close(&mut self, mut session: Session, ending: Ending) -> Result<&Session, Error> {
        session.state = super::model::Condition::Ended;
        session.ended = Some(ending);
        let (slot, id) = (session.slot(), session.id);
        let shrunk = self.shrink(session.clone()).map(drop);
        self.thaw(id);
        self.remember_survivors(&session);
        self.note_ended(&session);
        shrunk?;
        if let Some(rules) = self.rules.remove(&slot) {
            self.compiled.remove(slot);
            if let Err(error) = self.enforcer.remove_rules(&rules) {
                tracing::error!("{error}; the rules of slot {} stay until the next reload", slot.0);
            }
        }
        let session = self.ended.get(&id).ok_or_else(|| Error::Ended { name: id.to_string() })?;
        Ok(session)
    }
}
