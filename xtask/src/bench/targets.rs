//! What operations may cost, as data, and which of them cost more.

use Limit::{Bare, BelowAppArmor, BelowLandlock, Floor, Percent, Times};

use super::results::{Results, Row};

/// The most that an operation may cost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    /// So many instructions more than beside empty programs on the same hooks.
    Floor(u64),
    /// What it costs bare.
    Bare,
    /// So many percent more than bare.
    Percent(f64),
    /// Less than under Landlock.
    BelowLandlock,
    /// Less than under AppArmor.
    BelowAppArmor,
    /// So many times what another operation costs in a session.
    Times(u64, &'static str),
}

/// The limits of one operation.
struct Target {
    operation: &'static str,
    untagged: &'static [Limit],
    tagged: &'static [Limit],
}

const fn target(
    operation: &'static str,
    untagged: &'static [Limit],
    tagged: &'static [Limit],
) -> Target {
    Target { operation, untagged, tagged }
}

/// All targets, for kernel 6.12.
const TARGETS: &[Target] = &[
    target("open+close", &[Floor(15)], &[Percent(5.0)]),
    target("open+close, first time", &[Floor(15)], &[Percent(40.0), BelowLandlock]),
    target("stat", &[Bare], &[Bare]),
    target("access", &[Bare], &[Bare]),
    target("read of 1 byte", &[Bare], &[Bare]),
    target("write of 1 byte", &[Bare], &[Bare]),
    target("read of 4 KiB", &[Bare], &[Bare]),
    target("write of 4 KiB", &[Bare], &[Bare]),
    target("read of 1 byte, recallable", &[Floor(15)], &[Floor(150)]),
    target("write of 1 byte, recallable", &[Floor(15)], &[Floor(150)]),
    target("read of 4 KiB, recallable", &[Floor(15)], &[Floor(150)]),
    target("write of 4 KiB, recallable", &[Floor(15)], &[Floor(150)]),
    target("UDP connect", &[Floor(15)], &[Floor(150), BelowAppArmor]),
    target("TCP connect+close", &[Percent(1.0)], &[Percent(2.0)]),
    target("unlink", &[Floor(15)], &[Percent(10.0)]),
    target("rename", &[Floor(15)], &[Percent(10.0)]),
    target("mkdir", &[Floor(15)], &[Percent(10.0)]),
    target("fork+exit", &[Percent(0.5)], &[Percent(2.0)]),
    target("fork+exec+exit", &[Percent(0.5)], &[Percent(3.0)]),
    target("refused open", &[], &[Times(3, "open+close")]),
    target("no session on the host", &[Bare], &[]),
];

/// What may lie between two measurements of the very same thing, in percent: how long the chains
/// of the kernel's hash tables are differs as files come and go. A program on the operation's hook
/// costs far more.
const NOISE: f64 = 0.2;

/// A cell's limit, as it is for these results.
pub(super) struct Judgement {
    measured: u64,
    most: u64,
    limit: String,
}

impl Judgement {
    /// Whether the target is met.
    pub(super) fn is_met(&self) -> bool {
        self.measured <= self.most
    }
}

/// A limit in the figures of a row; none where what it compares with was not measured.
fn judge(measured: u64, limit: Limit, row: &Row, results: &Results) -> Option<Judgement> {
    let with_noise = |exact: u64| exact + (exact as f64 * NOISE / 100.0) as u64;
    let (most, limit) = match limit {
        Floor(more) => (row.floor? + more, format!("floor + {more}")),
        Bare => (with_noise(row.bare?), "bare".to_owned()),
        Percent(more) => {
            ((row.bare? as f64 * (1.0 + more / 100.0)) as u64, format!("bare + {more} %"))
        }
        BelowLandlock => (row.landlock?.saturating_sub(1), "below Landlock's".to_owned()),
        BelowAppArmor => (row.apparmor?.saturating_sub(1), "below AppArmor's".to_owned()),
        Times(times, other) => {
            (results.row(other)?.tagged? * times, format!("{times} × `{other}`"))
        }
    };
    Some(Judgement { measured, most, limit })
}

/// The judgements on the two cells of a row that are Remit's: untagged, tagged.
pub(super) fn judgements(row: &Row, results: &Results) -> [Vec<Judgement>; 2] {
    let found = TARGETS.iter().find(|target| target.operation == row.operation);
    let (untagged, tagged) = found.map_or((&[][..], &[][..]), |one| (one.untagged, one.tagged));
    [(row.untagged, untagged), (row.tagged, tagged)].map(|(cell, limits)| {
        let of = |cell| limits.iter().filter_map(move |limit| judge(cell, *limit, row, results));
        cell.into_iter().flat_map(of).collect()
    })
}

/// The targets that are not met, in words.
pub(super) fn missed(results: &Results) -> Vec<String> {
    let mut missed = Vec::new();
    for row in &results.rows {
        for (name, judged) in ["untagged", "tagged"].into_iter().zip(judgements(row, results)) {
            for one in judged.iter().filter(|one| !one.is_met()) {
                missed.push(format!(
                    "target missed: `{}`, {name}: {}, at most {} ({})",
                    row.operation, one.measured, one.most, one.limit
                ));
            }
        }
    }
    missed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed_with(untagged: u64, tagged: u64) -> usize {
        let row = Row {
            operation: "UDP connect".to_owned(),
            bare: Some(2000),
            floor: Some(2200),
            untagged: Some(untagged),
            tagged: Some(tagged),
            apparmor: Some(2351),
            ..Row::default()
        };
        missed(&Results { kernel: String::new(), rows: vec![row] }).len()
    }

    #[test]
    fn missed_each_limit_counts_for_itself() {
        assert_eq!(missed_with(2215, 2350), 0);
        assert_eq!(missed_with(2216, 2350), 1);
        assert_eq!(missed_with(2215, 2351), 2);
        assert_eq!(missed_with(2216, 2400), 3);
    }
}
