//! Files that use each other in a circle. It must not touch the disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::modules::Arrow;

/// The arrows that leave each file, one for each file that it uses.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Arrow>>;

/// A finding for each knot of files that use each other, with the arrows of its shortest circle.
pub(super) fn check(arrows: &[Arrow]) -> Vec<String> {
    let mut graph = Graph::new();
    for arrow in arrows {
        let leaving = graph.entry(&arrow.from).or_default();
        leaving.entry(&arrow.to).or_insert(arrow);
    }
    knots(&graph).iter().filter_map(|knot| Some(finding(knot, &shortest(&graph, knot)?))).collect()
}

fn finding(knot: &BTreeSet<&str>, circle: &[&Arrow]) -> String {
    let arrows = circle.iter().map(|arrow| {
        format!("{}:{} uses `{}` of {}", arrow.from, arrow.line, arrow.item(), arrow.to)
    });
    let place = circle.first().map(|arrow| format!("{}:{}", arrow.from, arrow.line));
    format!(
        "{}: {} files use each other in a circle ({}); the shortest: {}. What two of them share belongs into a file \
         that both use",
        place.unwrap_or_default(),
        knot.len(),
        Vec::from_iter(knot.iter().copied()).join(", "),
        Vec::from_iter(arrows).join("; "),
    )
}

/// The sets of more than one file in which each file leads to each other.
fn knots<'a>(graph: &Graph<'a>) -> Vec<BTreeSet<&'a str>> {
    let mut knots = Vec::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let reached: BTreeMap<_, _> = graph.keys().map(|file| (*file, reachable(graph, file))).collect();
    for (file, leads_to) in &reached {
        if !leads_to.contains(file) || seen.contains(file) {
            continue;
        }
        let is_back = |other: &&&str| reached.get(**other).is_some_and(|to| to.contains(file));
        let knot: BTreeSet<_> = leads_to.iter().filter(is_back).copied().collect();
        seen.extend(&knot);
        knots.push(knot);
    }
    knots
}

/// All files that a file uses, and that those use.
fn reachable<'a>(graph: &Graph<'a>, start: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![start];
    while let Some(file) = open.pop() {
        for to in graph.get(file).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(*to) {
                open.push(to);
            }
        }
    }
    found
}

/// The arrows of one of the shortest circles of a knot.
fn shortest<'a>(graph: &Graph<'a>, knot: &BTreeSet<&'a str>) -> Option<Vec<&'a Arrow>> {
    let circles = knot.iter().filter_map(|file| circle(graph, file));
    circles.min_by_key(Vec::len)
}

/// The arrows of a shortest way from a file back to itself.
fn circle<'a>(graph: &Graph<'a>, start: &'a str) -> Option<Vec<&'a Arrow>> {
    let mut by: BTreeMap<&str, &Arrow> = BTreeMap::new();
    let mut open = VecDeque::from([start]);
    while !by.contains_key(start) {
        for (to, arrow) in graph.get(open.pop_front()?).into_iter().flatten() {
            if !by.contains_key(to) {
                by.insert(to, arrow);
                open.push_back(to);
            }
        }
    }
    let mut arrows = vec![*by.get(start)?];
    while let Some(arrow) = arrows.last().filter(|arrow| arrow.from != start) {
        arrows.push(by.get(arrow.from.as_str())?);
    }
    arrows.reverse();
    Some(arrows)
}
