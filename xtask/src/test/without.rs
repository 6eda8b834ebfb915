//! `cargo xtask test --without HOOK`: checks that the tests notice when a hook's program is left out. Writes
//! `docs/hooks.json` and `docs/hooks.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt::Write as _,
    fs, io,
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Test, count::Counter, executables};
use crate::{
    build,
    project::{attack_results, make_folder, root, write},
    say,
    vm::kernel::Series,
};

/// The test that leaves out one hook after another and tries what it stops.
const SEARCH: &str = "hooks_are_each_missed_when_left_out";
/// The longest that one hook may take, on a busy machine.
const ONE: Duration = Duration::from_secs(60);
/// All hooks.
const ALL: &str = "all";

/// What came of leaving out one hook, as the guest wrote it.
#[derive(Clone, Deserialize, Serialize)]
struct Record {
    hook: String,
    kernel: String,
    /// What gets through without it.
    failed: Vec<String>,
    /// What it stops according to the catalogue, and another hook too.
    stopped: Vec<String>,
    /// The hooks that had to be left out as well.
    also_without: Vec<String>,
}

impl Test {
    /// Leaves out a hook, or all one after another, and tells whether each is missed.
    ///
    /// # Errors
    /// When there is no such hook, or a guest can't be booted.
    pub(super) fn without(&self, hook: &str) -> Result<bool> {
        let object = if self.no_build { build::object_path() } else { build::object()? };
        let all = hooks_of(&fs::read(&object)?);
        let hooks = match hook {
            ALL => all.clone(),
            hook if all.iter().any(|one| one == hook) => vec![hook.to_owned()],
            _ => bail!("no hook `{hook}`; there are:\n{}", all.join(", ")),
        };
        build::hole(&object)?;
        match &self.filter {
            Some(_) if hook == ALL => bail!("a filter goes with one hook"),
            Some(filter) => self.tests_without(hook, filter),
            None => self.attacks_without(&hooks, &all),
        }
    }

    /// Runs the tests that match with one hook left out: one of them is to fail.
    fn tests_without(&self, hook: &str, filter: &str) -> Result<bool> {
        let executables = executables::with_tests(Some(filter))?;
        let fit: Vec<_> =
            executables.into_iter().filter(|path| !executables::is_for_unfit_host(path)).collect();
        if fit.is_empty() {
            bail!("no test matches `{filter}`");
        }
        let mut missed = true;
        for series in self.kernels() {
            let (counter, counts) = Counter::new(io::stdout());
            let mut guest = self.guest(self.setup(series, 2), &fit, Box::new(counter))?;
            guest.environment.push(("REMIT_WITHOUT_HOOK".into(), hook.into()));
            guest.run(series)?;
            let failures = counts.failures();
            if failures.is_empty() {
                println!("{hook}: not covered on {} by `{filter}`", series.name());
                missed = false;
            } else {
                println!("{hook}: missed on {} by {}", series.name(), failures.join(", "));
            }
        }
        Ok(missed)
    }

    /// Has the guest leave out the hooks one after another.
    fn attacks_without(&self, hooks: &[String], all: &[String]) -> Result<bool> {
        let executables = executables::with_tests(Some(SEARCH))?;
        let [executable] = executables.as_slice() else { bail!("no test `{SEARCH}`") };
        let folder = attack_results();
        make_folder(&folder)?;
        let mut records = Vec::new();
        for series in self.kernels() {
            let results = folder.join(format!("holes-{}.json", series.name()));
            let _ = fs::remove_file(&results);
            let mut guest =
                self.guest(self.setup(series, 1), &executables, Box::new(io::stdout()))?;
            let words = [executable.as_os_str(), "--ignored".as_ref(), "--exact".as_ref()];
            guest.command = words.map(OsString::from).to_vec();
            guest.timeout += ONE * u32::try_from(hooks.len())?;
            guest.command.extend([SEARCH.into(), "--nocapture".into()]);
            guest.environment.push(("REMIT_HOLES".into(), hooks.join(",").into()));
            say::step(format!("leaving out {} hooks on {}", hooks.len(), series.name()));
            let status = guest.run(series)?;
            let text = fs::read(&results)
                .with_context(|| format!("the search ended with status {status}"))?;
            let found: Vec<Record> = serde_json::from_slice(&text)
                .with_context(|| format!("`{}` holds no results", results.display()))?;
            records.extend(found);
        }
        for record in &records {
            println!("{}", line(record));
        }
        save(records.clone(), all)?;
        Ok(records.iter().all(|record| !record.failed.is_empty()))
    }
}

/// What is said of one hook.
fn line(record: &Record) -> String {
    let Record { hook, kernel, failed, .. } = record;
    match failed.as_slice() {
        [] => format!(
            "{hook}: not covered on {kernel}: add an attack that it stops to `tests/attacks`, with \
             its name as the hook (or by `then`, where another stops it before), or a check to \
             `tests/attacks/holes.rs`"
        ),
        [first] => format!("{hook}: missed on {kernel} by `{first}`"),
        [first, more @ ..] => {
            format!("{hook}: missed on {kernel} by `{first}` and {} more", more.len())
        }
    }
}

/// The hooks of an object: its sections are named `lsm/HOOK`.
fn hooks_of(object: &[u8]) -> Vec<String> {
    let mut hooks = BTreeSet::new();
    for prefix in [&b"lsm/"[..], &b"lsm.s/"[..]] {
        for at in 0..object.len().saturating_sub(prefix.len()) {
            if !object[at..].starts_with(prefix) {
                continue;
            }
            let name = object[at + prefix.len()..].split(|byte| *byte == 0).next();
            let name = name.map(String::from_utf8_lossy).unwrap_or_default();
            let is_name =
                |byte: u8| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit();
            if !name.is_empty() && name.bytes().all(is_name) {
                hooks.insert(name.into_owned());
            }
        }
    }
    hooks.into_iter().collect()
}

/// Writes down what came of it, beside what is known of other kernels and hooks; but of hooks that are gone.
fn save(mut records: Vec<Record>, all: &[String]) -> Result<()> {
    let old = if results_path().exists() { committed()? } else { Vec::new() };
    let is_new = |old: &Record| {
        records.iter().any(|new| (&new.hook, &new.kernel) == (&old.hook, &old.kernel))
    };
    let kept: Vec<Record> =
        old.into_iter().filter(|record| all.contains(&record.hook) && !is_new(record)).collect();
    records.extend(kept);
    records.sort_by_key(|record| (record.hook.clone(), place(&record.kernel)));
    let lines: Vec<String> = records.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    write(&results_path(), format!("[\n{}\n]\n", lines.join(",\n")))?;
    write_page()?;
    say::step("wrote docs/hooks.json and docs/hooks.md");
    Ok(())
}

fn results_path() -> PathBuf {
    root().join("docs/hooks.json")
}

/// The results that `docs/hooks.json` has.
fn committed() -> Result<Vec<Record>> {
    let path = results_path();
    let text = fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("`{}` holds no results", path.display()))
}

/// Writes `docs/hooks.md` from the results in `docs/hooks.json`.
///
/// # Errors
/// When there are no such results.
pub(crate) fn write_page() -> Result<()> {
    write(&root().join("docs/hooks.md"), page(&committed()?))
}

/// The kernel's place in a table, the oldest first.
fn place(kernel: &str) -> usize {
    Series::by_age().iter().position(|name| *name == kernel).unwrap_or(usize::MAX)
}

/// The text before the list.
const HEAD: &str = "\
# Hooks
What gets through when a hook's program is left out, so that the tests notice its loss. Written by \
`cargo xtask test --without all --all-kernels`: it takes one program at a time off its hook and makes, as root, \
the attacks that this hook stops by the [catalogue](attacks.md). A line has the number of those that then succeed, \
and one of them. Where another hook would refuse them too, that one is left out first (\"after\"). \
[hooks.json](hooks.json) has all attacks by name.

";

fn page(records: &[Record]) -> String {
    let mut hooks: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        hooks.entry(&record.hook).or_default().push(record);
    }
    let mut text = HEAD.to_owned();
    // Writing to a string can't fail.
    let _ = writeln!(
        text,
        "Four numbers are those of {}; – where a kernel has no such hook.",
        Series::by_age().join(", ")
    );
    for (hook, records) in hooks {
        let example = records.iter().find_map(|record| record.failed.first());
        let example = example.map_or("nothing", |name| attack(name));
        let _ = write!(text, "\n`{hook}` {}: {example}", counts(&records));
        let others: BTreeSet<&str> =
            records.iter().flat_map(|one| one.also_without.iter().map(String::as_str)).collect();
        let others: Vec<String> = others.iter().map(|hook| format!("`{hook}`")).collect();
        if !others.is_empty() {
            let _ = write!(text, "; after {}", others.join(", "));
        }
        text.push('\n');
    }
    text
}

/// The attack's name, without its group and user.
fn attack(name: &str) -> &str {
    let name = name.trim_end_matches(" (root)");
    name.split_once(": ").map_or(name, |(_, attack)| attack)
}

/// How many attacks got through: one number, or one for each kernel where they differ.
fn counts(records: &[&Record]) -> String {
    let count = |kernel: &&str| {
        let record = records.iter().find(|record| record.kernel == *kernel);
        record.map_or("–".to_owned(), |record| record.failed.len().to_string())
    };
    let counts: Vec<String> = Series::by_age().iter().map(count).collect();
    match counts.as_slice() {
        [first, rest @ ..] if rest.iter().all(|count| count == first) => first.clone(),
        _ => counts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_are_read_from_the_names_of_sections() {
        let object = b"\x7fELF\0.text\0.rellsm/file_open\0lsm/bpf\0lsm.s/x_1\0lsm/{\0helsm/\0";
        assert_eq!(hooks_of(object), ["bpf", "file_open", "x_1"]);
    }

    #[test]
    fn hook_that_nothing_misses_is_not_covered() {
        let record = |failed: &[&str]| Record {
            hook: "bpf".to_owned(),
            kernel: "6.1".to_owned(),
            failed: failed.iter().map(ToString::to_string).collect(),
            stopped: Vec::new(),
            also_without: Vec::new(),
        };
        assert!(line(&record(&[])).starts_with("bpf: not covered on 6.1: add an attack"));
        assert_eq!(line(&record(&["a: b"])), "bpf: missed on 6.1 by `a: b`");
        assert!(page(&[record(&[])]).contains("\n`bpf` 0/–/–/–: nothing\n"));
    }

    #[test]
    fn page_has_one_number_where_kernels_agree_and_the_hooks_left_out_first() {
        let record = |kernel: &str, failed: &[&str]| Record {
            hook: "bpf".to_owned(),
            kernel: kernel.to_owned(),
            failed: failed.iter().map(ToString::to_string).collect(),
            stopped: Vec::new(),
            also_without: vec!["capable".to_owned()],
        };
        let kernels = Series::by_age();
        let same: Vec<_> = kernels.iter().map(|kernel| record(kernel, &["a: b (root)"])).collect();
        assert!(page(&same).contains("\n`bpf` 1: b; after `capable`\n"), "{}", page(&same));
        let differing = [record("6.1", &["a: b"]), record("7", &["a: b", "a: c"])];
        assert!(page(&differing).contains("\n`bpf` 1/–/–/2: b"), "{}", page(&differing));
    }

    #[test]
    fn page_in_docs_is_that_of_the_committed_results() {
        let is_same = page(&committed().unwrap()) == include_str!("../../../docs/hooks.md");
        assert!(is_same, "docs/hooks.md is stale: run `cargo xtask attacks --tables-only`");
    }
}
