//! The tables of `docs/performance.md`, made from the committed results. What stands around them is
//! written by hand.

use std::{fmt::Write as _, fs, io, path::PathBuf};

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;

use super::{
    results::{Flat, Profile, Real, Results, Verifier},
    table::{percent, thousands},
};
use crate::project::{root, write};

/// The kernel whose results are shown.
const KERNEL: &str = "6.12";
/// Programs that cost the verifier less are left out.
const LEAST_STEPS: u64 = 5_000;
/// The column of the profile that has a session's processes.
const TAGGED: &str = "tagged";

/// Where the document is.
fn path() -> PathBuf {
    root().join("docs/performance.md")
}

/// Writes the tables anew.
///
/// # Errors
/// When the document or a result can't be read, or has another form.
pub(super) fn update() -> Result<()> {
    let text = fs::read_to_string(path()).context("cannot read `docs/performance.md`")?;
    write(&path(), with_tables(text)?)
}

/// The document with all tables for which there are results.
fn with_tables(mut text: String) -> Result<String> {
    let tables = [
        ("operations", result::<Results>("")?.map(|found| operations(&found))),
        ("flat", result::<Flat>("-flat")?.map(|found| flat(&found))),
        ("profile", result::<Profile>("-profile")?.map(|found| profile(&found))),
        ("real", result::<Real>("-real")?.map(|found| real(&found))),
        ("verifier", result::<Verifier>("-verifier")?.map(|found| verifier(&found))),
    ];
    for (name, table) in tables {
        if let Some(table) = table {
            text = replaced(&text, name, &table)
                .with_context(|| format!("`docs/performance.md` has no place for `{name}`"))?;
        }
    }
    Ok(text)
}

/// A committed result; none where there is none.
fn result<T: DeserializeOwned>(what: &str) -> Result<Option<T>> {
    let path = root().join(format!("bench/results/{KERNEL}{what}.json"));
    match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => {
            let bytes = read.with_context(|| format!("cannot read `{}`", path.display()))?;
            let found = serde_json::from_slice(&bytes);
            found.with_context(|| format!("`{}` has another form", path.display())).map(Some)
        }
    }
}

/// The text with a table in its place: between `<!-- NAME -->` and the next `<!-- end -->`.
fn replaced(text: &str, name: &str, table: &str) -> Option<String> {
    let begin = format!("<!-- {name} -->\n");
    let start = text.find(&begin)? + begin.len();
    let end = start + text[start..].find("<!-- end -->")?;
    Some(format!("{}{table}{}", &text[..start], &text[end..]))
}

fn head(columns: &[&str]) -> String {
    let rule = columns.iter().enumerate().map(|(place, _)| if place == 0 { "---" } else { "---:" });
    let rule: Vec<&str> = rule.collect();
    format!("| {} |\n| {} |\n", columns.join(" | "), rule.join(" | "))
}

fn row(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

fn operations(results: &Results) -> String {
    let columns = ["operation", "bare", "floor", "untagged", "tagged", "Landlock", "AppArmor"];
    let mut text = head(&columns);
    for line in &results.rows {
        let cells =
            [line.bare, line.floor, line.untagged, line.tagged, line.landlock, line.apparmor];
        let cells = cells.map(|cell| cell.map_or_else(|| "–".to_owned(), thousands));
        text.push_str(&row(&[std::slice::from_ref(&line.operation), &cells[..]].concat()));
    }
    text
}

/// A line for each thing of which there is more.
fn flat(flat: &Flat) -> String {
    let mut text = String::new();
    for group in flat.rows.chunk_by(|a, b| a.of == b.of) {
        let Some(first) = group.first() else { continue };
        let rows = group.iter().map(|line| {
            let (small, large) = (line.tagged_small, line.tagged_large);
            format!(
                "{} {} → {} ({:+.1} %)",
                line.operation,
                thousands(small),
                thousands(large),
                percent(small, large)
            )
        });
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "- {} → {} {}: {}",
            thousands(first.small),
            thousands(first.large),
            first.of,
            rows.collect::<Vec<_>>().join("; ")
        );
    }
    text
}

/// The programs that run once a round or more, and the instructions of a run: by operation for a session's
/// processes, in one line for all others, where each program takes nearly the same.
fn profile(profile: &Profile) -> String {
    let (tagged, others): (Vec<_>, Vec<_>) =
        profile.often().partition(|line| line.column == TAGGED);
    let others = || others.iter().map(|line| line.instructions);
    let least = others().min().map_or_else(String::new, thousands);
    let most = others().max().map_or_else(String::new, thousands);
    let mut text = format!("Untagged: {least} to {most}, whatever the program. Tagged:\n\n");
    for group in tagged.chunk_by(|a, b| a.operation == b.operation) {
        let Some(first) = group.first() else { continue };
        let runs = group.iter().map(|line| step(&line.program, line.instructions));
        let runs = runs.collect::<Vec<_>>().join("; ");
        // Writing to a string can't fail.
        let _ = writeln!(text, "- {}: {runs}", first.operation);
    }
    text
}

/// A program and what it takes.
fn step(program: &str, count: u64) -> String {
    format!("`{program}` {}", thousands(count))
}

fn real(real: &Real) -> String {
    let mut text = head(&["work", "bare", "untagged", "", "tagged", ""]);
    for line in &real.rows {
        let million = |count: u64| format!("{:.1}", count as f64 / 1e6);
        let more = |count: u64| format!("{:+.2} %", percent(line.bare, count));
        text.push_str(&row(&[
            line.work.clone(),
            million(line.bare),
            million(line.untagged),
            more(line.untagged),
            million(line.tagged),
            more(line.tagged),
        ]));
    }
    let idle = &real.idle;
    // Writing to a string can't fail.
    let _ = write!(
        text,
        "\n`remitd` at rest with {} sessions: {:.1} MiB resident, {} wake-ups a minute, {} \
         instructions a second.\n",
        idle.sessions,
        idle.resident_kib as f64 / 1024.0,
        thousands(idle.wakeups_per_minute),
        thousands(idle.instructions_per_second)
    );
    text
}

fn verifier(verifier: &Verifier) -> String {
    let costly = verifier.programs.iter().filter(|(_, steps)| **steps >= LEAST_STEPS);
    let costly: Vec<String> = costly.map(|(hook, steps)| step(hook, *steps)).collect();
    format!(
        "{}. All {} together: {}.\n\n\
         From its start until it answers, with all programs in force, `remitd` and the kernel take {} \
         million instructions.\n",
        costly.join("; "),
        verifier.programs.len(),
        thousands(verifier.programs.values().sum()),
        thousands(verifier.start / 1_000_000)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_takes_the_place_of_the_one_before() {
        let text = "a\n<!-- flat -->\nold\n<!-- end -->\nb <!-- end -->";
        let wanted = "a\n<!-- flat -->\nnew\n<!-- end -->\nb <!-- end -->";
        assert_eq!(replaced(text, "flat", "new\n").as_deref(), Some(wanted));
        assert_eq!(replaced(text, "real", "new\n"), None);
    }

    #[test]
    fn document_has_the_tables_of_the_committed_results() {
        let text = fs::read_to_string(path()).expect("the document is there");
        let anew = with_tables(text.clone()).expect("the results have their form");
        assert!(anew == text, "stale: run `cargo xtask bench --tables`");
    }
}
