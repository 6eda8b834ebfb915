//! Compiles a checked policy into the kernel's tables, and explains what those tables decide on an object.
//!
//! [`Compiled`] owns the shared tables, the paths with variables, and each live session's own rules. It answers
//! questions by walking the same tables that the kernel gets.

mod automaton;
mod blame;
mod error;
mod explain;
mod mixer;
mod names;
mod network;
mod state;
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
    blame::blame,
    mixer::{Effect, MixId, Mixer},
    trie::Trie,
};
pub use self::{
    error::InstantiateError,
    explain::{EndpointExplanation, PathExplanation, RuleOwner, RuleRef},
};
use super::{
    limit::LimitError,
    model::{NetworkRule, OnRevoke, Policy},
    pattern::{Component, ExpandError, Expanded, PathPattern},
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
    /// What a path adds to a sum.
    mix: MixId,
    except: Option<Box<Except>>,
}

/// Where a rule has no effect.
#[derive(Clone)]
struct Except {
    paths: Arc<[PathPattern]>,
    /// What a path adds to a sum.
    mix: MixId,
    /// Whether a path has variables: then all of the rule is among the sessions' own.
    is_own: bool,
    /// Variables without which the rule is left out: those of a tool's exceptions, or it would cover more.
    needed: BTreeSet<String>,
}

impl PathRules {
    /// Whether all of the rule is among the sessions' own.
    fn is_own(&self) -> bool {
        self.except.as_ref().is_some_and(|except| except.is_own)
    }

    /// Whether a session with these variables has the rule.
    fn is_for(&self, variables: &BTreeMap<String, String>) -> bool {
        let needed = self.except.iter().flat_map(|except| &except.needed);
        needed.into_iter().all(|name| variables.contains_key(name))
    }

    /// How many paths it has, those of the exceptions too.
    fn len(&self) -> usize {
        self.paths.len() + self.exceptions().count()
    }

    /// The exceptions.
    fn exceptions(&self) -> impl Iterator<Item = &PathPattern> {
        self.except.iter().flat_map(|except| &*except.paths)
    }

    /// Some of its paths and all exceptions, and what each adds to a sum.
    fn mixes<'r>(
        &'r self,
        paths: &'r [PathPattern],
    ) -> impl Iterator<Item = (&'r PathPattern, MixId)> + Clone {
        let except =
            self.except.iter().flat_map(|except| except.paths.iter().zip(repeat(except.mix)));
        paths.iter().zip(repeat(self.mix)).chain(except)
    }
}

/// What of a rule each session has for itself.
#[derive(Clone)]
struct Template {
    rule: usize,
    /// Paths with variables; all of the rule's, if an exception has some.
    paths: Vec<PathPattern>,
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
    /// The rules with variables.
    templates: Vec<Template>,
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
                self.add_rule(&file.paths, &file.except, Effect::Grant(bit, file.access));
            }
        }
        for denial in &policy.denials {
            self.add_rule(&denial.paths, &denial.except, Effect::Deny(denial.access));
        }
        for data in &policy.data {
            let bit = policy.sensitivities.iter().position(|name| *name == data.sensitivity);
            let effect = Effect::Sensitive(bit.map_or(u32::MAX, |bit| bit as u32));
            self.add_rule(&data.paths, &data.except, effect);
        }
        match self.rules.iter().map(PathRules::len).sum() {
            named if named > PATH_RULES => Err(LimitError::PathRules { named }),
            _ => Ok(()),
        }
    }

    fn add_rule(
        &mut self,
        paths: &Arc<[PathPattern]>,
        except: &Arc<[PathPattern]>,
        effect: Effect,
    ) {
        let (mix, except) = if except.is_empty() {
            (self.mixer.of(effect), None)
        } else {
            let (own, mix) = self.mixer.excepted(effect);
            let needed = except.iter().flat_map(PathPattern::needed_variables);
            let needed = match effect {
                Effect::Grant(..) => needed.map(str::to_owned).collect(),
                _ => BTreeSet::new(),
            };
            let is_own = except.iter().any(PathPattern::has_variables);
            (own, Some(Box::new(Except { paths: except.clone(), mix, is_own, needed })))
        };
        let rule = PathRules { paths: paths.clone(), effect, mix, except };
        let own = paths.iter().filter(|path| rule.is_own() || path.has_variables());
        let own: Vec<_> = own.cloned().collect();
        if !own.is_empty() {
            self.templates.push(Template { rule: self.rules.len(), paths: own });
        }
        self.rules.push(rule);
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
            self.add_rule(&[path].into(), &[].into(), effect);
        }
        Ok(())
    }

    fn compile_shared(&mut self) -> Result<(), LimitError> {
        let rules = self.rules.iter().filter(|rule| !rule.is_own());
        let (count, none) = (rules.clone().map(PathRules::len).sum(), BTreeMap::new());
        let paths = rules.flat_map(|rule| rule.mixes(&rule.paths));
        // A pattern without variables can always be expanded.
        let trie = trie(paths.clone(), count, &none, &mut self.mixer).unwrap_or_default();
        let (mixer, next) = (&mut self.mixer, &mut self.next);
        self.tables.rules = Automaton::compile(&trie, mixer, next, SHARED_ROOT, (0, 0))
            .map_err(|found| blame(found, &trie, paths, |path| components(path, &none)))?;
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
        let templates =
            self.templates.iter().filter_map(|own| Some((self.rules.get(own.rule)?, &own.paths)));
        let templates = templates.filter(|(rule, _)| rule.is_for(variables));
        let paths = templates.flat_map(|(rule, paths)| rule.mixes(paths));
        let trie = trie(paths.clone(), self.templates.len(), variables, &mut self.mixer)?;
        let mut rules = Rules::default();
        if !trie.is_empty() {
            let root = SESSION_ROOT.saturating_add(slot.0);
            let used = used(&self.tables.rules, self.sessions.iter(), slot);
            rules = Automaton::compile(&trie, &mut self.mixer, &mut self.next, root, used)
                .map_err(|found| blame(found, &trie, paths, |path| components(path, variables)))?;
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
        let in_rule = |own: &Template| {
            let rule = self.rules.get(own.rule);
            let exceptions = rule.into_iter().flat_map(PathRules::exceptions);
            own.paths.iter().chain(exceptions).any(|path| path.variables().contains(variable))
        };
        self.templates.iter().any(in_rule)
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
    paths: impl Iterator<Item = (&'p PathPattern, MixId)>,
    count: usize,
    variables: &'p BTreeMap<String, String>,
    mixer: &mut Mixer,
) -> Result<Trie, ExpandError> {
    let mut builder = trie::Builder::new(count);
    for (path, mix) in paths {
        if let Some((components, below)) = path.plain_components() {
            builder.add(components, below, mix, mixer);
        } else if let Some(Expanded { components, below }) = path.expand(variables)? {
            builder.add(components.into_iter(), below, mix, mixer);
        }
    }
    Ok(builder.finish())
}

/// The components of a path with its variables filled in.
fn components<'p>(
    path: &'p PathPattern,
    variables: &'p BTreeMap<String, String>,
) -> Option<Vec<Component<'p>>> {
    path.expand(variables).ok().flatten().map(|expanded| expanded.components)
}

#[cfg(test)]
mod tests;
