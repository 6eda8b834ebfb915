//! `cargo xtask attacks`: the catalogue of attacks on all kernels, and its results as `docs/attacks.md` and
//! `docs/attacks.json`. Owns the folder `target/attacks`.

mod page;

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use self::page::page;
use crate::{
    hunt::faults,
    project::{attack_results, remove_folder, root, write},
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
            remove_folder(&attack_results())?;
            Test::for_all_kernels(FILTER).run()?
        };
        let records = if self.tables_only && !has_results() { committed()? } else { read()? };
        if self.tables_only {
            without::write_page()?;
        }
        let docs = root().join("docs");
        write(&docs.join("attacks.json"), json(&records)?)?;
        write(&docs.join("attacks.md"), page(&records, &faults::list()?))?;
        say::step(format!(
            "{} results are in docs/attacks.md and docs/attacks.json",
            records.len()
        ));
        Ok(passed)
    }
}

/// What the names of all tests of the catalogue contain.
const FILTER: &str = "attacks_";

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
            kernel: Series::by_age().iter().position(|name| *name == kernel)?,
            hook: text("hook"),
            result: text("result")?,
            control: text("control")?,
            reason: text("reason")?,
        })
    }
}

fn has_results() -> bool {
    Series::by_age().iter().any(|kernel| attack_results().join(kernel).is_dir())
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
    for kernel in Series::by_age() {
        let folder = attack_results().join(kernel);
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
    let kernels = Series::by_age();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_of_another_form_is_none() {
        let value = serde_json::json!({"attack": "a", "kernel": "2.6"});
        assert!(Record::new(&value).is_none());
    }
}
