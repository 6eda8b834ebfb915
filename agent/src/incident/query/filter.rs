//! Filters of lines.

use std::collections::BTreeSet;

use agent_common::{decision::Reason, event::Operation};
use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::incident::{
    decode::Verdict,
    record::{Incident, Kind, Record},
    references,
    time::{Time, TimeError},
};

/// Operations that incidents may name although the kernel programs report none of them.
const OTHER_OPERATIONS: &[&str] = &["dns.query"];

/// Which lines pass: those that meet every condition that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// About the session with this name or identity.
    pub session: Option<String>,
    /// At this time or later.
    pub since: Option<Time>,
    /// Before this time.
    pub until: Option<Time>,
    /// Incidents with this operation; a name that ends in a dot stands for all that begin with it.
    pub operation: Option<String>,
    /// Incidents with this reason.
    pub reason: Option<String>,
    /// Incidents with this verdict.
    pub verdict: Option<String>,
    /// Lines of this kind.
    pub kind: Option<Kind>,
    /// Incidents with this reference, as [`references::matches`] understands it.
    pub reference: Option<String>,
    /// At most so many lines, the latest.
    pub limit: Option<usize>,
    /// What the reader may see; `None` for everything.
    pub scope: Option<Scope>,
}

/// Lines about some sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The sessions' ids.
    pub sessions: BTreeSet<String>,
    /// Only incidents.
    pub only_refusals: bool,
}

impl Scope {
    fn has(&self, record: &Record) -> bool {
        (!self.only_refusals || record.kind() == Kind::Incident)
            && record.session().is_some_and(|found| self.sessions.contains(&found.id))
    }
}

/// The conditions as a user writes them: the query of a request, the flags of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterText {
    /// A session's name or identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// A time (RFC 3339) or an age (`90s`, `15m`, `8h`, `7d`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// A time or an age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// `net.connect`; `net.`, `net.*` and `net` stand for all of that family.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// `no_tool` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `denied` or `would_deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// `incident`, `control`, `lost`, `repaired` or `canary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// `ASI02`, `mitre-attack:T1048` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// At most so many lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// A condition that can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A word that no line can have.
    #[error("unknown {what} `{given}`\n  {help}")]
    Unknown {
        /// What kind of word.
        what: &'static str,
        /// The word.
        given: String,
        /// What would be right.
        help: String,
    },
    /// A time.
    #[error(transparent)]
    Time(#[from] TimeError),
}

impl FilterText {
    /// Checks every condition. Ages count back from `now`.
    ///
    /// # Errors
    /// The first condition that no line could meet, or that is no time.
    pub fn check(&self, now: Time) -> Result<Filter, FilterError> {
        let time = |given: &Option<String>| {
            given.as_deref().map(|given| Time::parse(given, now)).transpose()
        };
        let reasons = (0..=u8::MAX).filter_map(|number| Reason::try_from(number).ok());
        let reasons: Vec<_> = reasons.map(Reason::name).collect();
        let verdicts = [Verdict::Denied.name(), Verdict::WouldDeny.name()];
        let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        let kind = word("kind", &self.kind, &kinds)?;
        Ok(Filter {
            session: self.session.clone(),
            since: time(&self.since)?,
            until: time(&self.until)?,
            operation: self.operation.as_deref().map(operation).transpose()?,
            reason: word("reason", &self.reason, &reasons)?,
            verdict: word("verdict", &self.verdict, &verdicts)?,
            kind: kind.and_then(|name| Kind::ALL.iter().copied().find(|kind| kind.name() == name)),
            reference: self.reference.clone(),
            limit: self.limit,
            scope: None,
        })
    }
}

/// An operation's name, or a family's with its dot.
fn operation(given: &str) -> Result<String, FilterError> {
    let known: Vec<_> = Operation::ALL
        .iter()
        .map(|operation| operation.name())
        .chain(OTHER_OPERATIONS.iter().copied())
        .collect();
    let family = format!("{}.", given.trim_end_matches('*').trim_end_matches('.'));
    if !known.contains(&given) && known.iter().any(|name| name.starts_with(&family)) {
        return Ok(family);
    }
    word("operation", &Some(given.to_owned()), &known).map(Option::unwrap_or_default)
}

fn word(
    what: &'static str,
    given: &Option<String>,
    known: &[&str],
) -> Result<Option<String>, FilterError> {
    let Some(given) = given else { return Ok(None) };
    if known.contains(&given.as_str()) {
        return Ok(Some(given.clone()));
    }
    let near = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(given, name), name))
        .filter(|(distance, name)| *distance <= name.len() / 3)
        .min();
    let help = match near {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None => format!("known: {}", known.join(", ")),
    };
    Err(FilterError::Unknown { what, given: given.clone(), help })
}

/// Looks for words that each line has which passes a filter, as JSON spells them: reading a line takes a hundred times as
/// long.
pub(super) struct Prefilter {
    wanted: Vec<Finder<'static>>,
}

impl Prefilter {
    /// Whether the line may pass. A line that does not look like a whole object may: its reader is to say what is wrong.
    pub(super) fn may_pass(&self, line: &[u8]) -> bool {
        let is_object = line.starts_with(b"{") && line.ends_with(b"}");
        !is_object || self.wanted.iter().all(|word| word.find(line).is_some())
    }
}

impl Filter {
    /// Whether the record meets every condition but the limit.
    pub fn passes(&self, record: &Record) -> bool {
        let session = self.session.as_ref().is_none_or(|wanted| {
            record.session().is_some_and(|found| found.id == *wanted || found.name == *wanted)
        });
        session
            && self.scope.as_ref().is_none_or(|scope| scope.has(record))
            && self.since.is_none_or(|since| record.time() >= since)
            && self.until.is_none_or(|until| record.time() < until)
            && self.kind.is_none_or(|kind| record.kind() == kind)
            && match record {
                Record::Incident(incident) => self.passes_incident(incident),
                _ => !self.asks_for_incidents(),
            }
    }

    /// What tells most lines that can't pass from their text.
    pub(super) fn prefilter(&self) -> Prefilter {
        let operation = self.operation.as_ref().filter(|name| !name.ends_with('.'));
        let words = [self.session.as_ref(), operation, self.reason.as_ref(), self.verdict.as_ref()];
        let quoted = |word: &String| Value::from(word.as_str()).to_string();
        let finder = |word| Finder::new(&quoted(word)).into_owned();
        Prefilter { wanted: words.into_iter().flatten().map(finder).collect() }
    }

    /// Whether a condition is set that only incidents can meet.
    const fn asks_for_incidents(&self) -> bool {
        self.operation.is_some()
            || self.reason.is_some()
            || self.verdict.is_some()
            || self.reference.is_some()
    }

    fn passes_incident(&self, incident: &Incident) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        self.operation.as_ref().is_none_or(|wanted| {
            incident.operation == *wanted
                || (wanted.ends_with('.') && incident.operation.starts_with(wanted))
        }) && is(&self.reason, &incident.reason)
            && is(&self.verdict, &incident.verdict)
            && self.reference.as_ref().is_none_or(|wanted| {
                incident.references.iter().any(|found| references::matches(found, wanted))
            })
    }
}
