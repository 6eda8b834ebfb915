//! The log in a few numbers.

use std::{collections::HashMap, ops::ControlFlow, path::Path};

use serde::{Deserialize, Serialize};

use super::{Filter, QueryError, for_each};
use crate::incident::{
    record::{Incident, Record},
    time::Time,
};

/// The most different names of a kind that are counted, so that an agent that tries a million paths fills no memory.
const DISTINCT: usize = 100_000;

/// A name, and how often it occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The name.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// The log in a few numbers. Every list has the most frequent first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The first line's time.
    pub first: Option<Time>,
    /// The last line's time.
    pub last: Option<Time>,
    /// Refusals, each repeat counted.
    pub refusals: u64,
    /// Of these, how many passed because of audit mode.
    pub would_deny: u64,
    /// Acts of control.
    pub controls: u64,
    /// Refusals that are known to be lost.
    pub lost: u64,
    /// Times that the canary found enforcement not to hold.
    #[serde(default)]
    pub canary: u64,
    /// Lines that could not be understood.
    pub unreadable: u64,
    /// Refusals by session.
    pub by_session: Vec<Count>,
    /// Refusals by operation.
    pub by_operation: Vec<Count>,
    /// Refusals by reason.
    pub by_reason: Vec<Count>,
    /// Refusals by object: the most frequent.
    pub by_object: Vec<Count>,
    /// Refusals that a tool would have allowed, by tool.
    pub would_allow: Vec<Count>,
}

/// Counts by name.
#[derive(Default)]
struct Tally(HashMap<String, u64>);

impl Tally {
    fn add(&mut self, name: impl Into<String>, count: u64) {
        let name = name.into();
        let full = self.0.len() >= DISTINCT && !self.0.contains_key(&name);
        let name = if full { "(others)".to_owned() } else { name };
        let total = self.0.entry(name).or_default();
        *total = total.saturating_add(count);
    }

    fn most(self, top: usize) -> Vec<Count> {
        let mut counts: Vec<_> =
            self.0.into_iter().map(|(name, count)| Count { name, count }).collect();
        counts.sort_by(|one, other| {
            other.count.cmp(&one.count).then_with(|| one.name.cmp(&other.name))
        });
        counts.truncate(top);
        counts
    }
}

#[derive(Default)]
struct Tallies {
    session: Tally,
    operation: Tally,
    reason: Tally,
    object: Tally,
    tool: Tally,
}

impl Tallies {
    fn add(&mut self, incident: &Incident) {
        let Incident { session, count, .. } = incident;
        let name = if session.name.is_empty() { &session.id } else { &session.name };
        self.session.add(name, *count);
        self.operation.add(&incident.operation, *count);
        self.reason.add(&incident.reason, *count);
        let object = incident.object.to_string();
        if !object.is_empty() {
            self.object.add(object, *count);
        }
        for tool in &incident.would_allow {
            self.tool.add(tool, *count);
        }
    }
}

/// Sums up the lines that the filter lets pass, with the `top` most frequent objects.
///
/// # Errors
/// When the log can't be read.
pub fn summary(dir: &Path, filter: &Filter, top: usize) -> Result<Summary, QueryError> {
    let mut summary = Summary::default();
    let mut tallies = Tallies::default();
    summary.unreadable = for_each(dir, filter, |entry| {
        let time = entry.record.time();
        summary.first = Some(summary.first.map_or(time, |first| first.min(time)));
        summary.last = Some(summary.last.map_or(time, |last| last.max(time)));
        match &entry.record {
            Record::Incident(incident) => {
                tallies.add(incident);
                summary.refusals = summary.refusals.saturating_add(incident.count);
                if incident.verdict == "would_deny" {
                    summary.would_deny = summary.would_deny.saturating_add(incident.count);
                }
            }
            Record::Control(_) => summary.controls += 1,
            Record::Lost(lost) => summary.lost = summary.lost.saturating_add(lost.count),
            Record::Canary(canary) => summary.canary += u64::from(!canary.ok),
            Record::Repaired(_) => {}
        }
        ControlFlow::Continue(())
    })?;
    summary.by_session = tallies.session.most(usize::MAX);
    summary.by_operation = tallies.operation.most(usize::MAX);
    summary.by_reason = tallies.reason.most(usize::MAX);
    summary.by_object = tallies.object.most(top);
    summary.would_allow = tallies.tool.most(usize::MAX);
    Ok(summary)
}
