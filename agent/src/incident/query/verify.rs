//! Verifies that the log is as it was written, by the chain of hashes and the events' numbers.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{
    QueryError,
    read::{Line, Lines},
};
use crate::incident::{
    journal::chain::{GENESIS, hash, prev_of},
    record::Record,
    seen::Seen,
};

/// The first break of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Break {
    /// The file.
    pub file: String,
    /// The line's number, from one.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

/// The result of [`verify`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Files read.
    pub files: u64,
    /// Whole lines read.
    pub lines: u64,
    /// The first break of the chain; `None` if it holds.
    pub broken: Option<Break>,
    /// The `prev` of the first line: zeros at the beginning of the log, or the hash of the last line of a removed file.
    pub first_prev: String,
    /// The hash of the last line. The chain does not show that the end was cut off or changed: compare this with a hash
    /// that was stored elsewhere.
    pub head: String,
    /// Whether an incomplete line follows the last one: the daemon is writing it, or a crash cut it short and the
    /// daemon was not started since.
    pub torn: bool,
    /// How many events' numbers are missing between those in the log, whether recorded as lost or not.
    pub missing: u64,
    /// How many refusals the log records as lost, since its first event.
    pub lost: u64,
}

impl Report {
    /// Whether the log is complete from its beginning, without removed files.
    pub fn from_the_beginning(&self) -> bool {
        self.first_prev == GENESIS
    }

    /// How many events are neither in the log nor recorded as lost. The log records a loss up to a second after the
    /// kernel counted it, so a running daemon may show a few.
    pub const fn unaccounted(&self) -> u64 {
        self.missing.saturating_sub(self.lost)
    }
}

/// Reads the whole log and checks that each line is followed by one that has its hash, and which
/// events' numbers are missing.
///
/// # Errors
/// When the log can't be read.
pub fn verify(dir: &Path) -> Result<Report, QueryError> {
    let mut report = Report { head: GENESIS.into(), ..Report::default() };
    let mut numbers: BTreeMap<String, Seen> = BTreeMap::new();
    let mut before: Option<String> = None;
    let mut lines = Lines::open(dir, None).map_err(QueryError::at(dir))?;
    while let Some(line) = lines.next().map_err(QueryError::at(dir))? {
        if !line.whole {
            report.torn = true;
            continue;
        }
        report.lines += 1;
        if let Err(what) = link(&line, &mut report, before.as_deref())
            && report.broken.is_none()
        {
            report.broken = Some(Break { file: line.file.clone(), line: line.number, what });
        }
        before = Some(format!("line {} of `{}`", line.number, line.file));
        report.head = hash(&line.bytes);
        count(line, &mut report, &mut numbers);
    }
    report.files = lines.files;
    report.missing = numbers.values().map(Seen::missing).sum();
    Ok(report)
}

/// Checks one line against the one before, whose hash is the report's head so far.
fn link(line: &Line, report: &mut Report, before: Option<&str>) -> Result<(), String> {
    let prev = prev_of(&line.bytes)
        .ok_or_else(|| "it is no line of the log: no JSON object with a `prev`".to_owned())?;
    match before {
        None => {
            report.first_prev = prev;
            Ok(())
        }
        Some(_) if prev == report.head => Ok(()),
        Some(before) => Err(format!(
            "its `prev` is not the hash of {before}: that line was changed, or lines between the two were removed, added or moved"
        )),
    }
}

/// Counts the event numbers of a line.
fn count(line: Line, report: &mut Report, numbers: &mut BTreeMap<String, Seen>) {
    match line.entry().map(|entry| entry.record) {
        Some(Record::Incident(incident)) => {
            let seen = numbers.entry(incident.epoch.clone()).or_default();
            for (first, last) in incident.ranges() {
                seen.insert(first, last);
            }
        }
        Some(Record::Lost(lost)) => report.lost = report.lost.saturating_add(lost.count),
        _ => {}
    }
}
