//! Patterns with their variables filled in.

use std::{collections::BTreeMap, sync::Arc};

use super::*;

fn pattern(text: &str) -> PathPattern {
    let place = Place { file: Arc::default(), line: 1, column: 1 };
    PathPattern::parse(text, place).unwrap()
}

fn values() -> BTreeMap<String, String> {
    [("workdir", "/home/u/"), ("name", "x"), ("root", "/")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

#[test]
fn expanded_pattern_has_its_components() {
    let literal = |text: &'static str| Component::Literal(text.as_bytes().into());
    let affixes = |prefix: &'static str, suffix: &'static str| {
        Component::Affixes(prefix.as_bytes().into(), suffix.as_bytes().into())
    };
    for (text, components, below) in [
        ("/", vec![], false),
        ("/**", vec![], true),
        ("/a/b", vec![literal("a"), literal("b")], false),
        ("/a/*/b*c/**", vec![literal("a"), affixes("", ""), affixes("b", "c")], true),
        ("{workdir}", vec![literal("home"), literal("u")], false),
        ("{workdir}/**", vec![literal("home"), literal("u")], true),
        ("{root}/a", vec![literal("a")], false),
        ("{root}", vec![], false),
        (
            "/srv/{name}-{name}.d/{name}*",
            vec![literal("srv"), literal("x-x.d"), affixes("x", "")],
            false,
        ),
        ("/proc/self", vec![literal("proc"), Component::OwnProcess], false),
        (
            "/proc/self/fd/*",
            vec![literal("proc"), Component::OwnProcess, literal("fd"), affixes("", "")],
            false,
        ),
        ("/proc/selfish", vec![literal("proc"), literal("selfish")], false),
    ] {
        let (pattern, values) = (pattern(text), values());
        let plain = pattern.plain_components();
        if let Some((plain, plain_below)) = plain {
            assert_eq!((plain.collect(), plain_below), (components.clone(), below), "{text}");
        } else {
            assert!(text.contains('{') || text.contains("self"), "{text}");
        }
        let expanded = pattern.expand(&values).unwrap().unwrap();
        assert_eq!(expanded, Expanded { components, below }, "{text}");
    }
}

#[test]
fn pattern_with_a_variable_without_value_is_left_out() {
    assert_eq!(pattern("/a/{other}").expand(&values()), Ok(None));
    assert!(pattern("{workdir}/{other}*").variables().iter().eq(&["other", "workdir"]));
    assert!(!pattern("/a").has_variables());
}
