//! Reads typed values from TOML, with the place of each key and value. Knows TOML and diagnostics, and nothing of the
//! policy format.

mod build;
mod tree;

use std::{ops::Range, path::PathBuf, sync::Arc};

use hashbrown::HashSet;
use toml::de::DeTable;

pub(super) use self::tree::{Item, Key, Table, Value};
use super::{
    diagnostic::{Diagnostic, Lines, Severity, quote, suggest},
    place::Place,
    source::Source,
    value::Problem,
};

/// Up to this many strings of an array are compared one by one to find duplicates.
const SHORT: usize = 8;

/// A text of the policy, and its place.
#[derive(Clone, Debug)]
pub(super) struct Text<'r> {
    pub(super) text: &'r str,
    pub(super) span: Range<usize>,
}

/// A file and its lines.
pub(super) struct File<'a> {
    pub(super) number: usize,
    pub(super) path: Arc<PathBuf>,
    text: &'a str,
    lines: Lines<'a>,
}

impl<'a> File<'a> {
    /// A file with its number in the order of all files.
    pub(super) fn new(number: usize, source: &'a Source) -> Self {
        let lines = Lines::new(&source.path, &source.text);
        Self { number, path: Arc::new(source.path.clone()), text: &source.text, lines }
    }

    /// Parses it; `None` if it is malformed, with diagnostics in `out`.
    pub(super) fn parse(&self, out: &mut Vec<(usize, Diagnostic)>) -> Option<Table<'a>> {
        if let Some(table) = build::build(self.text) {
            return Some(table);
        }
        let (table, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return Some(table.into_inner().into());
        }
        let mut last_line = 0;
        for error in errors {
            let end = self.text.len();
            let span = error.span().unwrap_or(end..end);
            // Further errors in the same line are usually consequences of the first one.
            let (line, _) = self.lines.place(span.start);
            if line != last_line {
                let message = error.message().lines().next().unwrap_or("malformed TOML").to_owned();
                out.push(self.diagnostic(
                    Severity::Error,
                    "policy::syntax",
                    span,
                    Problem::new(message),
                ));
            }
            last_line = line;
        }
        None
    }

    /// The place of a byte.
    pub(super) fn place(&self, at: usize) -> Place {
        let (line, column) = self.line_and_column(at);
        Place { file: self.path.clone(), line, column }
    }

    /// The line and the column of a byte.
    pub(super) fn line_and_column(&self, at: usize) -> (u32, u32) {
        let (line, column) = self.lines.place(at);
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        (number(line), number(column))
    }

    /// A diagnostic in this file, with the file's number to sort by.
    pub(super) fn diagnostic(
        &self,
        severity: Severity,
        code: &str,
        span: Range<usize>,
        problem: Problem,
    ) -> (usize, Diagnostic) {
        let Problem { message, help } = problem;
        (self.number, self.lines.diagnostic(severity, code, span, message, help))
    }
}

/// The names in a file's `use`, as far as they can be read: what is wrong with them, the check says. Only the text before
/// the first table is parsed, since the rest may be long.
pub(super) fn uses(text: &str) -> Vec<String> {
    let mut lines = text.split_inclusive('\n');
    let before: usize =
        lines.by_ref().take_while(|line| !line.trim_start().starts_with('[')).map(str::len).sum();
    let (mut table, errors) = DeTable::parse_recoverable(text.get(..before).unwrap_or(text));
    if !errors.is_empty() {
        (table, _) = DeTable::parse_recoverable(text);
    }
    let names = table.get_ref().iter().find(|(key, _)| key.get_ref() == "use");
    let names = names.and_then(|(_, value)| value.get_ref().as_array()).into_iter().flatten();
    names.filter_map(|name| name.get_ref().as_str().map(str::to_owned)).collect()
}

/// Reads values of one file, and collects what is wrong with them.
pub(super) struct Reader<'r, 'a> {
    pub(super) file: &'r File<'a>,
    pub(super) out: &'r mut Vec<(usize, Diagnostic)>,
}

impl<'r> Reader<'r, '_> {
    /// Reports an error.
    pub(super) fn error(&mut self, code: &str, span: Range<usize>, problem: Problem) {
        self.out.push(self.file.diagnostic(Severity::Error, code, span, problem));
    }

    /// Warns that something is accepted, but does less than it seems to.
    pub(super) fn warn(&mut self, code: &str, span: Range<usize>, problem: Problem) {
        self.out.push(self.file.diagnostic(Severity::Warning, code, span, problem));
    }

    /// Warns that something is accepted, but has no effect yet.
    pub(super) fn not_in_force(&mut self, span: Range<usize>, what: &str, instead: &str) {
        let problem =
            Problem::new(format!("{what} is checked, but not in force yet")).help(instead);
        self.warn("policy::not-in-force", span, problem);
    }

    /// Reports an unknown key.
    pub(super) fn unknown_key(&mut self, key: &Key<'_>, known: &[&str], of: &str) {
        let written = key.text();
        let help = suggest(written, known.iter().copied(), "the keys here are");
        let message = format!("unknown key {} in {of}", quote(written));
        self.error("policy::unknown-key", key.span(), Problem { message, help });
    }

    /// Reports a missing key.
    pub(super) fn missing(&mut self, span: Range<usize>, key: &str, of: &str, example: &str) {
        let problem = Problem::new(format!("{of} has no `{key}`")).help(format!("add `{example}`"));
        self.error("policy::missing-key", span, problem);
    }

    /// Reports a value of the wrong type.
    pub(super) fn wrong_type(&mut self, value: &Value<'_>, key: &str, due: &str) {
        let kind = value.type_name();
        let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        let problem = Problem::new(format!("`{key}` must be {due}, not {article} {kind}"));
        self.error("policy::wrong-type", value.span(), problem);
    }

    /// A string.
    pub(super) fn string(&mut self, value: &'r Value<'_>, key: &str) -> Option<Text<'r>> {
        let text = value.as_str();
        if text.is_none() {
            self.wrong_type(value, key, "a string");
        }
        Some(Text { text: text?, span: value.span() })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, value: &Value<'_>, key: &str) -> Option<bool> {
        let boolean = value.as_bool();
        if boolean.is_none() {
            self.wrong_type(value, key, "`true` or `false`");
        }
        boolean
    }

    /// A table.
    pub(super) fn table<'v, 'b>(
        &mut self,
        value: &'v Value<'b>,
        key: &str,
    ) -> Option<&'v Table<'b>> {
        let table = value.as_table();
        if table.is_none() {
            self.wrong_type(value, key, "a table");
        }
        table
    }

    /// An array of tables. An empty one is refused.
    pub(super) fn tables<'v, 'b>(
        &mut self,
        value: &'v Value<'b>,
        key: &str,
    ) -> Vec<(&'v Table<'b>, Range<usize>)> {
        let Some(array) = value.as_array() else {
            self.wrong_type(value, key, "an array of tables");
            return Vec::new();
        };
        let mut tables = Vec::new();
        for entry in array.iter() {
            match entry.as_table() {
                Some(table) => tables.push((table, entry.span())),
                None => self.wrong_type(entry, key, "an array of tables, each of its entries"),
            }
        }
        tables
    }

    /// An array of different strings, at least `least`.
    pub(super) fn strings(
        &mut self,
        value: &'r Value<'_>,
        key: &str,
        least: usize,
    ) -> Vec<Text<'r>> {
        let Some(array) = value.as_array() else {
            self.wrong_type(value, key, "an array of strings");
            return Vec::new();
        };
        if array.len() < least {
            let message = match (array.len(), least) {
                (0, _) => format!("`{key}` is empty"),
                (_, least) => format!("`{key}` names fewer than {least}"),
            };
            self.error("policy::empty", value.span(), Problem::new(message));
        }
        let mut texts = Vec::with_capacity(array.len());
        // Most arrays are short, and a few have thousands.
        let mut seen = HashSet::with_capacity(if array.len() > SHORT { array.len() } else { 0 });
        for entry in array.iter() {
            let Some(text) = entry.as_str() else {
                self.wrong_type(entry, key, "an array of strings, each of its entries");
                continue;
            };
            let twice = if array.len() > SHORT {
                !seen.insert(text)
            } else {
                texts.iter().any(|other: &Text<'_>| other.text == text)
            };
            if twice {
                let problem = Problem::new(format!("{} stands twice in `{key}`", quote(text)))
                    .help("once is enough");
                self.error("policy::duplicate", entry.span(), problem);
                continue;
            }
            texts.push(Text { text, span: entry.span() });
        }
        texts
    }

    /// A string that a function parses.
    pub(super) fn parsed<T>(
        &mut self,
        value: &'r Value<'_>,
        key: &str,
        code: &str,
        parse: impl Fn(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        let text = self.string(value, key)?;
        self.accept(code, text.span, parse(text.text))
    }

    /// A string that is one of some words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        value: &'r Value<'_>,
        key: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let text = self.string(value, key)?;
        self.word(&text, key, words)
    }

    /// The meaning of a text that has to be one of some words.
    pub(super) fn word<T: Copy>(
        &mut self,
        text: &Text<'_>,
        what: &str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let found = words.iter().find(|(word, _)| *word == text.text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let names = words.iter().map(|(word, _)| *word);
            let help = suggest(text.text, names, "it is one of");
            let message = format!("unknown {what} {}", quote(text.text));
            self.error("policy::unknown-word", text.span.clone(), Problem { message, help });
        }
        found
    }

    /// A parsed value, or `None` and a diagnostic.
    pub(super) fn accept<T>(
        &mut self,
        code: &str,
        span: Range<usize>,
        result: Result<T, Problem>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problem) => {
                self.error(code, span, problem);
                None
            }
        }
    }

    /// The place of a span.
    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        self.file.place(span.start)
    }
}

#[cfg(test)]
mod tests;
