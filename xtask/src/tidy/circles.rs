//! Files that use each other in a circle. It must not touch the disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::modules::Arrow;

/// The arrows that leave each file, one for each file that it uses.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a Arrow>>;

/// A finding for each knot of files that use each other, with the arrows of its shortest circle.
///
/// Where `parts_may_go_up`, a module that puts its own parts together does not depend on them: they may use what it
/// declares.
pub(super) fn check(arrows: &[Arrow], parts_may_go_up: bool) -> Vec<String> {
    let mut graph = Graph::new();
    for arrow in arrows.iter().filter(|arrow| !(parts_may_go_up && arrow.is_part)) {
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
    let reached: BTreeMap<_, _> =
        graph.keys().map(|file| (*file, reachable(graph, file))).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::krate;

    fn found(files: &[(&str, &str)], parts_may_go_up: bool) -> Vec<String> {
        check(&krate("agent", files).arrows(), parts_may_go_up)
    }

    #[test]
    fn check_files_that_use_each_other_are_found_by_their_shortest_circle() {
        let findings = found(
            &[
                ("lib", "mod a;\nmod b;\nmod c;"),
                ("a", "use crate::b::B;\npub struct A;"),
                ("b", "use crate::c::C;\npub struct B;"),
                ("c", "use crate::a::A;\nfn b() { crate::b::B; }\npub struct C;"),
            ],
            true,
        );
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert!(finding.starts_with("agent/src/b.rs:1: 3 files"), "{finding}");
        assert!(
            finding
                .contains("agent/src/b.rs:1 uses `C` of agent/src/c.rs; agent/src/c.rs:2 uses `B`")
        );
    }

    #[test]
    fn check_files_that_use_each_other_one_way_are_no_finding() {
        let files = [
            ("lib", "mod a;\nmod b;\nmod c;"),
            ("a", "use crate::{b::B, c::C};"),
            ("b", "use crate::c::C;\npub struct B;"),
            ("c", "pub struct C;"),
        ];
        assert_eq!(found(&files, false), [""; 0]);
    }

    #[test]
    fn check_module_and_its_part_are_a_circle_where_parts_may_not_go_up() {
        let files = [
            ("lib", "mod a;"),
            ("a", "mod part;\npub struct A;\nfn a() { part::b() }"),
            ("a/part", "use super::A;\npub fn b() {}"),
        ];
        assert_eq!(found(&files, true), [""; 0]);
        assert_eq!(found(&files, false).len(), 1);
    }
}
