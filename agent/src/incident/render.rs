//! Shows records to people: as a table with a line each, and in detail. Pure. Control characters in texts that agents
//! chose (paths, names, tasks) are escaped, so that none reaches a terminal.

use std::fmt::Write as _;

use super::{
    query::Summary,
    record::{Outcome, Record},
    time::Time,
};

mod advice;
mod detail;
mod text;

pub use advice::{Advice, advice};
pub use detail::detail;
pub use text::{Colour, printable};

use text::{Paint, pad};

const HEADS: [&str; 7] = ["TIME", "SESSION", "OPERATION", "OBJECT", "REASON", "COUNT", "ID"];

/// Widths of the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths([usize; 7]);

impl Default for Widths {
    /// For lines that come one by one: widths that fit most.
    fn default() -> Self {
        Self([20, 16, 14, 40, 13, 6, 26])
    }
}

impl Widths {
    /// The widths that fit all of these records.
    pub fn fitting<'a>(records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut widths = HEADS.map(str::len);
        for record in records {
            for (width, cell) in widths.iter_mut().zip(cells(record)) {
                *width = (*width).max(cell.chars().count());
            }
        }
        Self(widths)
    }
}

/// A table of records, with its head.
pub fn list<'a>(records: impl IntoIterator<Item = &'a Record> + Clone, colour: Colour) -> String {
    let widths = Widths::fitting(records.clone());
    let mut table = head(widths, colour);
    for record in records {
        table.push('\n');
        table.push_str(&line(record, widths, colour));
    }
    table.push('\n');
    table
}

/// The head of a table, without newline.
pub fn head(widths: Widths, colour: Colour) -> String {
    colour.paint(Paint::Dim, &row(HEADS.map(Into::into), widths))
}

/// One record as a line of a table, without newline.
pub fn line(record: &Record, widths: Widths, colour: Colour) -> String {
    let paint = match record {
        Record::Incident(incident) if incident.verdict == "would_deny" => Paint::Yellow,
        Record::Incident(_) => Paint::Red,
        Record::Control(_) => Paint::Plain,
        Record::Canary(canary) if canary.ok => Paint::Plain,
        Record::Canary(_) => Paint::Red,
        Record::Lost(_) | Record::Repaired(_) => Paint::Magenta,
    };
    colour.paint(paint, &row(cells(record), widths))
}

fn row(cells: [String; 7], Widths(widths): Widths) -> String {
    let padded: Vec<_> = cells.iter().zip(widths).map(|(cell, width)| pad(cell, width)).collect();
    padded.join("  ").trim_end().to_owned()
}

fn cells(record: &Record) -> [String; 7] {
    let session = record.session().map_or_else(
        || "-".to_owned(),
        |session| printable(if session.name.is_empty() { &session.id } else { &session.name }),
    );
    let [operation, object, reason, count] = what(record);
    let id = printable(record.id());
    [short(record.time()), session, operation, object, reason, count, id]
}

/// Operation, object, reason and count of any kind of record.
fn what(record: &Record) -> [String; 4] {
    match record {
        Record::Incident(incident) => [
            printable(&incident.operation),
            printable(&incident.object.to_string()),
            printable(&incident.reason),
            format!("×{}", incident.count),
        ],
        Record::Control(control) => [
            control.act.name().to_owned(),
            printable(control.tool.as_deref().or(control.detail.as_deref()).unwrap_or("-")),
            outcome(control.outcome).to_owned(),
            String::new(),
        ],
        Record::Lost(lost) => [
            "lost".to_owned(),
            "refusals that are not in the log".to_owned(),
            printable(&lost.reason),
            format!("×{}", lost.count),
        ],
        Record::Repaired(repaired) => [
            "repaired".to_owned(),
            format!("{} bytes of a torn line taken out", repaired.bytes),
            "crash".to_owned(),
            String::new(),
        ],
        Record::Canary(canary) => [
            "canary".to_owned(),
            printable(&canary.message),
            if canary.ok { "holds again" } else { "does not hold" }.to_owned(),
            String::new(),
        ],
    }
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Refused => "refused",
        Outcome::Failed => "failed",
    }
}

/// A time to the second.
fn short(time: Time) -> String {
    format!("{:.0}", time.timestamp())
}

/// A summary as a page.
pub fn summary(summary: &Summary, colour: Colour) -> String {
    let mut page = String::new();
    let span = match (summary.first, summary.last) {
        (Some(first), Some(last)) => format!("{} to {}", short(first), short(last)),
        _ => "the log is empty".to_owned(),
    };
    // Writing to a string can't fail.
    let _ = writeln!(page, "{} refusals, {span}", summary.refusals);
    for (count, what) in [
        (summary.would_deny, "passed, because of audit mode"),
        (summary.controls, "acts of control"),
        (summary.lost, "refusals lost"),
        (summary.canary, "times the canary found that enforcement does not hold"),
        (summary.unreadable, "lines that can't be understood"),
    ] {
        if count > 0 {
            let _ = writeln!(page, "{count} {what}");
        }
    }
    for (head, counts) in [
        ("by session", &summary.by_session),
        ("by operation", &summary.by_operation),
        ("by reason", &summary.by_reason),
        ("by object", &summary.by_object),
        ("would be allowed by", &summary.would_allow),
    ] {
        if !counts.is_empty() {
            let _ = writeln!(page, "\n{}", colour.paint(Paint::Bold, head));
        }
        for count in counts {
            let _ = writeln!(page, "{:>8}  {}", count.count, printable(&count.name));
        }
    }
    page
}

#[cfg(test)]
mod tests;
