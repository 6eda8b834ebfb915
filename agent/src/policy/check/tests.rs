//! What is accepted, and for each refusal its words, its place and what is underlined.

mod accepted;
mod forms;
mod refused;

use super::*;

/// One file, `p.toml`.
pub(super) fn one(text: &str) -> Vec<Source> {
    vec![Source { path: "p.toml".into(), text: text.to_owned() }]
}

/// A file after the `schema` line, so that its first line has number 2.
pub(super) fn body(text: &str) -> Vec<Source> {
    one(&format!("schema = 1\n{text}"))
}

pub(super) fn accept(sources: &[Source]) -> Policy {
    check(sources).unwrap_or_else(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", errors.join("\n"))
    })
}

/// `line:column code [underlined] message | help`
pub(super) fn shown(diagnostic: &Diagnostic) -> String {
    let Diagnostic { line, column, code, message, .. } = diagnostic;
    let code = code.strip_prefix("policy::").unwrap_or(code);
    let help = diagnostic.help.as_deref().unwrap_or("-");
    format!("{line}:{column} {code} [{}] {message} | {help}", diagnostic.underlined())
}

pub(super) fn refuse(sources: &[Source]) -> Vec<String> {
    match check(sources) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(shown).collect(),
    }
}
