//! `docs/attacks.md`, made from the results. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::Record;
use crate::{hunt::faults::Fault, vm::kernel::Series};

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
pub(super) fn page(records: &[Record], faults: &[Fault]) -> String {
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
    write_faults(&mut text, faults);
    text
}

/// What the hunt has to find again.
fn write_faults(text: &mut String, faults: &[Fault]) {
    text.push_str(
        "\n## Found again by the hunt\nPrograms made at random by [the hunt](hunt.md) meet each of these faults \
         in the build of an earlier commit, within 20 minutes from the seed (`cargo xtask hunt --faults`).\n\n\
         | fault | find | commit | seed |\n| --- | --- | --- | --- |\n",
    );
    for fault in faults {
        let Fault { commit, seed, kind, text: fault } = fault;
        let _ = writeln!(text, "| {fault} | {kind} | {commit} | {seed} |");
    }
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
    let kernels = Series::by_age();
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
        Series::by_age().join(", ")
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
    (0..Series::ALL.len()).map(cell).collect()
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
    use crate::{attacks::committed, hunt::faults::list};

    fn page_of(records: &[Record]) -> String {
        page(records, &[])
    }

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
        let text = page_of(&records);
        assert!(text.contains("### files\n\n`file_open`: read a file; write a file\n"), "{text}");
        assert!(text.contains("2 attacks: 2 are stopped, 0 are not"), "{text}");
        assert!(!text.contains("## Exceptions"), "{text}");
    }

    #[test]
    fn page_marks_what_the_kernel_refuses_to_users() {
        let text = page_of(&both(|record| {
            if record.user == "user" {
                record.hook = None;
                record.reason = KERNEL_REFUSES.to_owned();
            }
        }));
        assert!(text.contains("\n`file_open`: read a file°\n"), "{text}");
    }

    #[test]
    fn page_has_one_line_for_what_only_root_can_try_and_is_not_stopped() {
        let text = page_of(&both(|record| {
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
        let text = page_of(&both(|record| {
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
        let text = page_of(&records);
        assert!(text.contains("| files: read a file | root | ✓ | ✓ | ✓ | ✓ |  |"), "{text}");
        assert!(text.contains("| files: read a file | user | ✗ | ✗ | ✗ | ✗ | known |"), "{text}");
        assert!(text.contains("1 attacks: 0 are stopped, 1 are not"), "{text}");
        assert!(!text.contains("### files"), "{text}");
    }

    #[test]
    fn page_has_what_differs_by_kernel_as_an_exception() {
        let text = page_of(&both(|record| {
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
        let failed = page_of(&both(|record| record.control = "failed".to_owned()));
        assert!(failed.contains("| files: read a file | both | ? | ? | ? | ? |  |"), "{failed}");
        let mut records = both(|_| ());
        records.retain(|record| record.kernel != 3);
        let missing = page_of(&records);
        assert!(missing.contains("| files: read a file | both | ✓ | ✓ | ✓ |  |  |"), "{missing}");
    }

    #[test]
    fn page_in_docs_is_that_of_the_committed_results() {
        let text = page(&committed().unwrap(), &list().unwrap());
        let is_same = text == include_str!("../../../docs/attacks.md");
        assert!(is_same, "docs/attacks.md is stale: run `cargo xtask attacks --tables-only`");
    }
}
