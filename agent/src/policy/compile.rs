//! From a checked policy to the kernel's tables, and what those tables say of an object.
//!
//! [`Compiled`] owns the shared tables, the paths that wait for a session's variables, and each live
//! session's own rules. It answers questions by walking the very tables that the kernel gets.

mod automaton;
mod error;
mod explain;
mod mixer;
mod names;
mod network;
mod trie;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use agent_common::{
    access::Rights,
    authority::ToolSet,
    id::{LabelId, Slot},
    limits::PATH_RULES,
    rule::{SESSION_ROOT, SHARED_ROOT},
};

use self::{
    automaton::Automaton,
    mixer::{Effect, MixId, Mixer},
    trie::Trie,
};
pub use self::{
    error::{InstantiateError, LimitError},
    explain::{EndpointExplanation, PathExplanation, RuleOwner, RuleRef},
};
use super::{
    model::{NetworkRule, Place, Policy},
    pattern::{Expanded, PathPattern},
    tables::{Rules, Tables},
    tools::ToolBits,
    value::Problem,
};

/// What Remit itself says of paths, whatever the policy says. The patterns have no variables.
#[derive(Clone, Debug, Default)]
pub struct Builtin {
    /// Rights that no session has: on Remit's own state, pins and configuration.
    pub deny: Vec<(String, Rights)>,
    /// Rights that every session has without a tool, in spite of `deny` (but not of the policy's own
    /// denials): Remit's control socket.
    pub always: Vec<(String, Rights)>,
}

/// A path and what is said of it.
#[derive(Clone)]
struct PathRule {
    path: PathPattern,
    owner: RuleOwner,
    rights: Rights,
    effect: Effect,
}

/// Endpoints and whose they are.
#[derive(Clone)]
struct Endpoint {
    tool: String,
    rule: NetworkRule,
}

/// A live session's own rules.
#[derive(Clone)]
struct Own {
    rules: Rules,
    variables: BTreeMap<String, String>,
}

/// A compiled policy.
#[derive(Clone)]
pub struct Compiled {
    /// Paths without variables.
    shared: Vec<PathRule>,
    /// Paths with variables.
    templates: Vec<PathRule>,
    endpoints: Vec<Endpoint>,
    mixer: Mixer,
    /// The shared tables, without labels.
    tables: Tables,
    /// Labels that the shared tables need.
    shared_labels: usize,
    /// The next free node number. Never goes back: a number means one node as long as this lives.
    next: u32,
    sessions: BTreeMap<Slot, Own>,
}

impl Compiled {
    /// Compiles a policy.
    ///
    /// # Errors
    /// The policy does not fit into the kernel's tables, a tool has no bit, or a pattern of `builtin`
    /// is none.
    pub fn new(policy: &Policy, bits: &ToolBits, builtin: &Builtin) -> Result<Self, LimitError> {
        let tools = policy.tools.len();
        if tools > agent_common::limits::TOOLS {
            return Err(LimitError::Tools { named: tools });
        }
        let mut rules = path_rules(policy, bits)?;
        if rules.len() > PATH_RULES {
            return Err(LimitError::PathRules { named: rules.len() });
        }
        builtin_rules(builtin, &mut rules)?;
        let (templates, shared) = rules.into_iter().partition(|rule| rule.path.has_variables());
        let mut compiled = Self {
            shared,
            templates,
            endpoints: Vec::new(),
            mixer: Mixer::new(),
            tables: Tables::default(),
            shared_labels: 0,
            next: SHARED_ROOT + 1,
            sessions: BTreeMap::new(),
        };
        compiled.compile_shared()?;
        compiled.compile_network(policy, bits)?;
        let with = policy.tools.iter().filter(|(_, tool)| tool.setid);
        compiled.tables.set_id = with.filter_map(|(name, _)| bits.bit(name)).collect();
        compiled.shared_labels = compiled.mixer.len();
        Ok(compiled)
    }

    fn compile_shared(&mut self) -> Result<(), LimitError> {
        let none = BTreeMap::new();
        let mut patterns = Vec::with_capacity(self.shared.len());
        for rule in &self.shared {
            // Without variables nothing can fail.
            if let Ok(Some(expanded)) = rule.path.expand(&none) {
                patterns.push((expanded, self.mixer.of(rule.effect)));
            }
        }
        let trie = Trie::new(patterns, &mut self.mixer);
        self.tables.rules =
            Automaton::compile(&trie, &mut self.mixer, &mut self.next, SHARED_ROOT, (0, 0))?;
        Ok(())
    }

    fn compile_network(&mut self, policy: &Policy, bits: &ToolBits) -> Result<(), LimitError> {
        let mut rules = Vec::new();
        for (name, tool) in &policy.tools {
            let bit = bits.bit(name).ok_or_else(|| LimitError::NoBit { tool: name.clone() })?;
            rules.extend(tool.network.iter().map(|rule| (bit, rule)));
            let endpoint = |rule: &NetworkRule| Endpoint { tool: name.clone(), rule: rule.clone() };
            self.endpoints.extend(tool.network.iter().map(endpoint));
        }
        (self.tables.addresses, self.tables.ports) =
            network::compile(rules.into_iter(), &mut self.mixer)?;
        Ok(())
    }

    /// Makes a session's own rules: every path with variables of a tool, a denial or data, its
    /// variables filled in. A path whose variables are not all given is left out; whether that may be
    /// is said by the profile's `variables`. A slot that had rules loses them.
    ///
    /// `labels` of the result are those that its edges name and the shared tables don't have; writing
    /// one that another session brought already changes nothing.
    ///
    /// # Errors
    /// A value can't stand where a path puts it, or the tables are full; nothing was changed.
    pub fn instantiate(
        &mut self,
        slot: Slot,
        variables: &BTreeMap<String, String>,
    ) -> Result<Rules, InstantiateError> {
        for name in variables.keys() {
            if !super::pattern::is_variable_name(name) {
                return Err(InstantiateError::Name { name: name.clone() });
            }
        }
        let mut patterns: Vec<(Expanded<'_>, MixId)> = Vec::with_capacity(self.templates.len());
        for rule in &self.templates {
            if let Some(expanded) = rule.path.expand(variables)? {
                patterns.push((expanded, self.mixer.of(rule.effect)));
            }
        }
        let trie = Trie::new(patterns, &mut self.mixer);
        let mut rules = Rules::default();
        if !trie.is_empty() {
            let root = SESSION_ROOT.saturating_add(slot.0);
            let used = used(&self.tables.rules, self.sessions.iter(), slot);
            rules = Automaton::compile(&trie, &mut self.mixer, &mut self.next, root, used)?;
        }
        let named: BTreeSet<LabelId> = rules
            .edges
            .iter()
            .flat_map(|(_, edge)| [edge.here, edge.below])
            .filter(|label| label.0 as usize >= self.shared_labels)
            .collect();
        rules.labels = named.into_iter().map(|label| (label, self.mixer.label(label))).collect();
        let own = Own { rules: rules.clone(), variables: variables.clone() };
        self.sessions.insert(slot, own);
        Ok(rules)
    }

    /// Forgets a session's own rules.
    pub fn remove(&mut self, slot: Slot) {
        self.sessions.remove(&slot);
    }

    /// The tools with which set-id programs keep their privilege.
    pub fn set_id(&self) -> ToolSet {
        self.tables.set_id
    }

    /// Whole tables: the shared ones, the rules of these sessions, and every label.
    pub fn tables(&self, live: &[&Rules]) -> Tables {
        let mut tables = self.tables.clone();
        for rules in live {
            tables.rules.edges.extend_from_slice(&rules.edges);
            tables.rules.affixes.extend_from_slice(&rules.affixes);
        }
        tables.rules.labels = self.mixer.labels().collect();
        tables
    }
}

/// Edges and affixes in use, without those of a slot.
fn used<'s>(
    shared: &Rules,
    sessions: impl Iterator<Item = (&'s Slot, &'s Own)>,
    but: Slot,
) -> (usize, usize) {
    let start = (shared.edges.len(), shared.affixes.len());
    sessions.filter(|(slot, _)| **slot != but).fold(start, |(edges, affixes), (_, own)| {
        (edges + own.rules.edges.len(), affixes + own.rules.affixes.len())
    })
}

/// Every path that a policy names.
fn path_rules(policy: &Policy, bits: &ToolBits) -> Result<Vec<PathRule>, LimitError> {
    let mut rules = Vec::new();
    for (name, tool) in &policy.tools {
        let bit = bits.bit(name).ok_or_else(|| LimitError::NoBit { tool: name.clone() })?;
        for (path, rights) in
            tool.files.iter().flat_map(|file| file.paths.iter().map(|path| (path, file.access)))
        {
            let (path, owner) = (path.clone(), RuleOwner::Tool(name.clone()));
            rules.push(PathRule { path, owner, rights, effect: Effect::Grant(bit, rights) });
        }
    }
    for denial in &policy.denials {
        for path in &denial.paths {
            let (path, rights) = (path.clone(), denial.access);
            let effect = Effect::Deny(rights);
            rules.push(PathRule { path, owner: RuleOwner::Deny, rights, effect });
        }
    }
    for data in &policy.data {
        let bit = policy.sensitivities.iter().position(|name| *name == data.sensitivity);
        let effect = Effect::Sensitive(bit.map_or(u32::MAX, |bit| bit as u32));
        for path in &data.paths {
            let path = path.clone();
            rules.push(PathRule { path, owner: RuleOwner::Data, rights: Rights::NONE, effect });
        }
    }
    Ok(rules)
}

/// Remit's own paths.
fn builtin_rules(builtin: &Builtin, rules: &mut Vec<PathRule>) -> Result<(), LimitError> {
    let place = Place { file: std::sync::Arc::default(), line: 0, column: 0 };
    let deny = builtin.deny.iter().map(|(path, rights)| (path, *rights, Effect::Guard(*rights)));
    let always =
        builtin.always.iter().map(|(path, rights)| (path, *rights, Effect::Always(*rights)));
    for (text, rights, effect) in deny.chain(always) {
        let wrong = |Problem { message, .. }| LimitError::Builtin { problem: message };
        let path = PathPattern::parse(text, place.clone()).map_err(wrong)?;
        if path.has_variables() {
            return Err(LimitError::Builtin { problem: format!("`{text}` has variables") });
        }
        rules.push(PathRule { path, owner: RuleOwner::Builtin, rights, effect });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
