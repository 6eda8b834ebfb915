//! `env` and `env_drop` of a profile: what `remit run` sets in its command's environment, and what it leaves out.

use std::collections::{BTreeMap, BTreeSet};

use super::{diagnostic::quote, pattern::is_variable_name, value::Problem};

/// Changes to the environment of a session's command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// What is set, by name.
    pub set: BTreeMap<String, EnvValue>,
    /// Which names are left out: each with at most one `*`.
    pub drop: Vec<String>,
}

/// A value with `{variables}`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvValue(String);

/// A piece of a value.
enum Piece<'a> {
    Text(&'a str),
    Variable { name: &'a str, is_optional: bool },
}

impl EnvValue {
    /// Parses a value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        if text.contains('\0') {
            return Err(Problem::new(format!("{} has a NUL byte", quote(text))));
        }
        pieces(text)?;
        Ok(Self(text.to_owned()))
    }

    fn pieces(&self) -> Vec<Piece<'_>> {
        pieces(&self.0).unwrap_or_default()
    }

    /// The variable's that it needs a value of.
    pub fn variables(&self) -> BTreeSet<&str> {
        let name = |piece| match piece {
            Piece::Variable { name, is_optional: false } => Some(name),
            _ => None,
        };
        self.pieces().into_iter().filter_map(name).collect()
    }

    /// Whether it uses a variable.
    pub fn uses(&self, variable: &str) -> bool {
        let is_it =
            |piece: &Piece<'_>| matches!(piece, Piece::Variable { name, .. } if *name == variable);
        self.pieces().iter().any(is_it)
    }

    /// The value with its variables filled in; `None` if one has none.
    pub fn fill(&self, values: &BTreeMap<String, String>) -> Option<String> {
        let text = |piece| match piece {
            Piece::Text(text) => Some(text),
            Piece::Variable { name, .. } => values.get(name).map(String::as_str),
        };
        self.pieces().into_iter().map(text).collect()
    }
}

/// Splits a value at its variables.
fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Problem> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, from)) = rest.find(['{', '}']).map(|at| rest.split_at(at)) {
        pieces.push(Piece::Text(before));
        let Some((inside, after)) = from.strip_prefix('{').and_then(|from| from.split_once('}'))
        else {
            return Err(Problem::new(format!("a brace in {} has no partner", quote(text)))
                .help("variables are written `{name}`"));
        };
        let (name, is_optional) =
            inside.strip_suffix('?').map_or((inside, false), |name| (name, true));
        if !is_variable_name(name) {
            return Err(Problem::new(format!("`{{{inside}}}` is not a variable's name"))
                .help("lower-case letters, digits and `_`, as in `{tmp}`"));
        }
        pieces.push(Piece::Variable { name, is_optional });
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// Checks the name of a variable that is set.
///
/// # Errors
/// What is wrong with it.
pub(super) fn name(text: &str) -> Result<(), Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text == "REMIT_SESSION" {
        return Err(Problem::new("`REMIT_SESSION` is always the session's id"));
    }
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(fits)
    {
        return Err(Problem::new(format!("{} is not a name in an environment", quote(text)))
            .help("letters, digits and `_`, as in `TMPDIR`"));
    }
    Ok(())
}

/// Checks the name, or the pattern of names, that is left out.
///
/// # Errors
/// What is wrong with it.
pub(super) fn drop_name(text: &str) -> Result<(), Problem> {
    if text.is_empty() || text.contains(['=', '\0', '\n']) || text.matches('*').count() > 1 {
        return Err(Problem::new(format!("{} names nothing in an environment", quote(text)))
            .help("a name with at most one `*`, as in `AWS_*`"));
    }
    Ok(())
}

/// Whether a name is one that a pattern leaves out.
pub fn is_dropped(pattern: &str, name: &[u8]) -> bool {
    match pattern.split_once('*') {
        None => pattern.as_bytes() == name,
        Some((before, after)) => name
            .strip_prefix(before.as_bytes())
            .is_some_and(|rest| rest.ends_with(after.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_filled_in_or_left_out() {
        let values = BTreeMap::from([("tmp".to_owned(), "/tmp/x".to_owned())]);
        let fill = |text: &str| EnvValue::parse(text).unwrap().fill(&values);
        assert_eq!(fill("{tmp}/a:{tmp}").as_deref(), Some("/tmp/x/a:/tmp/x"));
        assert_eq!((fill(""), fill("$HOME")), (Some(String::new()), Some("$HOME".into())));
        assert_eq!((fill("{gitdir}"), fill("a{gitdir?}")), (None, None));
        let value = EnvValue::parse("{tmp?}{home}").unwrap();
        assert!(value.uses("tmp") && value.uses("home") && !value.uses("user"));
        assert_eq!(value.variables(), ["home"].into());
    }

    #[test]
    fn malformed_names_and_values_are_refused() {
        for value in ["{tmp", "tmp}", "{}", "{a-b}", "{\"a\":1}", "a\0"] {
            assert!(EnvValue::parse(value).is_err(), "{value}");
        }
        for bad in ["", "A=B", "1A", "A B", "REMIT_SESSION"] {
            assert!(name(bad).is_err(), "{bad}");
        }
        for bad in ["", "A=*", "*A*"] {
            assert!(drop_name(bad).is_err(), "{bad}");
        }
        assert!(name("_a1").is_ok() && drop_name("*").is_ok());
    }

    #[test]
    fn star_stands_for_any_part_of_a_name() {
        assert!(is_dropped("AWS_*", b"AWS_") && is_dropped("*_TOKEN", b"GH_TOKEN"));
        assert!(is_dropped("A*B", b"AxB") && is_dropped("*", b"X") && is_dropped("X", b"X"));
        for (pattern, name) in [("AWS_*", "AW"), ("A*A", "A"), ("X", "XY"), ("*_TOKEN", "TOKEN")] {
            assert!(!is_dropped(pattern, name.as_bytes()), "{pattern} {name}");
        }
    }
}
