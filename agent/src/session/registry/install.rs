//! Putting a policy in force, together with every live session's own rules.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use agent_common::{
    authority::ToolSet,
    id::{Generation, Slot},
};

use super::{Error, Registry, change::names};
use crate::{
    policy::{
        Policy,
        compile::Compiled,
        tables::{Rules, Tables},
        tools::ToolBits,
    },
    session::{
        Actor, Id, Session,
        acts::{Act, Control},
        model::{Grant, Loss},
        store::Numbers,
    },
    troubles::Trouble,
};

/// What an installed policy changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// The number of the policy.
    pub generation: u32,
    /// New tools.
    pub added: Vec<String>,
    /// Tools that the policy no longer has.
    pub dropped: Vec<String>,
    /// Live sessions that lost tools, with those tools.
    pub lost: Vec<(String, Vec<String>)>,
}

/// A policy that is ready to be put in force.
struct Ready {
    bits: ToolBits,
    compiled: Compiled,
    rules: HashMap<Slot, Rules>,
    tables: Tables,
    /// The sessions that lose tools, as they will be, with the grants that they lose.
    losers: Vec<(Session, Vec<Grant>)>,
    report: Installed,
}

impl Registry {
    /// Returns what a policy would change, and changes nothing.
    ///
    /// # Errors
    /// The policy does not fit.
    pub fn try_install(&self, policy: &Policy, by: &Actor) -> Result<Installed, Error> {
        self.ready(policy, by).map(|ready| ready.report)
    }

    /// Puts a policy in force. Every session keeps its tools, except those that the policy no longer has.
    ///
    /// # Errors
    /// The policy does not fit, or the kernel refused it: the policy before stays in force.
    pub fn install(&mut self, policy: Policy, act: Act, by: &Actor) -> Result<Installed, Error> {
        let is_start = matches!(act, Act::DaemonStart);
        if !is_start {
            self.may_grow()?;
        }
        let Ready { bits, compiled, rules, tables, losers, report } = self.ready(&policy, by)?;
        self.write_numbers(report.generation, &bits, is_start)?;
        // Sessions lose the tools that the policy no longer has before the new tables are in force: the new tables give
        // those bits no meaning, and later tables may give them to other tools.
        for (index, (session, _)) in losers.iter().enumerate() {
            let written = self.watch_for(session).and_then(|()| self.write_kernel(session));
            if let Err(error) = written {
                self.restore(losers.get(..=index).unwrap_or_default());
                return Err(error.into());
            }
        }
        let generation = Generation(report.generation);
        if let Err(error) = self.enforcer.activate(generation, &tables) {
            self.restore(&losers);
            return Err(error.into());
        }
        for (session, gone) in &losers {
            self.note_lost(session.id, gone);
        }
        self.has_shrunk |= !losers.is_empty();
        self.generation = generation;
        self.bits = bits;
        self.compiled = compiled;
        self.rules = rules;
        self.policy = Arc::new(policy);
        let mut control = Control::new(act, by);
        control.generation = Some(report.generation);
        control.digest = Some(self.policy.digest.clone());
        self.log_act(control);
        for (session, gone) in losers {
            let mut control = Control::of(Act::Drop, &session, by);
            control.tools = names(&gone);
            self.save(&session);
            self.live.insert(session.id, session);
            self.log_act(control);
        }
        self.rewrite_live();
        if !is_start {
            self.troubles.end(Trouble::Policy);
        }
        self.is_unsettled = true;
        self.changed.notify_one();
        Ok(report)
    }

    /// Writes the generation and the tools' bits. At the daemon's start a failure is no error if the file has the same
    /// bits already, since the kernel knows the generation.
    fn write_numbers(
        &mut self,
        generation: u32,
        bits: &ToolBits,
        is_start: bool,
    ) -> Result<(), Error> {
        let written = self.store.write_numbers(&Numbers { generation, tools: bits.clone() });
        let written = self.note_written(written);
        self.unsaved.numbers = written.is_err();
        if is_start && bits.iter().all(|(name, bit)| self.bits.bit(name) == Some(bit)) {
            return Ok(());
        }
        written
    }

    /// Writes the live sessions again: the new policy may have other values of `recall`.
    fn rewrite_live(&mut self) {
        let sessions: Vec<Session> = self.live.values().cloned().collect();
        for session in sessions {
            let written = self.watch_for(&session).and_then(|()| self.write_kernel(&session));
            if let Err(error) = written {
                tracing::error!(session = %session.name, "{error}");
            }
        }
    }

    /// Undoes a failed installation: sessions get their tools back, and the file its old numbers.
    fn restore(&mut self, losers: &[(Session, Vec<Grant>)]) {
        let numbers = Numbers { generation: self.generation.0, tools: self.bits.clone() };
        let written = self.store.write_numbers(&numbers);
        if let Err(error) = self.note_written(written) {
            tracing::error!(
                "{error}; after a restart, grants of tools that the new policy lacks go"
            );
        }
        let ids: Vec<Id> = losers.iter().map(|(session, _)| session.id).collect();
        for id in ids {
            let Some(session) = self.live.get(&id).cloned() else { continue };
            if let Err(error) = self.write_kernel(&session) {
                tracing::error!(session = %session.name, "{error}; it has less than its file says");
            }
        }
    }

    /// Compiles a policy, and finds what it would change.
    fn ready(&self, policy: &Policy, by: &Actor) -> Result<Ready, Error> {
        let unfit = |error: &dyn std::fmt::Display| Error::Compile(error.to_string());
        let mut bits = self.bits.clone();
        bits.assign(policy.tools.keys(), &self.held()).map_err(|error| unfit(&error))?;
        let mut compiled =
            Compiled::new(policy, &bits, &self.builtin).map_err(|error| unfit(&error))?;
        let mut rules = HashMap::new();
        for session in self.live.values() {
            let own = compiled.instantiate(session.slot(), &session.variables);
            let own = own
                .map_err(|error| Error::Compile(format!("session `{}`: {error}", session.name)))?;
            rules.insert(session.slot(), own);
        }
        let tables = compiled.tables(&rules.values().collect::<Vec<_>>());
        let losers = self.losers(&bits, by);
        let before: ToolBits = self.bits.clone();
        let fresh = |these: &ToolBits, those: &ToolBits| -> Vec<String> {
            let new = these.iter().filter(|(name, _)| those.bit(name).is_none());
            new.map(|(name, _)| name.to_owned()).collect()
        };
        let report = Installed {
            generation: self.generation.0.wrapping_add(1).max(1),
            added: fresh(&bits, &before),
            dropped: fresh(&before, &bits),
            lost: losers
                .iter()
                .map(|(session, gone)| (session.name.clone(), names(gone)))
                .collect(),
        };
        Ok(Ready { bits, compiled, rules, tables, losers, report })
    }

    /// The live sessions that lose a tool because it has no bit, or another one, from here on.
    fn losers(&self, bits: &ToolBits, by: &Actor) -> Vec<(Session, Vec<Grant>)> {
        let now = self.clock.now();
        let mut losers = Vec::new();
        for session in self.live.values() {
            let lost = |grant: &Grant| bits.bit(&grant.tool) != Some(grant.tool_bit());
            if session.grants.iter().any(lost) {
                let mut session = session.clone();
                let gone = session.lose(lost, Loss::Dropped, now, by);
                losers.push((session, gone));
            }
        }
        losers
    }

    /// How many sessions hold each tool.
    pub fn holders(&self) -> BTreeMap<&str, usize> {
        let mut holders = BTreeMap::new();
        for grant in self.live.values().flat_map(|session| &session.grants) {
            *holders.entry(grant.tool.as_str()).or_default() += 1;
        }
        holders
    }

    /// The bits that a set of names has.
    pub fn set<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> ToolSet {
        self.bits.set(names)
    }
}
