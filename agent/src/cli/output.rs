//! Output for people and scripts: aligned tables, JSON, and colours on terminals only.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use serde_json::Value;

use crate::incident::render::{Colour, printable};

/// Standard output.
#[derive(Debug)]
pub(super) struct Output {
    colour: bool,
}

/// How a cell is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Dim,
    Bold,
    Good,
    Warn,
    Bad,
}

impl Output {
    /// Standard output, in colour if it is a terminal and `NO_COLOR` is not set.
    pub(super) fn new() -> Self {
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colour: io::stdout().is_terminal() && !refused && !dumb }
    }

    /// Whether the log is shown in colour.
    pub(super) const fn log_colour(&self) -> Colour {
        if self.colour { Colour::Ansi } else { Colour::Never }
    }

    /// Prints a line.
    pub(super) fn line(&self, text: impl AsRef<str>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_ref().as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Prints a value as JSON, on several lines.
    pub(super) fn json(&self, value: &Value) -> io::Result<()> {
        self.line(format!("{value:#}"))
    }

    /// A word in colour.
    pub(super) fn paint(&self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Plain => return text.to_owned(),
            Paint::Dim => 2,
            Paint::Bold => 1,
            Paint::Good => 32,
            Paint::Warn => 33,
            Paint::Bad => 31,
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Prints a table with a head, also if there are no rows.
    pub(super) fn table<const N: usize>(
        &self,
        head: [&str; N],
        rows: &[[(Paint, String); N]],
    ) -> io::Result<()> {
        let mut widths = head.map(|cell| cell.chars().count());
        let rows: Vec<[(Paint, String); N]> = rows
            .iter()
            .map(|row| row.clone().map(|(paint, text)| (paint, printable(&text))))
            .collect();
        for row in &rows {
            for (width, (_, text)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        self.line(self.row(&head.map(|cell| (Paint::Dim, cell.to_owned())), &widths))?;
        rows.iter().try_for_each(|row| self.line(self.row(row, &widths)))
    }

    fn row<const N: usize>(&self, cells: &[(Paint, String); N], widths: &[usize; N]) -> String {
        let mut line = String::new();
        for (index, ((paint, text), width)) in cells.iter().zip(widths).enumerate() {
            line.push_str(&self.paint(*paint, text));
            if index + 1 < N {
                let gap = width.saturating_sub(text.chars().count()) + 2;
                line.extend(std::iter::repeat_n(' ', gap));
            }
        }
        line.trim_end().to_owned()
    }
}

/// Seconds as people write them: `1h 5m`, `4m 10s`, `9s`.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) if rest == 0 => format!("{minutes}m"),
        (0, 0, _) => format!("{minutes}m {rest}s"),
        (0, _, 0) => format!("{hours}h"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        (_, 0, _) => format!("{days}d"),
        (_, _, _) => format!("{days}d {hours}h"),
    }
}

/// `1 tool`, `2 tools`.
pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}
