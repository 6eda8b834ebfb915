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
const LEAST_STEPS: u64 = 2_500;

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

fn flat(flat: &Flat) -> String {
    let mut text = head(&["operation, in a session", "few", "", "many", "", "more"]);
    for line in &flat.rows {
        let (small, large) = (line.tagged_small, line.tagged_large);
        text.push_str(&row(&[
            line.operation.clone(),
            format!("{} {}", thousands(line.small), line.of),
            thousands(small),
            format!("{} {}", thousands(line.large), line.of),
            thousands(large),
            format!("{:+.1} %", percent(small, large)),
        ]));
    }
    text
}

/// The programs that run once a round or more, by operation.
fn profile(profile: &Profile) -> String {
    let mut text = head(&["operation", "column", "program", "instructions of a run"]);
    for line in profile.often() {
        text.push_str(&row(&[
            line.operation.clone(),
            line.column.clone(),
            format!("`{}`", line.program),
            thousands(line.instructions),
        ]));
    }
    text
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
    let mut text = head(&["hook", "steps"]);
    let costly = verifier.programs.iter().filter(|(_, steps)| **steps >= LEAST_STEPS);
    for (hook, steps) in costly {
        text.push_str(&row(&[format!("`{hook}`"), thousands(*steps)]));
    }
    let all = format!("**all {}**", verifier.programs.len());
    text.push_str(&row(&[all, thousands(verifier.programs.values().sum())]));
    let _ = write!(
        text,
        "\nFrom its start until it answers, with all programs in force, `remitd` and the kernel take {} \
         million instructions.\n",
        thousands(verifier.start / 1_000_000)
    );
    text
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
