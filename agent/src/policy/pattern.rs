//! Path patterns: what may be written, what its variables stand for, and what it matches.
//!
//! A pattern is kept as the text that the user wrote, which was checked once; its components are read
//! off that text when they are needed. `check` refuses what does not parse, so the rest of the policy
//! deals with patterns that do.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use agent_common::limits::{AFFIX_BYTES, NAME_BYTES, PATH_BYTES};

use super::{diagnostic::quote, model::Place, value::Problem};

/// A checked path pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    /// What the user wrote.
    pub text: Arc<str>,
    /// Where it stands.
    pub place: Place,
}

/// One component of a pattern, its variables filled in. The order is that of the path trie's children.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component<'a> {
    /// This name.
    Literal(Cow<'a, str>),
    /// Any name that begins and ends so, without the two overlapping.
    Affixes(Cow<'a, str>, Cow<'a, str>),
    /// The procfs folder of a process of the own session.
    OwnProcess,
}

impl Component<'_> {
    /// Whether a name, or the fact that it is a folder of an own process, fits.
    pub fn matches(&self, name: &[u8], own_process: bool) -> bool {
        match self {
            Self::Literal(literal) => literal.as_bytes() == name,
            Self::Affixes(prefix, suffix) => {
                let (prefix, suffix) = (prefix.as_bytes(), suffix.as_bytes());
                name.len() >= prefix.len() + suffix.len()
                    && name.starts_with(prefix)
                    && name.ends_with(suffix)
            }
            Self::OwnProcess => own_process,
        }
    }
}

/// A pattern with its variables filled in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expanded<'a> {
    /// The components from the root down.
    pub components: Vec<Component<'a>>,
    /// Whether everything below is covered too.
    pub below: bool,
}

impl Expanded<'_> {
    /// Whether a path, given by its components, is covered. `own_process` says that its second
    /// component is the procfs folder of an own process.
    pub fn matches(&self, path: &[&[u8]], own_process: bool) -> bool {
        let long_enough = if self.below {
            path.len() >= self.components.len()
        } else {
            path.len() == self.components.len()
        };
        long_enough
            && self
                .components
                .iter()
                .zip(path)
                .enumerate()
                .all(|(at, (component, name))| component.matches(name, own_process && at == 1))
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

/// A stretch of a component.
enum Piece<'a> {
    Text(&'a str),
    Variable(&'a str),
}

impl PathPattern {
    /// The pattern that a text is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, place: Place) -> Result<Self, Problem> {
        check(text)?;
        Ok(Self { text: text.into(), place })
    }

    /// The variables that it uses.
    pub fn variables(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        for component in self.text.split('/') {
            names.extend(pieces(component).into_iter().flatten().filter_map(|piece| match piece {
                Piece::Variable(name) => Some(name),
                Piece::Text(_) => None,
            }));
        }
        names
    }

    /// Whether it uses a variable.
    pub fn has_variables(&self) -> bool {
        self.text.contains('{')
    }

    /// Fills in the variables. `None` if one is not given.
    ///
    /// # Errors
    /// A value can't stand where the pattern puts it.
    pub fn expand<'a>(
        &'a self,
        values: &'a BTreeMap<String, String>,
    ) -> Result<Option<Expanded<'a>>, ExpandError> {
        let text = &*self.text;
        if self.variables().iter().any(|name| !values.contains_key(*name)) {
            return Ok(None);
        }
        let mut components = Vec::new();
        let mut rest = text;
        if let Some((name, after)) = head(text) {
            let value = values.get(name).map_or("", String::as_str);
            absolute(value).map_err(|problem| self.error(name, value, problem))?;
            let parts = value.split('/').filter(|part| !part.is_empty());
            components.extend(parts.map(|part| Component::Literal(part.into())));
            rest = after;
        }
        let mut parts: Vec<_> = rest.split('/').skip(1).filter(|part| !part.is_empty()).collect();
        let below = parts.last() == Some(&"**");
        if below {
            parts.pop();
        }
        for part in parts {
            components.push(self.component(part, values)?);
        }
        if text.starts_with("/proc/self/") || text == "/proc/self" {
            if let Some(second) = components.get_mut(1) {
                *second = Component::OwnProcess;
            }
        }
        Ok(Some(Expanded { components, below }))
    }

    /// One component, its variables filled in.
    fn component<'a>(
        &self,
        part: &'a str,
        values: &BTreeMap<String, String>,
    ) -> Result<Component<'a>, ExpandError> {
        let Some((prefix, suffix)) = part.split_once('*') else {
            let name = self.fill(part, values)?;
            if matches!(&*name, "." | "..") {
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
    ) -> Result<Cow<'a, str>, ExpandError> {
        if !part.contains('{') {
            return Ok(part.into());
        }
        let mut filled = String::new();
        for piece in pieces(part).unwrap_or_default() {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Variable(name) => {
                    let value = values.get(name).map_or("", String::as_str);
                    one_name(value).map_err(|problem| self.error(name, value, problem))?;
                    filled.push_str(value);
                }
            }
        }
        if filled.len() > NAME_BYTES {
            return Err(self.blame(part, values, "the name gets longer than 255 bytes"));
        }
        Ok(filled.into())
    }

    /// The error of a component, with the first variable in it.
    fn blame(
        &self,
        part: &str,
        values: &BTreeMap<String, String>,
        problem: &'static str,
    ) -> ExpandError {
        let name = pieces(part).unwrap_or_default().iter().find_map(|piece| match piece {
            Piece::Variable(name) => Some(*name),
            Piece::Text(_) => None,
        });
        let name = name.unwrap_or("");
        self.error(name, values.get(name).map_or("", String::as_str), problem)
    }

    fn error(&self, name: &str, value: &str, problem: &'static str) -> ExpandError {
        ExpandError {
            name: name.to_owned(),
            value: value.to_owned(),
            pattern: self.text.to_string(),
            problem,
        }
    }
}

/// The variable at a path's beginning, and what follows it.
fn head(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('{')?.split_once('}')
}

/// A value that stands for a whole path. A `/` at its end is let pass.
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

/// A value that stands for a name or a part of one.
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

/// Whether a text may name a variable.
pub fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Splits a component at its variables.
fn pieces(component: &str) -> Result<Vec<Piece<'_>>, Problem> {
    let mut pieces = Vec::new();
    let mut rest = component;
    while let Some(at) = rest.find(['{', '}']) {
        let (text, from) = rest.split_at(at);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        let Some((name, after)) = from.strip_prefix('{').and_then(|from| from.split_once('}'))
        else {
            return Err(Problem::new(format!("a brace in {} has no partner", quote(component)))
                .help("variables are written `{name}`"));
        };
        if !is_variable_name(name) {
            return Err(Problem::new(format!("`{{{name}}}` is not a variable's name"))
                .help("lower-case letters, digits and `_`, as in `{workdir}`"));
        }
        pieces.push(Piece::Variable(name));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// Everything that a pattern must keep to.
fn check(text: &str) -> Result<(), Problem> {
    let quoted = quote(text);
    if text.is_empty() {
        return Err(Problem::new("the path is empty")
            .help("`/` is the root folder itself, `/**` everything"));
    }
    if text.contains('\0') {
        return Err(Problem::new(format!("{quoted} has a NUL byte")));
    }
    if text.len() >= PATH_BYTES {
        let len = text.len();
        return Err(Problem::new(format!("the path has {len} bytes, the kernel takes 4095")));
    }
    if text == "/" {
        return Ok(());
    }
    let rest = if text.starts_with('/') {
        text
    } else {
        match head(text) {
            Some((_, rest)) if rest.is_empty() || rest.starts_with('/') => rest,
            Some((name, rest)) => {
                return Err(Problem::new(format!(
                    "{quoted} goes on after `{{{name}}}` without `/`"
                ))
                .help(format!(
                    "at the beginning a variable is a whole path: `{{{name}}}/{rest}`"
                )));
            }
            None => {
                return Err(Problem::new(format!("{quoted} is not an absolute path")).help(
                    format!("`/{text}`, or `{{workdir}}/{}`", text.trim_start_matches("./")),
                ));
            }
        }
    };
    if let Some((name, _)) = head(text) {
        pieces(&format!("{{{name}}}"))?;
    }
    let parts: Vec<_> = rest.split('/').skip(1).collect();
    for (at, part) in parts.iter().enumerate() {
        check_component(text, part, at + 1 == parts.len())?;
    }
    Ok(())
}

fn check_component(text: &str, part: &str, last: bool) -> Result<(), Problem> {
    let quoted = quote(text);
    match part {
        "" if last => {
            let folder = text.trim_end_matches('/');
            return Err(Problem::new(format!("{quoted} ends in `/`"))
                .help(format!("`{folder}` is the folder itself, `{folder}/**` it and all below")));
        }
        "" | "." | ".." => {
            let wrong = if part.is_empty() { "//" } else { part };
            return Err(Problem::new(format!("{quoted} has `{wrong}` in it"))
                .help(format!("the kernel sees `{}`", normalised(text))));
        }
        "**" if last => return Ok(()),
        "**" => {
            return Err(Problem::new(format!("`**` is not the end of {quoted}"))
                .help("`*` stands for one name, `/**` at the end for everything below"));
        }
        _ => {}
    }
    if part.contains("**") {
        return Err(Problem::new(format!("`**` in {quoted} does not stand alone")).help(
            "`*` stands for any characters of a name, `/**` at the end for everything below",
        ));
    }
    let pieces = pieces(part)?;
    if part.matches('*').count() > 1 {
        return Err(Problem::new(format!("{} has more than one `*`", quote(part)))
            .help("one `*` in each name"));
    }
    let fixed: usize =
        pieces.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 }).sum();
    let stars = part.matches('*').count();
    if fixed - stars > NAME_BYTES {
        return Err(Problem::new(format!(
            "a name in the path has {fixed} bytes, the kernel takes 255"
        )));
    }
    if let Some((prefix, suffix)) = part.split_once('*') {
        for affix in [prefix, suffix] {
            if !affix.contains('{') && affix.len() > AFFIX_BYTES {
                let len = affix.len();
                return Err(Problem::new(format!(
                    "the text beside `*` has {len} bytes, the kernel's tables take {AFFIX_BYTES}"
                )));
            }
        }
    }
    Ok(())
}

/// The path without `//`, `.` and `..`.
fn normalised(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let path = parts.join("/");
    if path.starts_with('{') { path } else { format!("/{path}") }
}
