//! Explains what the compiled policy decides on one object, and by which rules.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use agent_common::{
    access::Rights,
    id::Slot,
    rule::{Label, SESSION_ROOT, SHARED_ROOT},
};
use serde::{Deserialize, Serialize};

use super::{
    Compiled,
    mixer::Effect,
    network::{flow as flow_of, mapped},
    walk,
};
use crate::policy::{pattern::PathPattern, place::Place};

/// The owner of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleOwner {
    /// A tool's.
    Tool(String),
    /// A denial.
    Deny,
    /// Sensitivity of data.
    Data,
    /// Remit's own rule, which is in no file.
    Builtin,
}

/// One rule and its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRef {
    /// The file; empty for Remit's own rules.
    pub file: PathBuf,
    /// Its line, from 1; 0 for Remit's own rules.
    pub line: u32,
    /// The character in that line, from 1; 0 for Remit's own rules.
    pub column: u32,
    /// Its owner.
    pub owner: RuleOwner,
    /// The path or address range, as the user wrote it.
    pub text: String,
}

impl RuleRef {
    fn new(place: &Place, owner: RuleOwner, text: String) -> Self {
        let file = place.file.as_path().to_owned();
        Self { file, line: place.line, column: place.column, owner, text }
    }
}

/// The explanation of a path.
#[derive(Clone, Debug, PartialEq)]
pub struct PathExplanation {
    /// The labels: one by the shared rules, one by the session's own.
    pub labels: [Label; 2],
    /// The rules that match the path and concern one of the rights, or no right (data).
    pub rules: Vec<RuleRef>,
    /// The denial that decides, if one does.
    pub denial: Option<RuleRef>,
}

/// The explanation of an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointExplanation {
    /// The label.
    pub label: Label,
    /// The rules that match.
    pub rules: Vec<RuleRef>,
}

impl Compiled {
    /// Explains a path and some rights on it. `own_process` says that the path's second component is the procfs folder
    /// of a process of the session itself; `self` always is.
    pub fn explain_path(
        &self,
        path: &str,
        rights: Rights,
        own_process: bool,
        session: Option<Slot>,
    ) -> PathExplanation {
        let names = walk::components(path);
        let own_process = own_process || is_self(&names);
        let own = session.and_then(|slot| self.sessions.get(&slot).map(|own| (slot, own)));
        let shared = walk::path(&self.tables.rules, SHARED_ROOT, &names, own_process);
        let of_session = own.map_or(Label::NONE, |(slot, own)| {
            let root = SESSION_ROOT.saturating_add(slot.0);
            self.mixer.label(walk::path(&own.rules, root, &names, own_process))
        });
        let labels = [self.mixer.label(shared), of_session];
        let relevant = |effect: Effect| {
            let own = effect.rights();
            own.is_empty() || own.meets(rights)
        };
        let rules = self
            .matching(path, own_process, session, relevant)
            .map(|(path, effect)| self.reference(path, effect))
            .collect();
        let denied = Rights(labels.iter().fold(0, |denied, label| denied | label.denied));
        let denial = if denied.meets(rights) {
            self.rule_denying(path, rights, own_process, session)
        } else {
            None
        };
        PathExplanation { labels, rules, denial }
    }

    /// The rule that denies one of the rights on a path, the policy's before Remit's own.
    pub fn rule_denying(
        &self,
        path: &str,
        rights: Rights,
        own_process: bool,
        session: Option<Slot>,
    ) -> Option<RuleRef> {
        let own_process = own_process || is_self(&walk::components(path));
        let denies = |effect: Effect| matches!(effect, Effect::Deny(denied) | Effect::Guard(denied) if denied.meets(rights));
        let mut guard = None;
        for (path, effect) in self.matching(path, own_process, session, denies) {
            if matches!(effect, Effect::Deny(_)) {
                return Some(self.reference(path, effect));
            }
            guard = guard.or_else(|| Some(self.reference(path, effect)));
        }
        guard
    }

    /// The rules that match a path, among those with some effects.
    fn matching<'c>(
        &'c self,
        path: &'c str,
        own_process: bool,
        session: Option<Slot>,
        wanted: impl Fn(Effect) -> bool + 'c,
    ) -> impl Iterator<Item = (&'c PathPattern, Effect)> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let names = walk::components(path);
        let own = session.and_then(|slot| self.sessions.get(&slot));
        let variables = own.map_or(&NONE, |own| &own.variables);
        let matches = move |pattern: &PathPattern| {
            could_match(pattern.text(), path)
                && matches!(pattern.expand(variables),
                    Ok(Some(expanded)) if expanded.matches(&names, own_process))
        };
        let rules = self.rules.iter().filter(move |rule| {
            wanted(rule.effect) && rule.is_for(variables) && (own.is_some() || !rule.is_own())
        });
        let matched = rules.map(move |rule| {
            let found: Vec<_> = rule.paths.iter().filter(|path| matches(path)).collect();
            let is_excepted = !found.is_empty() && rule.exceptions().any(&matches);
            (if is_excepted { Vec::new() } else { found }, rule.effect)
        });
        matched.flat_map(|(found, effect)| found.into_iter().map(move |path| (path, effect)))
    }

    fn reference(&self, path: &PathPattern, effect: Effect) -> RuleRef {
        let owner = match effect {
            Effect::Grant(bit, _) => {
                RuleOwner::Tool(self.tools.get(&bit).cloned().unwrap_or_default())
            }
            Effect::Deny(_) => RuleOwner::Deny,
            Effect::Sensitive(_) => RuleOwner::Data,
            Effect::Guard(_) | Effect::Always(_) => RuleOwner::Builtin,
        };
        RuleRef::new(&path.place(), owner, path.text().to_owned())
    }

    /// Explains an endpoint; `flow` is a `FLOW_` constant.
    pub fn explain_endpoint(&self, address: IpAddr, port: u16, flow: u16) -> EndpointExplanation {
        let number = walk::endpoint(&self.tables, mapped(address), port, flow);
        let address = address.to_canonical();
        let mut rules = Vec::new();
        for endpoint in &self.endpoints {
            let rule = &endpoint.rule;
            if flow_of(rule.protocol, rule.direction) != flow || !rule.is_on(port) {
                continue;
            }
            for cidr in rule.cidrs.iter().filter(|cidr| cidr.net.contains(&address)) {
                let owner = RuleOwner::Tool(endpoint.tool.clone());
                rules.push(RuleRef::new(&cidr.place, owner, cidr.net.to_string()));
            }
        }
        EndpointExplanation { label: self.mixer.label(number), rules }
    }
}

/// Whether the path begins with `/proc/self`.
fn is_self(names: &[&[u8]]) -> bool {
    matches!(names, [b"proc", b"self", ..])
}

/// A quick comparison of a pattern's beginning, before its components are taken apart.
fn could_match(pattern: &str, path: &str) -> bool {
    let head = pattern.split(['*', '{']).next().unwrap_or("");
    let head = if head == pattern { head } else { head.trim_end_matches('/') };
    pattern.starts_with("/proc/self") || path.starts_with(head)
}
