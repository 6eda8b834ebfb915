//! Diagnostics as data: what is wrong with a policy, where, and what would be right.
//!
//! A diagnostic contains the line of the source, so that it can be shown where the files are not. This module knows
//! nothing of the policy format.

use std::{
    cell::Cell,
    fmt,
    ops::Range,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The most characters of a source line that are shown.
const SHOWN: usize = 120;

/// How severe a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The policy can't be put in force.
    Error,
    /// The policy can be put in force, but a part of it has no effect.
    Warning,
}

impl Severity {
    /// The word that is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A stretch of a source file, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// One error or warning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// The kind of problem, for programs: `policy::unknown-key`.
    pub code: String,
    /// How severe it is.
    pub severity: Severity,
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// The character in that line, from 1.
    pub column: usize,
    /// The underlined bytes of the file.
    pub span: Span,
    /// The text of that line, without its end.
    pub source: String,
    /// How many characters of `source` are underlined, from `column` on; at least 1.
    pub width: usize,
    /// What is wrong: lower case, no full stop, backticks round what the user wrote.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Diagnostic {
    /// The part of the line that is underlined.
    pub fn underlined(&self) -> String {
        self.source.chars().skip(self.column.saturating_sub(1)).take(self.width).collect()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, .. } = self;
        let file = file.display();
        writeln!(out, "{file}:{line}:{column}: {}: {message}", self.severity.name())?;
        let before = self.column.saturating_sub(1);
        // Of a long line, a part that begins a little before the place is shown.
        let cut = if self.source.chars().count() > SHOWN { before.saturating_sub(40) } else { 0 };
        let shown: String =
            self.source.chars().skip(cut).take(SHOWN).map(|c| visible(c, '\u{fffd}')).collect();
        let pad: String = self
            .source
            .chars()
            .skip(cut)
            .take(before - cut)
            .map(|c| if c == '\t' { c } else { ' ' })
            .collect();
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let width = self.width.clamp(1, SHOWN.saturating_sub(before - cut).max(1));
        writeln!(out, " {number} | {shown}")?;
        write!(out, " {margin} | {pad}{}", "^".repeat(width))?;
        if let Some(help) = &self.help {
            write!(out, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

/// Replaces a control character, which would act on the terminal.
fn visible(character: char, instead: char) -> char {
    if character.is_control() && character != '\t' { instead } else { character }
}

/// What the user wrote, in backticks, with control characters spelled out.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('`');
    for character in text.chars() {
        if character.is_control() {
            quoted.extend(character.escape_default());
        } else {
            quoted.push(character);
        }
    }
    quoted.push('`');
    quoted
}

/// The candidate that is most similar to a word, if any is similar.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = (written.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, _)| *distance <= most)
        .min()
        .map(|(_, name)| name)
}

/// The help for an unknown name: the nearest known one, or all.
pub(crate) fn suggest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    all: &str,
) -> Option<String> {
    if let Some(name) = nearest(written, known.clone()) {
        return Some(format!("did you mean `{name}`?"));
    }
    let names: Vec<_> = known.into_iter().map(quote).collect();
    if names.is_empty() || names.len() > 16 {
        return None;
    }
    Some(format!("{all}: {}", names.join(", ")))
}

/// The beginnings of a file's lines, to turn bytes into lines and columns.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    path: &'a Path,
    text: &'a str,
    starts: Vec<usize>,
    ascii: bool,
    /// The last byte that was asked for, with its line and column: usually the next one follows soon after it.
    last: Cell<(usize, usize, usize)>,
}

impl<'a> Lines<'a> {
    /// The lines of a file.
    pub(crate) fn new(path: &'a Path, text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(ends).collect();
        Self { path, text, starts, ascii: text.is_ascii(), last: Cell::new((0, 1, 1)) }
    }

    /// Line and column of a byte, both from 1.
    pub(crate) fn place(&self, at: usize) -> (usize, usize) {
        let (last, line, column) = self.last.get();
        let end = self.starts.get(line).copied().unwrap_or(usize::MAX);
        let (from, line, column) = if (last..end).contains(&at) {
            (last, line, column)
        } else {
            let line = self.starts.partition_point(|start| *start <= at).max(1);
            (self.starts.get(line - 1).copied().unwrap_or(0), line, 1)
        };
        let characters = if self.ascii {
            at - from
        } else {
            self.text.get(from..at).map_or(0, |before| before.chars().count())
        };
        self.last.set((at, line, column + characters));
        (line, column + characters)
    }

    /// A diagnostic at a span.
    pub(crate) fn diagnostic(
        &self,
        severity: Severity,
        code: &str,
        span: Range<usize>,
        message: String,
        help: Option<String>,
    ) -> Diagnostic {
        let (line, column) = self.place(span.start);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let rest = self.text.get(start..).unwrap_or("");
        let source = rest.split('\n').next().unwrap_or("").trim_end_matches('\r');
        let last = span.end.min(start + source.len());
        let width = self.text.get(span.start..last).map_or(1, |part| part.chars().count());
        Diagnostic {
            code: code.to_owned(),
            severity,
            file: self.path.to_owned(),
            line,
            column,
            span: span.into(),
            source: source.to_owned(),
            width: width.max(1),
            message,
            help,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(text: &str, span: Range<usize>, help: Option<&str>) -> String {
        let path = Path::new("p.toml");
        let help = help.map(str::to_owned);
        Lines::new(path, text)
            .diagnostic(Severity::Error, "policy::x", span, "it is `wrong`".into(), help)
            .to_string()
    }

    #[test]
    fn diagnostic_shown_underlines_its_span() {
        assert_eq!(
            show("a = 1\nbad = 2\r\n", 6..9, Some("did you mean `bed`?")),
            "p.toml:2:1: error: it is `wrong`\n 2 | bad = 2\n   | ^^^\nhelp: did you mean `bed`?"
        );
    }

    #[test]
    fn diagnostic_after_wide_characters_counts_characters() {
        let text = "ä = \"ö\"";
        assert_eq!(
            show(text, 5..9, None),
            "p.toml:1:5: error: it is `wrong`\n 1 | ä = \"ö\"\n   |     ^^^"
        );
    }

    #[test]
    fn place_is_counted_from_the_line_s_beginning_in_any_order() {
        for text in
            ["", "\n", "a = 1\n\nbcd = \"x\"\n", "ä = \"öx\"\n\nß\n\u{1f600}y", "a\r\nü\r\n"]
        {
            let lines = Lines::new(Path::new("p.toml"), text);
            let bytes: Vec<_> = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
            for at in bytes.iter().flat_map(|one| bytes.iter().flat_map(move |other| [one, other]))
            {
                let before = &text[..*at];
                let line = before.rsplit('\n').next().unwrap_or("");
                let expected = (before.matches('\n').count() + 1, line.chars().count() + 1);
                assert_eq!(lines.place(*at), expected, "{text:?} {at}");
            }
        }
    }

    #[test]
    fn diagnostic_over_lines_underlines_the_first() {
        let shown = show("a = [\n 1,\n]", 4..11, None);
        assert!(shown.ends_with("\n 1 | a = [\n   |     ^"), "{shown}");
    }

    #[test]
    fn diagnostic_at_the_end_of_the_file_has_a_place() {
        assert!(show("a =\n", 4..4, None).starts_with("p.toml:2:1: "));
        assert!(show("", 0..0, None).starts_with("p.toml:1:1: "));
    }

    #[test]
    fn diagnostic_with_control_characters_is_harmless() {
        assert!(!show("a = \u{1b}[2J", 4..5, None).contains('\u{1b}'));
        assert_eq!(quote("a\u{1b}\n"), "`a\\u{1b}\\n`");
    }

    #[test]
    fn diagnostic_in_a_long_line_shows_its_surroundings() {
        let text = format!("{}BAD{}", "x".repeat(500), "y".repeat(500));
        let shown = show(&text, 500..503, None);
        let lines: Vec<_> = shown.lines().collect();
        let at = lines[1].find("BAD").unwrap();
        assert_eq!(lines[2].find("^^^"), Some(at));
        assert!(lines[1].len() < 140);
    }

    #[test]
    fn nearest_name_is_found_only_if_it_is_similar() {
        assert_eq!(nearest("acess", ["access", "paths"]), Some("access"));
        assert_eq!(nearest("rd", ["access", "paths"]), None);
        assert_eq!(suggest("q", ["a_b", "c_d"], "known").as_deref(), Some("known: `a_b`, `c_d`"));
    }
}
