//! `cargo xtask attacks`: the catalogue of attacks on all kernels, and its results as `docs/attacks.md` and
//! `docs/attacks.json`. Owns the folder `target/attacks`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    project::{remove_folder, root, target, write},
    say,
    test::{Test, without},
    vm::kernel::Series,
};

/// Tries the attacks on all kernels and writes their pages in `docs`.
#[derive(clap::Args)]
pub(crate) struct Attacks {
    /// Write the pages without booting anything: from the results in `target/attacks`, or where there are
    /// none from `docs/attacks.json`; and `docs/hooks.md` from `docs/hooks.json`.
    #[arg(long)]
    tables_only: bool,
}

impl Attacks {
    /// Runs the tests of the catalogue, writes the pages, and tells whether all came out as expected.
    ///
    /// # Errors
    /// When a guest can't be booted, or a kernel's results are missing.
    pub(crate) fn run(&self) -> Result<bool> {
        let passed = if self.tables_only {
            true
        } else {
            remove_folder(&results())?;
            Test::for_all_kernels(FILTER).run()?
        };
        let records = if self.tables_only && !has_results() { committed()? } else { read()? };
        if self.tables_only {
            without::write_page()?;
        }
        let docs = root().join("docs");
        write(&docs.join("attacks.json"), json(&records)?)?;
        write(&docs.join("attacks.md"), page(&records))?;
        say::step(format!(
            "{} results are in docs/attacks.md and docs/attacks.json",
            records.len()
        ));
        Ok(passed)
    }
}

/// What the names of all tests of the catalogue contain.
const FILTER: &str = "attacks_";

/// Where the guests leave the results, one folder for each kernel.
pub(crate) fn results() -> PathBuf {
    target().join("attacks")
}

/// What came of one attack, as the guest wrote it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    group: String,
    attack: String,
    user: String,
    kernel: usize,
    hook: Option<String>,
    result: String,
    control: String,
    reason: String,
}

impl Record {
    fn new(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let kernel = text("kernel")?;
        Some(Self {
            group: text("group")?,
            attack: text("attack")?,
            user: text("user")?,
            kernel: kernels().iter().position(|name| *name == kernel)?,
            hook: text("hook"),
            result: text("result")?,
            control: text("control")?,
            reason: text("reason")?,
        })
    }
}

/// The names of the kernels, the oldest first.
pub(crate) fn kernels() -> Vec<&'static str> {
    let mut names: Vec<_> = Series::ALL.iter().map(|series| series.name()).collect();
    let number =
        |name: &str| -> Vec<u32> { name.split('.').filter_map(|part| part.parse().ok()).collect() };
    names.sort_by_key(|name| number(name));
    names
}

fn has_results() -> bool {
    kernels().iter().any(|kernel| results().join(kernel).is_dir())
}

/// The results that `docs/attacks.json` has.
fn committed() -> Result<Vec<Record>> {
    let path = root().join("docs/attacks.json");
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    parse(&text).with_context(|| format!("`{}` has no list of results", path.display()))
}

fn parse(text: &str) -> Result<Vec<Record>> {
    let list: Vec<Value> = serde_json::from_str(text)?;
    let records = list
        .iter()
        .map(|value| Record::new(value).with_context(|| format!("not a result: {value}")));
    records.collect()
}

/// Reads what all guests left, in the order of group, attack, user and kernel.
fn read() -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for kernel in kernels() {
        let folder = results().join(kernel);
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("no results of {kernel}: run `cargo xtask attacks`"))?;
        let before = records.len();
        for entry in entries {
            let path = entry?.path();
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read `{}`", path.display()))?;
            let list = parse(&text)
                .with_context(|| format!("`{}` has no list of results", path.display()))?;
            records.extend(list);
        }
        if records.len() == before {
            bail!("no results of {kernel}: run `cargo xtask attacks`");
        }
    }
    records.sort();
    Ok(records)
}

fn json(records: &[Record]) -> Result<String> {
    let kernels = kernels();
    let mut text = String::from("[\n");
    for (place, record) in records.iter().enumerate() {
        let value = serde_json::json!({
            "attack": record.attack,
            "group": record.group,
            "hook": record.hook,
            "user": record.user,
            "kernel": kernels.get(record.kernel),
            "result": record.result,
            "control": record.control,
            "reason": record.reason,
        });
        text.push_str(&serde_json::to_string(&value)?);
        text.push_str(if place + 1 < records.len() { ",\n" } else { "\n" });
    }
    text.push_str("]\n");
    Ok(text)
}

/// The text before the lists.
const HEAD: &str = "\
# Attacks
Each attack is made by real system calls in a session, as root and as an ordinary user, on each kernel; beside it \
the same act on what the session may use succeeds. Written by `cargo xtask attacks` from the results of \
`tests/attacks`; every single one is in [attacks.json](attacks.json), what gets through without a hook in \
[hooks.md](hooks.md).

";
/// The reason of a result that the kernel gives without any session.
const KERNEL_REFUSES: &str = "the kernel refuses it to an ordinary user";
/// The mark of an attack that only root can make.
const ROOT_ONLY: char = '°';

/// All results of each attack, by group and name.
type Attempts<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Record>>;

/// The page: counts, a table of the attacks that are not stopped everywhere, and a list of all others.
fn page(records: &[Record]) -> String {
    let mut attempts = Attempts::new();
    for record in records {
        attempts.entry((&record.group, &record.attack)).or_default().push(record);
    }
    let count = attempts.len();
    let open = attempts.values().filter(|row| row.iter().any(|record| is_open(record))).count();
    let (stopped, exceptions): (Attempts<'_>, Attempts<'_>) =
        attempts.into_iter().partition(|(_, row)| is_stopped_everywhere(row));
    let mut text = HEAD.to_owned();
    // Writing to a string can't fail.
    let _ = writeln!(
        text,
        "{count} attacks: {} are stopped, {open} are not, on one kernel at least. {ROOT_ONLY}: as root; \
         to an ordinary user the kernel itself refuses it.\n",
        count - open
    );
    write_exceptions(&mut text, &exceptions);
    write_stopped(&mut text, &stopped);
    text
}

/// Whether an attack is stopped on all kernels, as root by a hook, and as a user by a hook or, on all kernels
/// alike, by the kernel's own rules.
fn is_stopped_everywhere(row: &[&Record]) -> bool {
    let cells = |user| cells(row, user);
    cells("root").iter().all(|cell| *cell == "✓")
        && (cells("user").iter().all(|cell| *cell == "✓") || is_root_only(row))
}

fn is_root_only(row: &[&Record]) -> bool {
    row.iter()
        .filter(|record| record.user == "user")
        .all(|record| !is_open(record) && record.hook.is_none() && record.reason == KERNEL_REFUSES)
}

fn write_exceptions(text: &mut String, exceptions: &Attempts<'_>) {
    if exceptions.is_empty() {
        return;
    }
    let kernels = kernels();
    let _ = writeln!(
        text,
        "## Exceptions\n✓ stopped, ✗ not stopped, – refused by the kernel itself or not there.\n\n\
         | attack | as | {} | why |\n| --- | --- |{} --- |",
        kernels.join(" | "),
        " :-: |".repeat(kernels.len())
    );
    for ((group, attack), row) in exceptions {
        let users: &[&str] = if cells(row, "root") == cells(row, "user") {
            &["both"]
        } else if is_root_only(row) {
            &["root°"]
        } else {
            &["root", "user"]
        };
        for user in users {
            let one = if *user == "user" { "user" } else { "root" };
            let _ = writeln!(
                text,
                "| {group}: {attack} | {user} | {} | {} |",
                cells(row, one).join(" | "),
                reasons(row, one)
            );
        }
    }
    text.push('\n');
}

fn write_stopped(text: &mut String, stopped: &Attempts<'_>) {
    let mut hooks: BTreeMap<(&str, String), Vec<String>> = BTreeMap::new();
    for ((group, attack), row) in stopped {
        let name =
            if is_root_only(row) { format!("{attack}{ROOT_ONLY}") } else { (*attack).to_owned() };
        hooks.entry((group, hooks_of(row))).or_default().push(name);
    }
    let _ = writeln!(
        text,
        "## Stopped\nOn {}, as root and as an ordinary user, by the hook before the colon.",
        kernels().join(", ")
    );
    let mut last = "";
    for ((group, hook), attacks) in &hooks {
        if *group != last {
            let _ = writeln!(text, "\n### {group}");
            last = group;
        }
        let _ = writeln!(text, "\n{hook}: {}", attacks.join("; "));
    }
}

/// The hooks that stop an attack, or the daemon, which refuses requests to itself.
fn hooks_of(row: &[&Record]) -> String {
    let hooks: BTreeSet<&str> = row.iter().filter_map(|record| record.hook.as_deref()).collect();
    let names = hooks.iter().map(|hook| match *hook {
        "daemon" => "the daemon".to_owned(),
        hook => format!("`{hook}`"),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// A mark for each kernel, the oldest first; empty where there is no result.
fn cells(row: &[&Record], user: &str) -> Vec<&'static str> {
    let cell = |kernel| {
        let record = row.iter().find(|record| record.user == user && record.kernel == kernel);
        record.map_or("", |record| mark(record))
    };
    (0..kernels().len()).map(cell).collect()
}

/// Why no hook stopped it, in all words that the results of this user have.
fn reasons(row: &[&Record], user: &str) -> String {
    let records = row.iter().filter(|record| record.user == user && record.hook.is_none());
    let reasons: BTreeSet<&str> = records.map(|record| record.reason.as_str()).collect();
    reasons.into_iter().collect::<Vec<_>>().join("; ")
}

fn is_open(record: &Record) -> bool {
    record.result != "stopped"
}

fn mark(record: &Record) -> &'static str {
    match record {
        _ if is_open(record) => "✗",
        record if record.control != "passed" => "?",
        record if record.hook.is_none() => "–",
        _ => "✓",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(user: &str, kernel: usize, result: &str) -> Record {
        let stopped = result == "stopped";
        Record {
            group: "files".to_owned(),
            attack: "read a file".to_owned(),
            user: user.to_owned(),
            kernel,
            hook: stopped.then(|| "file_open".to_owned()),
            result: result.to_owned(),
            control: "passed".to_owned(),
            reason: if stopped { "no_tool" } else { "known" }.to_owned(),
        }
    }

    fn both(change: impl Fn(&mut Record)) -> Vec<Record> {
        let users = ["root", "user"].iter();
        let mut records: Vec<_> =
            users.flat_map(|user| (0..4).map(|kernel| record(user, kernel, "stopped"))).collect();
        records.iter_mut().for_each(change);
        records
    }

    #[test]
    fn page_lists_by_hook_what_is_stopped_everywhere() {
        let mut records = both(|_| ());
        records.extend(both(|record| record.attack = "write a file".to_owned()));
        let text = page(&records);
        assert!(text.contains("### files\n\n`file_open`: read a file; write a file\n"), "{text}");
        assert!(text.contains("2 attacks: 2 are stopped, 0 are not"), "{text}");
        assert!(!text.contains("## Exceptions"), "{text}");
    }

    #[test]
    fn page_marks_what_the_kernel_refuses_to_users() {
        let text = page(&both(|record| {
            if record.user == "user" {
                record.hook = None;
                record.reason = KERNEL_REFUSES.to_owned();
            }
        }));
        assert!(text.contains("\n`file_open`: read a file°\n"), "{text}");
    }

    #[test]
    fn page_has_one_line_for_what_only_root_can_try_and_is_not_stopped() {
        let text = page(&both(|record| {
            record.hook = None;
            record.reason = KERNEL_REFUSES.to_owned();
            if record.user == "root" {
                record.result = "not_stopped".to_owned();
                record.reason = "known".to_owned();
            }
        }));
        assert!(text.contains("| files: read a file | root° | ✗ | ✗ | ✗ | ✗ | known |"), "{text}");
        assert!(!text.contains("| user |"), "{text}");
    }

    #[test]
    fn page_names_every_hook_and_the_daemon() {
        let text = page(&both(|record| {
            if record.kernel == 0 {
                record.hook = Some("daemon".to_owned());
            }
        }));
        assert!(text.contains("\nthe daemon, `file_open`: read a file\n"), "{text}");
    }

    #[test]
    fn page_has_the_reason_of_what_is_not_stopped() {
        let mut records: Vec<_> = (0..4).map(|kernel| record("root", kernel, "stopped")).collect();
        records.extend((0..4).map(|kernel| record("user", kernel, "not_stopped")));
        let text = page(&records);
        assert!(text.contains("| files: read a file | root | ✓ | ✓ | ✓ | ✓ |  |"), "{text}");
        assert!(text.contains("| files: read a file | user | ✗ | ✗ | ✗ | ✗ | known |"), "{text}");
        assert!(text.contains("1 attacks: 0 are stopped, 1 are not"), "{text}");
        assert!(!text.contains("### files"), "{text}");
    }

    #[test]
    fn page_has_what_differs_by_kernel_as_an_exception() {
        let text = page(&both(|record| {
            if record.kernel == 0 {
                record.hook = None;
                record.reason = "no such call".to_owned();
            }
        }));
        assert!(
            text.contains("| files: read a file | both | – | ✓ | ✓ | ✓ | no such call |"),
            "{text}"
        );
        assert!(text.contains("1 attacks: 1 are stopped, 0 are not"), "{text}");
    }

    #[test]
    fn page_has_a_failed_control_and_a_missing_result_as_exceptions() {
        let failed = page(&both(|record| record.control = "failed".to_owned()));
        assert!(failed.contains("| files: read a file | both | ? | ? | ? | ? |  |"), "{failed}");
        let mut records = both(|_| ());
        records.retain(|record| record.kernel != 3);
        let missing = page(&records);
        assert!(missing.contains("| files: read a file | both | ✓ | ✓ | ✓ |  |  |"), "{missing}");
    }

    #[test]
    fn page_in_docs_is_that_of_the_committed_results() {
        let text = page(&committed().unwrap());
        let is_same = text == include_str!("../../docs/attacks.md");
        assert!(is_same, "docs/attacks.md is stale: run `cargo xtask attacks --tables-only`");
    }

    #[test]
    fn record_of_another_form_is_none() {
        let value = serde_json::json!({"attack": "a", "kernel": "2.6"});
        assert!(Record::new(&value).is_none());
    }

    #[test]
    fn kernels_are_in_the_order_of_their_age() {
        assert_eq!(kernels(), ["6.1", "6.12", "6.18", "7"]);
    }
}
