//! What was measured, and how it compares with what was measured before.
//! It must not know where either comes from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How much more than before is worse: what differs from run to run is less.
const TOLERANCE: f64 = 0.01;

/// The same for operations that the daemon has a part in: how much it takes at once differs.
const TOLERANCE_WITH_DAEMON: f64 = 0.05;

/// Operations that the daemon has a part in.
const WITH_DAEMON: [&str; 1] = ["refused open"];

/// The table.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Results {
    /// As `uname -r` says it.
    pub(super) kernel: String,
    /// One for each operation.
    pub(super) rows: Vec<Row>,
}

/// Instructions of one operation; none where it was not measured.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Row {
    /// Its name.
    pub(super) operation: String,
    /// Under nothing.
    pub(super) bare: Option<u64>,
    /// Beside programs that do nothing, on the hooks that Remit has.
    pub(super) floor: Option<u64>,
    /// Beside Remit.
    pub(super) untagged: Option<u64>,
    /// In a session.
    pub(super) tagged: Option<u64>,
    /// Under Landlock.
    pub(super) landlock: Option<u64>,
    /// Under AppArmor.
    pub(super) apparmor: Option<u64>,
}

impl Results {
    /// The row of an operation.
    pub(super) fn row(&self, operation: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.operation == operation)
    }

    /// Takes the lesser of each of Remit's entries, from a boot more: what a hash map's random seed makes of a
    /// boot is not what the programs cost.
    pub(super) fn take_lesser(&mut self, other: &Self) {
        for row in &mut self.rows {
            let Some(other) = other.row(&row.operation) else { continue };
            for (mine, theirs) in
                [(&mut row.untagged, other.untagged), (&mut row.tagged, other.tagged)]
            {
                *mine = (*mine).zip(theirs).map(|(mine, theirs)| mine.min(theirs));
            }
        }
    }

    /// The entries of Remit's that are worse than `baseline`'s.
    pub(super) fn worse_than(&self, baseline: &Self) -> Vec<String> {
        let mut worse = Vec::new();
        for old in &baseline.rows {
            let Some(new) = self.row(&old.operation) else {
                worse.push(format!("`{}` is not measured any more", old.operation));
                continue;
            };
            // Another kernel has other costs of its own.
            let scale = match (old.bare, new.bare) {
                (Some(old), Some(new)) if self.kernel != baseline.kernel => new as f64 / old as f64,
                _ => 1.0,
            };
            for (name, old_cell, new_cell) in
                [("untagged", old.untagged, new.untagged), ("tagged", old.tagged, new.tagged)]
            {
                let Some(old_cell) = old_cell else { continue };
                let expected = old_cell as f64 * scale;
                let with_daemon = WITH_DAEMON.contains(&old.operation.as_str());
                let tolerance = if with_daemon { TOLERANCE_WITH_DAEMON } else { TOLERANCE };
                match new_cell {
                    Some(new_cell) if !is_worse_by(new_cell, expected, tolerance) => {}
                    Some(new_cell) => worse.push(format!(
                        "`{}`, {name}: {new_cell}, before {expected:.0}",
                        old.operation
                    )),
                    None => worse.push(format!("`{}`, {name}: not measured", old.operation)),
                }
            }
        }
        worse
    }
}

fn is_worse(new: u64, old: f64) -> bool {
    is_worse_by(new, old, TOLERANCE)
}

fn is_worse_by(new: u64, old: f64, tolerance: f64) -> bool {
    new as f64 > old * (1.0 + tolerance)
}

/// What putting the programs in force cost.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Verifier {
    /// Instructions of the guest from the daemon's start until it answered.
    pub(super) start: u64,
    /// Instructions that the verifier went through, by program.
    pub(super) programs: BTreeMap<String, u64>,
}

impl Verifier {
    /// The programs that cost the verifier more than `baseline` says.
    pub(super) fn worse_than(&self, baseline: &Self) -> Vec<String> {
        let costs = self.programs.iter().filter_map(|(name, new)| {
            let old = *baseline.programs.get(name)?;
            let entry = || format!("the verifier's steps of `{name}`: {new}, before {old}");
            is_worse(*new, old as f64).then(entry)
        });
        costs.collect()
    }
}

/// What more of something costs.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Flat {
    /// As `uname -r` says it.
    pub(super) kernel: String,
    /// One for each operation and thing.
    pub(super) rows: Vec<Sizes>,
}

/// One operation in a session, where there is little and where there is much of something.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Sizes {
    /// The operation's name.
    pub(super) operation: String,
    /// Of what there is more.
    pub(super) of: String,
    /// How many at first.
    pub(super) small: u64,
    /// How many then.
    pub(super) large: u64,
    /// Instructions at first.
    pub(super) tagged_small: u64,
    /// Instructions then.
    pub(super) tagged_large: u64,
}

impl Flat {
    /// The entries that are worse than `baseline`'s.
    pub(super) fn worse_than(&self, baseline: &Self) -> Vec<String> {
        let find = |new: &Sizes| {
            let is_same = |old: &&Sizes| old.operation == new.operation && old.of == new.of;
            baseline.rows.iter().find(is_same)
        };
        let worse = self.rows.iter().filter_map(|new| {
            let (old, cell) = (find(new)?.tagged_large, new.tagged_large);
            let what = format!("`{}` with {} {}", new.operation, new.large, new.of);
            is_worse(cell, old as f64).then(|| format!("{what}: {cell}, before {old}"))
        });
        worse.collect()
    }
}

/// Which programs operations run.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Profile {
    /// As `uname -r` says it.
    pub(super) kernel: String,
    /// One for each operation, column and program.
    pub(super) rows: Vec<Runs>,
}

impl Profile {
    /// The runs that are the operation's own: not those of programs that ran now and then meanwhile.
    pub(super) fn often(&self) -> impl Iterator<Item = &Runs> {
        self.rows.iter().filter(|row| {
            let is_same =
                |other: &&Runs| (&other.operation, &other.column) == (&row.operation, &row.column);
            let most = self.rows.iter().filter(is_same).map(|other| other.runs).max();
            row.runs >= most.unwrap_or_default() / 10
        })
    }
}

/// The runs of a program while an operation was measured.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Runs {
    /// The operation's name.
    pub(super) operation: String,
    /// The column's.
    pub(super) column: String,
    /// The program's.
    pub(super) program: String,
    /// How many there were.
    pub(super) runs: u64,
    /// Instructions of one, on average.
    pub(super) instructions: u64,
}

/// Whole programs at work, and the daemon at rest.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Real {
    /// As `uname -r` says it.
    pub(super) kernel: String,
    /// One for each piece of work.
    pub(super) rows: Vec<Work>,
    /// The daemon with sessions that do nothing.
    pub(super) idle: Idle,
}

/// Instructions of the guest while something was done.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Work {
    /// What it is.
    pub(super) work: String,
    /// Under nothing.
    pub(super) bare: u64,
    /// Beside a session.
    pub(super) untagged: u64,
    /// In a session.
    pub(super) tagged: u64,
}

/// What the daemon takes while nothing happens.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Idle {
    /// How many sessions there are.
    pub(super) sessions: u64,
    /// Its memory, in KiB.
    pub(super) resident_kib: u64,
    /// How often its threads woke in a minute.
    pub(super) wakeups_per_minute: u64,
    /// What it ran in a second.
    pub(super) instructions_per_second: u64,
}

/// The most memory that the daemon may have, in KiB.
const RESIDENT: u64 = 15 * 1024;
/// How often it may wake in a minute, without a watchdog and a canary.
const WAKEUPS: u64 = 0;

impl Real {
    /// The targets that are not met, in words.
    pub(super) fn missed(&self) -> Vec<String> {
        let Idle { sessions, resident_kib, wakeups_per_minute: wakeups, .. } = self.idle;
        let resident = format!("{resident_kib} KiB with {sessions} sessions, below {RESIDENT}");
        let wakeups = (wakeups > WAKEUPS)
            .then(|| format!("{wakeups} wake-ups a minute with {sessions} sessions, {WAKEUPS}"));
        (resident_kib >= RESIDENT).then_some(resident).into_iter().chain(wakeups).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(kernel: &str, bare: u64, tagged: u64) -> Results {
        let row = Row {
            operation: "open".to_owned(),
            bare: Some(bare),
            tagged: Some(tagged),
            ..Row::default()
        };
        Results { kernel: kernel.to_owned(), rows: vec![row] }
    }

    #[test]
    fn worse_than_by_one_percent_is_none_and_by_more_is() {
        let old = results("6.12", 1000, 1100);
        assert_eq!(results("6.12", 1000, 1111).worse_than(&old), Vec::<String>::new());
        let worse = results("6.12", 1000, 1112).worse_than(&old);
        assert_eq!(worse, ["`open`, tagged: 1112, before 1100"]);
    }

    #[test]
    fn lesser_of_two_boots_counts() {
        let mut measured = results("6.12", 100, 120);
        measured.take_lesser(&results("6.12", 90, 110));
        measured.take_lesser(&results("6.12", 95, 115));
        assert_eq!((measured.rows[0].bare, measured.rows[0].tagged), (Some(100), Some(110)));
    }

    #[test]
    fn worse_than_on_another_kernel_is_counted_by_what_it_costs_bare() {
        let old = results("6.12", 1000, 1100);
        assert_eq!(results("6.13", 1100, 1215).worse_than(&old), Vec::<String>::new());
        assert_eq!(results("6.13", 900, 1100).worse_than(&old).len(), 1);
    }

    #[test]
    fn worse_than_operation_that_is_gone_is_said() {
        let old = results("6.12", 1000, 1100);
        let none = Results { kernel: "6.12".to_owned(), rows: Vec::new() };
        assert_eq!(none.worse_than(&old).len(), 1);
    }
}
