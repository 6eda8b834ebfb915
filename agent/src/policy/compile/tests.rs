//! Compiled tables against a matcher that knows nothing of them.

mod language;
mod limits;
mod network;
mod paths;
mod random;
mod yardstick;

use std::collections::BTreeMap;

use agent_common::{
    access::{Right, Rights},
    authority::ToolSet,
    id::Slot,
    rule::Label,
};

use super::*;
use crate::policy::source::Source;

pub(super) const READ: Rights = Rights::of(Right::Read);
pub(super) const SLOT: Slot = Slot(3);

/// A small generator of the splitmix family: the same numbers in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    pub(super) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }
}

pub(super) fn policy(text: &str) -> Policy {
    let text = format!("schema = 1\n{text}");
    let sources = [Source { path: "p.toml".into(), text }];
    crate::policy::check(&sources).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

pub(super) fn bits(policy: &Policy) -> ToolBits {
    let mut bits = ToolBits::new();
    bits.assign(policy.tools.keys(), &ToolSet::EMPTY).unwrap();
    bits
}

pub(super) fn compile(policy: &Policy) -> Compiled {
    Compiled::new(policy, &bits(policy), &Builtin::default()).unwrap()
}

/// A policy of tools that read one pattern each: `t00`, `t01`, …
pub(super) fn readers(patterns: &[impl AsRef<str>]) -> Policy {
    let tool = |(number, pattern): (usize, &str)| {
        format!("[tool.t{number:02}]\nfiles = [{{ paths = [{pattern:?}], access = [\"read\"] }}]\n")
    };
    let tools = patterns.iter().map(AsRef::as_ref).enumerate().map(tool);
    policy(&tools.collect::<String>())
}

/// The tools that may read a path, by the tables: those of both labels.
pub(super) fn tools_reading(compiled: &Compiled, path: &str, own_process: bool) -> Vec<u16> {
    let explanation = compiled.explain_path(path, READ, own_process, Some(SLOT));
    let mut tools = ToolSet::EMPTY;
    for label in &explanation.labels {
        tools.merge(&label.tools[Right::Read as usize]);
    }
    tools.iter().map(|bit| bit.0).collect()
}

pub(super) fn variables(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Whether a pattern covers a path: by text alone, one character after the other.
pub(super) fn covers(pattern: &str, path: &str, own_process: bool) -> bool {
    let parts = |text: &str| -> Vec<String> {
        text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let (mut pattern, path) = (parts(pattern), parts(path));
    let below = pattern.last().is_some_and(|last| last == "**");
    if below {
        pattern.pop();
    }
    if path.len() < pattern.len() || (!below && path.len() > pattern.len()) {
        return false;
    }
    let own = pattern.len() > 1 && pattern[0] == "proc" && pattern[1] == "self";
    pattern.iter().zip(&path).enumerate().all(|(at, (pattern, name))| {
        if own && at == 1 { own_process } else { glob(pattern.as_bytes(), name.as_bytes()) }
    })
}

fn glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            glob(rest, name) || name.split_first().is_some_and(|(_, name)| glob(pattern, name))
        }
        (Some((one, pattern)), Some((other, name))) => one == other && glob(pattern, name),
        _ => false,
    }
}

#[test]
fn label_zero_covers_nothing() {
    let compiled = compile(&readers(&["/a"]));
    assert_eq!(compiled.tables(&[]).rules.labels[0], (LabelId::NONE, Label::NONE));
}
