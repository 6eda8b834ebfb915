//! Compiles a checked policy into the kernel's tables, and explains what those tables decide on an object.
//!
//! [`Compiled`] owns the shared tables, the paths with variables, and each live session's own rules. It answers
//! questions by walking the same tables that the kernel gets.

mod automaton;
mod error;
mod explain;
mod mixer;
mod names;
mod network;
mod trie;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::repeat,
    sync::Arc,
};

use agent_common::{
    access::Rights,
    authority::ToolSet,
    id::{LabelId, Slot, ToolBit},
    limits::PATH_RULES,
    rule::{SESSION_ROOT, SHARED_ROOT},
};

use self::{
    automaton::Automaton,
    mixer::{Effect, Mixer},
    trie::Trie,
};
pub use self::{
    error::InstantiateError,
    explain::{EndpointExplanation, PathExplanation, RuleOwner, RuleRef},
};
use super::{
    limit::LimitError,
    model::{NetworkRule, OnRevoke, Policy},
    pattern::{ExpandError, Expanded, PathPattern},
    place::Place,
    tables::{Rules, Tables},
    tools::ToolBits,
    value::Problem,
};

/// Remit's own rules on paths, which hold besides those of every policy. The patterns have no variables.
#[derive(Clone, Debug, Default)]
pub struct Builtin {
    /// Paths and rights that no session has on them: Remit's own state, pins and configuration.
    pub deny: Vec<(String, Rights)>,
    /// Paths and rights that every session has on them without a tool, despite `deny` but not despite the policy's own
    /// denials: Remit's control socket.
    pub always: Vec<(String, Rights)>,
}

/// The paths of one rule, and its effect, which includes the owner and the rights.
#[derive(Clone)]
struct PathRules {
    paths: Arc<[PathPattern]>,
    effect: Effect,
}

/// A tool's endpoints.
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
    /// All path rules of the policy.
    rules: Vec<PathRules>,
    /// The patterns with variables.
    templates: Vec<(PathPattern, Effect)>,
    /// The tools' names, by bit.
    tools: BTreeMap<ToolBit, String>,
    endpoints: Vec<Endpoint>,
    mixer: Mixer,
    /// The shared tables, without labels.
    tables: Tables,
    /// Labels that the shared tables need.
    shared_labels: usize,
    /// The next free node number. Numbers are never used again.
    next: u32,
    sessions: BTreeMap<Slot, Own>,
}

impl Compiled {
    /// Compiles a policy.
    ///
    /// # Errors
    /// The policy does not fit into the kernel's tables, a tool has no bit, or a pattern of `builtin` is invalid.
    pub fn new(policy: &Policy, bits: &ToolBits, builtin: &Builtin) -> Result<Self, LimitError> {
        let tools = policy.tools.len();
        if tools > agent_common::limits::TOOLS {
            return Err(LimitError::Tools { named: tools });
        }
        let mut compiled = Self {
            rules: Vec::new(),
            templates: Vec::new(),
            tools: BTreeMap::new(),
            endpoints: Vec::new(),
            mixer: Mixer::new(),
            tables: Tables::default(),
            shared_labels: 0,
            next: SHARED_ROOT + 1,
            sessions: BTreeMap::new(),
        };
        compiled.path_rules(policy, bits)?;
        compiled.builtin_rules(builtin)?;
        compiled.compile_shared()?;
        compiled.compile_network(policy, bits)?;
        let with = policy.tools.iter().filter(|(_, tool)| tool.setid);
        compiled.tables.set_id = with.filter_map(|(name, _)| bits.bit(name)).collect();
        let kill_tools = policy.tools.iter().filter(|(_, tool)| tool.on_revoke != OnRevoke::Block);
        compiled.tables.kill_tools = kill_tools.filter_map(|(name, _)| bits.bit(name)).collect();
        compiled.shared_labels = compiled.mixer.len();
        Ok(compiled)
    }

    /// Adds the path rules of a policy.
    fn path_rules(&mut self, policy: &Policy, bits: &ToolBits) -> Result<(), LimitError> {
        for (name, tool) in &policy.tools {
            let bit = bits.bit(name).ok_or_else(|| LimitError::NoBit { tool: name.clone() })?;
            self.tools.insert(bit, name.clone());
            for file in &tool.files {
                self.add_rule(&file.paths, Effect::Grant(bit, file.access));
            }
        }
        for denial in &policy.denials {
            self.add_rule(&denial.paths, Effect::Deny(denial.access));
        }
        for data in &policy.data {
            let bit = policy.sensitivities.iter().position(|name| *name == data.sensitivity);
            self.add_rule(&data.paths, Effect::Sensitive(bit.map_or(u32::MAX, |bit| bit as u32)));
        }
        match self.rules.iter().map(|rule| rule.paths.len()).sum() {
            named if named > PATH_RULES => Err(LimitError::PathRules { named }),
            _ => Ok(()),
        }
    }

    fn add_rule(&mut self, paths: &Arc<[PathPattern]>, effect: Effect) {
        let templates = paths.iter().filter(|path| path.has_variables());
        self.templates.extend(templates.map(|path| (path.clone(), effect)));
        self.rules.push(PathRules { paths: paths.clone(), effect });
    }

    /// Adds Remit's own path rules.
    fn builtin_rules(&mut self, builtin: &Builtin) -> Result<(), LimitError> {
        let place = Place { file: Arc::default(), line: 0, column: 0 };
        let deny = builtin.deny.iter().map(|(path, rights)| (path, Effect::Guard(*rights)));
        let always = builtin.always.iter().map(|(path, rights)| (path, Effect::Always(*rights)));
        for (text, effect) in deny.chain(always) {
            let wrong = |Problem { message, .. }| LimitError::Builtin { problem: message };
            let path = PathPattern::parse(text, place.clone()).map_err(wrong)?;
            if path.has_variables() {
                return Err(LimitError::Builtin { problem: format!("`{text}` has variables") });
            }
            self.rules.push(PathRules { paths: [path].into(), effect });
        }
        Ok(())
    }

    fn compile_shared(&mut self) -> Result<(), LimitError> {
        // A pattern without variables can always be expanded.
        let paths =
            || self.rules.iter().flat_map(|rule| rule.paths.iter().zip(repeat(rule.effect)));
        let (count, none) = (paths().count(), BTreeMap::new());
        let trie = trie(paths(), count, &none, &mut self.mixer).unwrap_or_default();
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

    /// Makes a session's own rules: every path with variables, its variables filled in. A path with a variable that has
    /// no value is left out; which variables need one is in the profile's `variables`. The rules replace earlier ones
    /// of the slot.
    ///
    /// `labels` of the result are those that its edges refer to and that the shared tables lack. Another session may
    /// have added some of them already; writing them again changes nothing.
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
        let paths = self.templates.iter().map(|(path, effect)| (path, *effect));
        let trie = trie(paths, self.templates.len(), variables, &mut self.mixer)?;
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

    /// Whether some rule uses a variable.
    pub fn uses(&self, variable: &str) -> bool {
        // `{name?}` uses it too.
        let begin = format!("{{{variable}");
        let ends = |rest: &str| rest.starts_with(['}', '?']);
        self.templates.iter().any(|(path, _)| path.text().split(&begin).skip(1).any(ends))
    }

    /// Removes a session's own rules.
    pub fn remove(&mut self, slot: Slot) {
        self.sessions.remove(&slot);
    }

    /// The tools with which set-id programs keep their privilege.
    pub fn set_id(&self) -> ToolSet {
        self.tables.set_id
    }

    /// The whole tables: the shared ones, the rules of these sessions, and all labels.
    pub fn tables(&self, live: &[&Rules]) -> Tables {
        let mut tables = self.tables.clone();
        for rules in live {
            tables.rules.edges.extend_from_slice(&rules.edges);
            tables.rules.affixes.extend(&rules.affixes);
        }
        tables.rules.labels = self.mixer.labels().collect();
        tables
    }
}

/// How many edges and affixes are in use, without those of a slot.
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

/// The trie of some paths, with their variables filled in. A path with a variable that has no value is left out.
fn trie<'p>(
    paths: impl Iterator<Item = (&'p PathPattern, Effect)>,
    count: usize,
    variables: &'p BTreeMap<String, String>,
    mixer: &mut Mixer,
) -> Result<Trie, ExpandError> {
    let mut builder = trie::Builder::new(count);
    for (path, effect) in paths {
        let mix = mixer.of(effect);
        if let Some((components, below)) = path.plain_components() {
            builder.add(components, below, mix, mixer);
        } else if let Some(Expanded { components, below }) = path.expand(variables)? {
            builder.add(components.into_iter(), below, mix, mixer);
        }
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests;
