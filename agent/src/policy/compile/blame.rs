//! Which patterns make an automaton too large.

use super::{
    automaton::TooLarge,
    mixer::MixId,
    trie::{Step, Trie},
};
use crate::policy::{
    limit::{Blamed, LimitError},
    pattern::{Component, PathPattern},
};

/// How many patterns are named.
const NAMED: usize = 3;

/// The error with the patterns that come in most of the automaton's states, if it is large because they combine.
pub(super) fn blame<'p>(
    found: TooLarge,
    trie: &Trie,
    paths: impl Iterator<Item = (&'p PathPattern, MixId)>,
    expand: impl Fn(&'p PathPattern) -> Option<Vec<Component<'p>>>,
) -> LimitError {
    let TooLarge { mut error, states } = found;
    let (LimitError::Edges(blamed) | LimitError::Affixes(blamed) | LimitError::States(blamed)) =
        &mut error
    else {
        return error;
    };
    let with_star = paths.map(|(path, _)| path).filter(|path| {
        let path = path.text();
        path.strip_suffix("/**").unwrap_or(path).contains('*')
    });
    let mut weighed: Vec<(u64, &PathPattern)> = with_star
        .filter_map(|path| {
            let nodes = nodes(trie, &expand(path)?);
            let weight = nodes.iter().filter_map(|node| states.get(*node as usize));
            Some((weight.map(|count| u64::from(*count)).sum(), path))
        })
        .collect();
    weighed.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    // Those that come in far fewer states than the first have little to do with it.
    let most = weighed.first().map_or(0, |(weight, _)| *weight);
    weighed.retain(|(weight, _)| *weight >= most / 4);
    let named = weighed.iter().take(NAMED).map(|(_, path)| {
        let place = path.place();
        (
            path.text().to_owned(),
            format!("{}:{}:{}", place.file.display(), place.line, place.column),
        )
    });
    *blamed = Blamed { patterns: named.collect(), more: weighed.len().saturating_sub(NAMED) };
    error
}

/// The trie's nodes on the way of a pattern.
fn nodes(trie: &Trie, components: &[Component<'_>]) -> Vec<u32> {
    let mut nodes = vec![Trie::ROOT];
    for component in components {
        let Some(node) = nodes.last().and_then(|last| trie.node(*last)) else { break };
        let next = trie.children(node).find(|(step, _)| is_step(*step, component));
        let Some((_, child)) = next else { break };
        nodes.push(child);
    }
    nodes
}

fn is_step(step: Step<'_>, component: &Component<'_>) -> bool {
    match (step, component) {
        (Step::Literal(name), Component::Literal(other)) => *name == **other,
        (Step::Affixes(prefix, suffix), Component::Affixes(start, end)) => {
            *prefix == **start && suffix.iter().rev().eq(end.iter())
        }
        (Step::OwnProcess, Component::OwnProcess) | (Step::Deep, Component::Deep) => true,
        _ => false,
    }
}
