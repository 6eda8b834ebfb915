//! `cargo xtask test --without HOOK`: that the tests notice when a hook's program is left out. Writes
//! `docs/hooks.json` and `docs/hooks.md`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt::Write as _,
    fs, io,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::{Test, count::Counter, executables};
use crate::{
    attacks, build,
    project::{make_folder, root, write},
    say,
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
        let folder = attacks::results();
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
    let docs = root().join("docs");
    let path = docs.join("hooks.json");
    let old = fs::read(&path).unwrap_or_else(|_| b"[]".to_vec());
    let old: Vec<Record> = serde_json::from_slice(&old)
        .with_context(|| format!("`{}` holds no results", path.display()))?;
    let is_new = |old: &Record| {
        records.iter().any(|new| (&new.hook, &new.kernel) == (&old.hook, &old.kernel))
    };
    let kept: Vec<Record> =
        old.into_iter().filter(|record| all.contains(&record.hook) && !is_new(record)).collect();
    records.extend(kept);
    records.sort_by_key(|record| (record.hook.clone(), place(&record.kernel)));
    let lines: Vec<String> = records.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    write(&path, format!("[\n{}\n]\n", lines.join(",\n")))?;
    write(&docs.join("hooks.md"), table(&records))?;
    say::step("wrote docs/hooks.json and docs/hooks.md");
    Ok(())
}

/// The kernel's place in a table, the oldest first.
fn place(kernel: &str) -> usize {
    attacks::kernels().iter().position(|name| *name == kernel).unwrap_or(usize::MAX)
}

/// What is said before the table.
const HEAD: &str = "\
# Hooks
What gets through when a hook's program is left out: the tests notice the loss of each. Written by \
`cargo xtask test --without all --all-kernels`, which takes one program after another off its hook and tries \
the attacks that the [catalogue](attacks.md) says the hook stops. Where another hook refuses those before, it is left out as \
well: the hook has to stop them first, and then, left out too, no longer. The same as JSON, with all attacks, is in \
[hooks.json](hooks.json).

";

fn table(records: &[Record]) -> String {
    let mut hooks: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        hooks.entry(&record.hook).or_default().push(record);
    }
    let kernels = attacks::kernels();
    let mut text = HEAD.to_owned();
    // Writing to a string can't fail.
    let _ = writeln!(text, "| hook | what gets through without it | {} |", kernels.join(" | "));
    let _ = writeln!(text, "| --- | --- |{}", " :-: |".repeat(kernels.len()));
    for (hook, records) in hooks {
        let cell = |kernel: &&str| {
            let record = records.iter().find(|record| record.kernel == *kernel);
            record.map_or(String::new(), |record| match record.failed.len() {
                0 => "✗".to_owned(),
                count => count.to_string(),
            })
        };
        let cells: Vec<String> = kernels.iter().map(cell).collect();
        let example = records.iter().find_map(|record| record.failed.first());
        let also: BTreeSet<&str> =
            records.iter().flat_map(|one| one.also_without.iter().map(String::as_str)).collect();
        let mut what = example.cloned().unwrap_or_else(|| "nothing".to_owned());
        for other in also {
            let _ = write!(what, "; behind `{other}`");
        }
        let _ = writeln!(text, "| `{hook}` | {what} | {} |", cells.join(" | "));
    }
    text
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
        let text = table(&[record(&["a: b", "a: c"]), record(&[])]);
        assert!(text.contains("| `bpf` | a: b | 2 |"), "{text}");
        assert!(table(&[record(&[])]).contains("| `bpf` | nothing | ✗ |"));
    }
}
