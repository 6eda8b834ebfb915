//! `docs/agents.md`, made from the results. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{Record, install::AGENTS};
use crate::vm::kernel::Series;

const HEAD: &str = "\
# Agents
Written by `cargo xtask agents`: each agent is installed from its registry and runs against a model on loopback that \
tells it what to do: make a file, change it, commit, read a file outside. First outside of a session; then in one, on \
a fresh home, and again on what that left there.

";

/// The page.
pub(super) fn page(records: &[Record], kernel: Series) -> String {
    let mut text = HEAD.to_owned();
    // Writing to a text does not fail.
    let _ =
        writeln!(text, "On {}. ✓: all was done, and the file outside refused.\n", kernel.name());
    text.push_str("| agent | version | as | outside | first start | second start |\n");
    text.push_str("| --- | --- | --- | :-: | :-: | :-: |\n");
    for agent in &AGENTS {
        for user in ["root", "user"] {
            let cell = |way: &str| {
                let found = records.iter().find(|record| {
                    record.text("agent") == agent.name
                        && record.text("user") == user
                        && record.text("way") == way
                });
                match found {
                    Some(record) if record.list("wrong").is_empty() => "✓".to_owned(),
                    Some(record) => format!("✗ {}", record.list("wrong").join("; ")),
                    None => String::new(),
                }
            };
            let _ = writeln!(
                text,
                "| {} | {} | {user} | {} | {} | {} |",
                agent.name,
                agent.version,
                cell("outside"),
                cell("first start"),
                cell("second start")
            );
        }
    }
    let mut refused: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for record in records {
        refused.entry(record.text("agent")).or_default().extend(record.list("refused"));
    }
    text.push_str("\n## Refused besides\nWhat an agent tried by itself, and did without.\n");
    for agent in &AGENTS {
        let _ = writeln!(text, "\n### {}", agent.name);
        match refused.get(agent.name) {
            Some(list) if !list.is_empty() => {
                for what in list {
                    let _ = writeln!(text, "- `{what}`");
                }
            }
            _ => text.push_str("Nothing.\n"),
        }
    }
    text
}
