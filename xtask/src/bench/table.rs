//! Results as aligned text. It must not judge: `targets` does.

use std::fmt::Write as _;

use super::{
    results::{Flat, Profile, Real, Results, Row, Verifier},
    targets::{Judgement, judgements},
};

/// A cell that was not measured.
const NONE: &str = "–";

/// The table, each cell with what it is above bare; `✓` and `✗` tell whether a target is met.
pub(super) fn of(results: &Results) -> String {
    let head = ["operation", "bare", "floor", "untagged", "", "tagged", "", "Landlock", "AppArmor"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for row in &results.rows {
        let [untagged, tagged] = judgements(row, results);
        lines.push(vec![
            row.operation.clone(),
            row.bare.map_or(NONE.to_owned(), thousands),
            cell(row.floor, row),
            cell(row.untagged, row),
            mark(&untagged),
            cell(row.tagged, row),
            mark(&tagged),
            cell(row.landlock, row),
            cell(row.apparmor, row),
        ]);
    }
    format!("instructions on {}\n{}", results.kernel, align(&lines))
}

/// What putting the programs in force cost, in a few lines.
pub(super) fn of_verifier(verifier: &Verifier) -> String {
    let sum: u64 = verifier.programs.values().sum();
    let most = verifier.programs.iter().max_by_key(|(_, cost)| **cost);
    let mut text = format!(
        "\nremitd answered {} million instructions after its start\n\
         the verifier took {} steps for {} programs",
        verifier.start / 1_000_000,
        thousands(sum),
        verifier.programs.len()
    );
    if let Some((name, cost)) = most {
        // Writing to a string can't fail.
        let _ = write!(text, ", {} of them for `{name}`", thousands(*cost));
    }
    text.push('\n');
    text
}

/// What more of something costs.
pub(super) fn of_flat(flat: &Flat) -> String {
    let mut lines = vec![["operation", "of", "", "", "", "", ""].map(str::to_owned).to_vec()];
    for row in &flat.rows {
        let (small, large) = (row.tagged_small, row.tagged_large);
        lines.push(vec![
            row.operation.clone(),
            row.of.clone(),
            format!("{}:", thousands(row.small)),
            thousands(small),
            format!("{}:", thousands(row.large)),
            thousands(large),
            format!("{:+.1} %", percent(small, large)),
        ]);
    }
    format!("instructions in a session, on {}\n{}", flat.kernel, align(&lines))
}

/// Which programs operations run; what runs rarely is left out.
pub(super) fn of_profile(profile: &Profile) -> String {
    let head = ["operation", "column", "program", "runs", "instructions of one"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for row in profile.often() {
        lines.push(vec![
            row.operation.clone(),
            row.column.clone(),
            row.program.clone(),
            thousands(row.runs),
            thousands(row.instructions),
        ]);
    }
    format!("runs of programs on {}\n{}", profile.kernel, align(&lines))
}

/// What whole programs cost, in thousands of instructions.
pub(super) fn of_real(real: &Real) -> String {
    let head = ["work", "bare", "untagged", "", "tagged", ""];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    for row in &real.rows {
        let more = |cell| format!("{:+.2} %", percent(row.bare, cell));
        lines.push(vec![
            row.work.clone(),
            thousands(row.bare / 1000),
            thousands(row.untagged / 1000),
            more(row.untagged),
            thousands(row.tagged / 1000),
            more(row.tagged),
        ]);
    }
    let idle = &real.idle;
    format!(
        "thousands of instructions on {}\n{}\nremitd at rest, {} sessions: {} KiB, {} wake-ups a minute, \
         {} instructions a second\n",
        real.kernel,
        align(&lines),
        idle.sessions,
        thousands(idle.resident_kib),
        idle.wakeups_per_minute,
        thousands(idle.instructions_per_second)
    )
}

/// A figure, what it is above bare, and that in percent.
fn cell(measured: Option<u64>, row: &Row) -> String {
    let Some(measured) = measured else { return NONE.to_owned() };
    let Some(bare) = row.bare else { return thousands(measured) };
    let sign = if measured < bare { '-' } else { '+' };
    let more = thousands(measured.abs_diff(bare));
    format!("{} {sign}{more} ({:+.1} %)", thousands(measured), percent(bare, measured))
}

/// What `to` is above `from`, in percent.
pub(super) fn percent(from: u64, to: u64) -> f64 {
    (to as f64 / from as f64 - 1.0) * 100.0
}

fn mark(judged: &[Judgement]) -> String {
    let mark = match judged {
        [] => "",
        all if all.iter().all(Judgement::is_met) => "✓",
        _ => "✗",
    };
    mark.to_owned()
}

/// A number with a comma at each thousand.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns of equal width: the first to the left, the others to the right.
fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut shown = String::new();
        for (place, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Writing to a string can't fail.
            let _ = match place {
                0 => write!(shown, "{cell:width$}"),
                _ => write!(shown, "  {cell:>width$}"),
            };
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cell_shows_what_it_is_above_bare() {
        let row = Row { bare: Some(7000), ..Row::default() };
        assert_eq!(cell(Some(8050), &row), "8,050 +1,050 (+15.0 %)");
        assert_eq!(cell(Some(6993), &row), "6,993 -7 (-0.1 %)");
        assert_eq!(cell(None, &row), NONE);
    }

    #[test]
    fn thousands_have_commas() {
        assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
    }
}
