//! Path patterns: parsing, filling in variables, matching.
//!
//! A pattern is stored as the text that the user wrote, which was checked once. Its components are read from the text
//! when they are needed.

mod component;
mod form;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    sync::Arc,
};

use agent_common::limits::{AFFIX_BYTES, NAME_BYTES, PATH_BYTES};

pub(super) use self::form::remark;
use self::form::{Piece, head, is_own_process, pieces};
pub use self::{component::Component, form::is_variable_name};
use super::{diagnostic::quote, place::Place, value::Problem};

/// A checked path pattern. The patterns of one rule share their file's name and one string with all their texts, since
/// there may be a hundred thousand.
#[derive(Clone)]
pub struct PathPattern {
    rule: Arc<Rule>,
    start: u32,
    end: u32,
    line: u32,
    column: u32,
}

struct Rule {
    file: Arc<PathBuf>,
    texts: String,
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text() && self.place() == other.place()
    }
}

impl Eq for PathPattern {}

impl fmt::Debug for PathPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        formatter
            .debug_struct("PathPattern")
            .field("text", &self.text())
            .field("place", &place)
            .finish()
    }
}

/// A rule's patterns, one after the other.
pub(super) struct Patterns {
    rule: Rule,
    /// Start and end of each in the rule's texts, its line and its column.
    list: Vec<[u32; 4]>,
}

impl Patterns {
    /// No patterns yet. `bytes` is the expected length of their texts.
    pub(super) fn new(file: Arc<PathBuf>, bytes: usize) -> Self {
        Self { rule: Rule { file, texts: String::with_capacity(bytes) }, list: Vec::new() }
    }

    /// Parses and adds a pattern, with its place.
    ///
    /// # Errors
    /// What is wrong with it. It is not added then.
    pub(super) fn push(&mut self, text: &str, line: u32, column: u32) -> Result<(), Problem> {
        form::check(text)?;
        let texts = &mut self.rule.texts;
        let start = texts.len() as u32;
        texts.push_str(text);
        self.list.push([start, texts.len() as u32, line, column]);
        Ok(())
    }

    /// All of them.
    pub(super) fn finish(self) -> Arc<[PathPattern]> {
        let rule = Arc::new(self.rule);
        let pattern = |[start, end, line, column]: [u32; 4]| PathPattern {
            rule: rule.clone(),
            start,
            end,
            line,
            column,
        };
        self.list.into_iter().map(pattern).collect()
    }
}

/// A pattern with its variables filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded<'a> {
    /// The components from the root down.
    pub components: Vec<Component<'a>>,
    /// Whether everything below is covered too.
    pub below: bool,
}

impl Expanded<'_> {
    /// Whether a path, given by its components, is covered. `own_process` says that its second component is the procfs
    /// folder of a process of the session itself.
    pub fn matches(&self, path: &[&[u8]], own_process: bool) -> bool {
        // Names and components that were compared, and where to go on if the last `**` takes one name more. Only the
        // last can help, so this takes no more steps than names times components.
        let (mut at, mut done) = (0, 0);
        let mut again: Option<(usize, usize)> = None;
        loop {
            match self.components.get(done) {
                None if self.below || at == path.len() => return true,
                Some(Component::Deep) => {
                    done += 1;
                    again = Some((at, done));
                    continue;
                }
                Some(component)
                    if path
                        .get(at)
                        .is_some_and(|name| component.matches(name, own_process && at == 1)) =>
                {
                    (at, done) = (at + 1, done + 1);
                    continue;
                }
                _ => {}
            }
            let Some((from, after)) = again.filter(|(from, _)| *from < path.len()) else {
                return false;
            };
            (at, done) = (from + 1, after);
            again = Some((at, done));
        }
    }
}

/// Why a pattern can't be filled in with a session's variables.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("variable `{name}` can't be {} in `{pattern}`: {problem}", quote(value))]
pub struct ExpandError {
    /// The variable.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The pattern that uses it.
    pub pattern: String,
    /// What is wrong.
    pub problem: &'static str,
}

impl PathPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, place: Place) -> Result<Self, Problem> {
        form::check(text)?;
        let Place { file, line, column } = place;
        let rule = Arc::new(Rule { file, texts: text.to_owned() });
        Ok(Self { rule, start: 0, end: text.len() as u32, line, column })
    }

    /// What the user wrote.
    pub fn text(&self) -> &str {
        self.rule.texts.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Its place in the file.
    pub fn place(&self) -> Place {
        Place { file: self.rule.file.clone(), line: self.line, column: self.column }
    }

    /// The variables that it uses.
    pub fn variables(&self) -> BTreeSet<&str> {
        self.pieces().filter_map(|piece| piece.variable()).collect()
    }

    /// The variables without a value for which it can't be left out.
    pub fn needed_variables(&self) -> BTreeSet<&str> {
        let needed = |piece| match piece {
            Piece::Variable(name) => Some(name),
            Piece::Text(_) | Piece::Optional(_) => None,
        };
        self.pieces().filter_map(needed).collect()
    }

    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        self.text().split('/').flat_map(|component| pieces(component).unwrap_or_default())
    }

    /// Whether it uses a variable.
    pub fn has_variables(&self) -> bool {
        self.text().contains('{')
    }

    /// Fills in the variables. `None` if one has no value.
    ///
    /// # Errors
    /// A value is not allowed where the pattern has its variable.
    pub fn expand<'a>(
        &'a self,
        values: &'a BTreeMap<String, String>,
    ) -> Result<Option<Expanded<'a>>, ExpandError> {
        let text = self.text();
        if self.has_variables() && self.variables().iter().any(|name| !values.contains_key(*name)) {
            return Ok(None);
        }
        let mut components = Vec::new();
        let mut rest = text;
        if let Some((name, after)) = head(text) {
            let value = values.get(name).map_or("", String::as_str);
            absolute(value).map_err(|problem| self.error(name, value, problem))?;
            let parts = value.split('/').filter(|part| !part.is_empty());
            components.extend(parts.map(|part| Component::Literal(part.as_bytes().into())));
            rest = after;
        }
        let (rest, below) = rest.strip_suffix("/**").map_or((rest, false), |rest| (rest, true));
        for part in rest.split('/').skip(1).filter(|part| !part.is_empty()) {
            components.push(self.component(part, values)?);
        }
        if is_own_process(text)
            && let Some(second) = components.get_mut(1)
        {
            *second = Component::OwnProcess;
        }
        Ok(Some(Expanded { components, below }))
    }

    /// The result of `expand` without allocating, for patterns without variables that don't mean the session's own
    /// processes. Most are such.
    pub(super) fn plain_components(&self) -> Option<(impl Iterator<Item = Component<'_>>, bool)> {
        form::plain_components(self.text())
    }

    /// One component, its variables filled in.
    fn component<'a>(
        &self,
        part: &'a str,
        values: &BTreeMap<String, String>,
    ) -> Result<Component<'a>, ExpandError> {
        if part == "**" {
            return Ok(Component::Deep);
        }
        let Some((prefix, suffix)) = part.split_once('*') else {
            let name = self.fill(part, values)?;
            if matches!(&*name, b"." | b"..") {
                return Err(self.blame(part, values, "the name would be `.` or `..`"));
            }
            return Ok(Component::Literal(name));
        };
        let (prefix, suffix) = (self.fill(prefix, values)?, self.fill(suffix, values)?);
        if prefix.len() > AFFIX_BYTES || suffix.len() > AFFIX_BYTES {
            return Err(self.blame(part, values, "the text beside `*` gets longer than 248 bytes"));
        }
        Ok(Component::Affixes(prefix, suffix))
    }

    fn fill<'a>(
        &self,
        part: &'a str,
        values: &BTreeMap<String, String>,
    ) -> Result<Cow<'a, [u8]>, ExpandError> {
        if !part.contains('{') {
            return Ok(part.as_bytes().into());
        }
        let mut filled = String::new();
        for piece in pieces(part).unwrap_or_default() {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Variable(name) | Piece::Optional(name) => {
                    let value = values.get(name).map_or("", String::as_str);
                    one_name(value).map_err(|problem| self.error(name, value, problem))?;
                    filled.push_str(value);
                }
            }
        }
        if filled.len() > NAME_BYTES {
            return Err(self.blame(part, values, "the name gets longer than 255 bytes"));
        }
        Ok(filled.into_bytes().into())
    }

    /// The error on a component, with the first variable in it.
    fn blame(
        &self,
        part: &str,
        values: &BTreeMap<String, String>,
        problem: &'static str,
    ) -> ExpandError {
        let pieces = pieces(part).unwrap_or_default();
        let name = pieces.iter().find_map(Piece::variable).unwrap_or("");
        self.error(name, values.get(name).map_or("", String::as_str), problem)
    }

    fn error(&self, name: &str, value: &str, problem: &'static str) -> ExpandError {
        ExpandError {
            name: name.to_owned(),
            value: value.to_owned(),
            pattern: self.text().to_owned(),
            problem,
        }
    }
}

/// Checks a value for a whole path. A `/` at its end is allowed.
fn absolute(value: &str) -> Result<(), &'static str> {
    if !value.starts_with('/') {
        return Err("it must be an absolute path");
    }
    if value.len() >= PATH_BYTES {
        return Err("it is longer than 4095 bytes");
    }
    let trimmed = value.strip_suffix('/').unwrap_or(value);
    for part in trimmed.split('/').skip(1) {
        if part.is_empty() || part == "." || part == ".." {
            return Err("it must be without `//`, `.` and `..`");
        }
        if part.len() > NAME_BYTES {
            return Err("a name in it is longer than 255 bytes");
        }
    }
    plain(value)
}

/// Checks a value for a name or a part of one.
fn one_name(value: &str) -> Result<(), &'static str> {
    if value.is_empty() {
        return Err("it is empty");
    }
    if value.contains('/') {
        return Err("it stands for a part of a name, which has no `/`");
    }
    plain(value)
}

fn plain(value: &str) -> Result<(), &'static str> {
    if value.contains('*') {
        return Err("it must be without `*`");
    }
    if value.contains('\0') {
        return Err("it has a NUL byte");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
