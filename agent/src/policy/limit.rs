//! Why a policy does not fit into the kernel's tables.

use std::fmt;

use super::diagnostic::quote;
use agent_common::limits::{AFFIXES, EDGES, LABELS, NETWORK_RULES, PATH_RULES, PORTS, TOOLS};

/// The limit that a policy exceeds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// Too many tools.
    #[error("the policy names {named} tools, {} than the kernel's tables hold: {TOOLS}", more(*named, TOOLS))]
    Tools {
        /// How many it names.
        named: usize,
    },
    /// Enough bits for the tools, but not yet.
    #[error(
        "the policy names {named} tools, and too many of the {TOOLS} bits are still in use by tools \
         that went away: end the sessions that hold them, or reload once without the new tools"
    )]
    ToolBits {
        /// How many it names.
        named: usize,
    },
    /// A tool without a bit: the bits were assigned for another policy.
    #[error("tool `{tool}` has no bit")]
    NoBit {
        /// The tool.
        tool: String,
    },
    /// Too many paths.
    #[error("the policy names {named} paths, {} than the kernel's tables hold: {PATH_RULES}", more(*named, PATH_RULES))]
    PathRules {
        /// How many it names.
        named: usize,
    },
    /// Too many endpoints.
    #[error("the policy names {named} endpoints (address range and port range), {} than the kernel's tables hold: {NETWORK_RULES}", more(*named, NETWORK_RULES))]
    NetworkRules {
        /// How many it names.
        named: usize,
    },
    /// Too many labels.
    #[error(
        "the policy needs more different labels (combinations of tools by access right) than the kernel's tables hold: {LABELS}"
    )]
    Labels,
    /// Too many edges.
    #[error(
        "the policy's paths, with those of the live sessions, need more edges than the kernel's tables hold: {EDGES}{0}"
    )]
    Edges(Blamed),
    /// Too many affixes.
    #[error(
        "the policy's paths with `*`, with those of the live sessions, need more prefixes and suffixes than the kernel's tables hold: {AFFIXES}{0}"
    )]
    Affixes(Blamed),
    /// Paths that match together in too many ways.
    #[error("paths with `*` that match together in ever more ways can't be compiled{0}")]
    States(Blamed),
    /// Too many port entries.
    #[error(
        "the policy's nested address ranges need more entries for ports than the kernel's tables hold: {PORTS}"
    )]
    Ports,
    /// No node number is left: some two thousand million session starts under one policy.
    #[error("the path trie's node numbers are used up: reload the policy")]
    Nodes,
    /// One of Remit's own paths can't be a pattern.
    #[error("Remit's own path can't be protected: {problem}")]
    Builtin {
        /// What is wrong with it.
        problem: String,
    },
}

/// Patterns that make the tables large.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blamed {
    /// Some of them, with their places.
    pub patterns: Vec<(String, String)>,
    /// How many there are besides.
    pub more: usize,
}

impl fmt::Display for Blamed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((pattern, place), before) in self.patterns.iter().zip(["; it is ", ", ", ", "]) {
            write!(formatter, "{before}{} ({place})", quote(pattern))?;
        }
        if self.more > 0 { write!(formatter, " and {} more", self.more) } else { Ok(()) }
    }
}

fn more(named: usize, most: usize) -> String {
    match named.saturating_sub(most) {
        1 => "one more".to_owned(),
        over => format!("{over} more"),
    }
}
