//! `cargo xtask attacks`: the catalogue of attacks on all kernels, and what came of it as `docs/attacks.md`
//! and `docs/attacks.json`. Owns the folder `target/attacks`.

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
    test::Test,
    vm::kernel::Series,
};

/// Tries the attacks on all kernels and writes their tables in `docs`.
#[derive(clap::Args)]
pub(crate) struct Attacks {
    /// Write the tables from the results that are there, without booting anything.
    #[arg(long)]
    tables_only: bool,
}

impl Attacks {
    /// Runs the tests of the catalogue, writes the tables, and tells whether all came out as expected.
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
        let records = read()?;
        let docs = root().join("docs");
        write(&docs.join("attacks.json"), json(&records)?)?;
        write(&docs.join("attacks.md"), table(&records))?;
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
            let list: Vec<Value> = serde_json::from_str(&text)
                .with_context(|| format!("`{}` is no list", path.display()))?;
            for value in &list {
                let record = Record::new(value);
                records.push(record.with_context(|| format!("not a result: {value}"))?);
            }
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

/// What is said before the tables.
const HEAD: &str = "\
# Attacks
What an agent might try, each tried by real system calls in a session, as root and as an ordinary user, \
beside the same act on what the session may use (the control, which succeeds). Outside of every session \
each of them succeeds, or fails as the kernel itself has it. Written by `cargo xtask attacks` from what \
came of the tests in `tests/attacks`; the same as JSON is in [attacks.json](attacks.json). \
What gets through when a hook is left out is in [hooks.md](hooks.md).

";

/// One row of the table: an attack, with what came of it for each user and kernel.
type Rows<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Record>>;

fn table(records: &[Record]) -> String {
    let kernels = kernels();
    let mut rows = Rows::new();
    for record in records {
        rows.entry((&record.group, &record.attack)).or_default().push(record);
    }
    let mut text = HEAD.to_owned();
    let open = rows.values().filter(|row| row.iter().any(|record| is_open(record))).count();
    let _ = writeln!(
        text,
        "{} attacks: {} are stopped, {open} are not, on one kernel at least. ✓ stopped, ✗ not stopped, – \
         refused by the kernel to every ordinary user or not there.\n",
        rows.len(),
        rows.len() - open,
    );
    let groups: BTreeSet<&str> = rows.keys().map(|(group, _)| *group).collect();
    for group in groups {
        let _ = writeln!(text, "## {group}\n| attack | hook | user | {} | |", kernels.join(" | "));
        let _ = writeln!(text, "| --- | --- | --- |{} --- |", " :-: |".repeat(kernels.len()));
        for ((_, attack), row) in rows.iter().filter(|((of, _), _)| *of == group) {
            for line in lines(attack, row, kernels.len()) {
                let _ = writeln!(text, "{line}");
            }
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The lines of an attack: one where both users have the same, else one for each.
fn lines(attack: &str, row: &[&Record], kernels: usize) -> Vec<String> {
    let of = |user: &str| row.iter().copied().filter(|record| record.user == user).collect();
    let (root, ordinary): (Vec<&Record>, Vec<&Record>) = (of("root"), of("user"));
    let cells = |records: &[&Record]| {
        let cell = |kernel| {
            records.iter().find(|record| record.kernel == kernel).map_or("", |record| mark(record))
        };
        (0..kernels).map(cell).collect::<Vec<_>>().join(" | ")
    };
    let line = |user: &str, records: &[&Record]| {
        let hooks: BTreeSet<String> = records
            .iter()
            .filter_map(|record| record.hook.as_deref())
            .map(|hook| format!("`{hook}`"))
            .collect();
        let hooks = hooks.into_iter().collect::<Vec<_>>().join(", ");
        let unstopped = records.iter().filter(|record| record.hook.is_none());
        let reasons: BTreeSet<&str> = unstopped.map(|record| record.reason.as_str()).collect();
        let reasons = reasons.into_iter().collect::<Vec<_>>().join("; ");
        format!("| {attack} | {hooks} | {user} | {} | {reasons} |", cells(records))
    };
    if cells(&root) == cells(&ordinary) {
        return vec![line("both", row)];
    }
    vec![line("root", &root), line("user", &ordinary)]
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

    #[test]
    fn table_has_one_line_for_both_users_where_they_agree() {
        let records: Vec<_> = ["root", "user"]
            .iter()
            .flat_map(|user| (0..4).map(|kernel| record(user, kernel, "stopped")))
            .collect();
        let text = table(&records);
        assert!(text.contains("| read a file | `file_open` | both | ✓ | ✓ | ✓ | ✓ |  |"), "{text}");
        assert!(text.contains("1 attacks: 1 are stopped, 0 are not"), "{text}");
    }

    #[test]
    fn table_has_the_reason_of_what_is_not_stopped() {
        let mut records: Vec<_> = (0..4).map(|kernel| record("root", kernel, "stopped")).collect();
        records.extend((0..4).map(|kernel| record("user", kernel, "not_stopped")));
        let text = table(&records);
        assert!(text.contains("| read a file |  | user | ✗ | ✗ | ✗ | ✗ | known |"), "{text}");
        assert!(text.contains("1 attacks: 0 are stopped, 1 are not"), "{text}");
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
