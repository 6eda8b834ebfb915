//! What the largest policy takes, against its TOML alone.

use std::{
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use agent_common::limits::PATH_RULES;

use super::{
    limits::{peak_kib, text_of_many_paths},
    *,
};

/// How often each is done; the least time counts.
const ROUNDS: u32 = 30;

fn time(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

/// A hundred thousand tables: as much as TOML can be made to be.
#[test]
#[ignore = "takes an optimized build: `cargo xtask bench --user`"]
fn yardstick_policy_of_many_rules_takes_less_than_its_toml() {
    held("100,000 rules with a path each", &text_of_many_rules(PATH_RULES, 256), 1.5, 100);
}

/// The same as one expression, which has to be parsed whole.
#[test]
#[ignore = "takes an optimized build: `cargo xtask bench --user`"]
fn yardstick_policy_of_one_tool_takes_less_than_its_toml() {
    held("100,000 rules in one tool", &text_of_many_rules(PATH_RULES, 1), 1.5, 150);
}

/// Long arrays of strings are what TOML is fastest with, while the automaton costs the same.
#[test]
#[ignore = "takes an optimized build: `cargo xtask bench --user`"]
fn yardstick_policy_of_long_rules_takes_less_than_three_times_its_toml() {
    held("256 rules with 390 paths each", &text_of_many_paths(PATH_RULES), 3.0, 60);
}

/// Holds a policy below so many times its TOML, and the process below so many MiB.
fn held(kind: &str, text: &str, most: f64, memory: u64) {
    let sources = [Source { path: "p.toml".into(), text: format!("schema = 1\n{text}") }];
    let [Source { text, .. }] = &sources;
    let (mut checked, mut compiled) = (Duration::MAX, Duration::MAX);
    let (mut toml, mut whole) = (Duration::MAX, Duration::MAX);
    let mut peak = 0;
    for round in 0..ROUNDS {
        let begin = Instant::now();
        let policy = crate::policy::check(&sources).unwrap();
        let check = begin.elapsed();
        let tables = compile(&policy).tables(&[]);
        let took = begin.elapsed();
        assert!(black_box(tables).rules.edges.len() > PATH_RULES);
        drop(policy);
        checked = checked.min(check);
        compiled = compiled.min(took - check);
        whole = whole.min(took);
        // Before the yardstick itself has taken memory.
        if round == 0 {
            peak = peak_kib() / 1024;
        }
        toml = toml.min(time(|| {
            black_box(toml::from_str::<toml::Table>(text).unwrap());
        }));
    }
    let times = whole.as_secs_f64() / toml.as_secs_f64();
    println!(
        "yardstick: a policy of {kind} in {} ms ({} checked, {} compiled), its TOML alone {} ms: {times:.1} \
         times, below {most}; peak {peak} MiB, below {memory}",
        whole.as_millis(),
        checked.as_millis(),
        compiled.as_millis(),
        toml.as_millis()
    );
    assert!(times < most, "{times:.2}");
    assert!(peak < memory, "{peak} MiB");
}

/// A policy with this many rules, of one path each, in so many tools.
fn text_of_many_rules(count: usize, tools: usize) -> String {
    let mut text = String::new();
    for tool in 0..tools {
        // Writing to a string can't fail.
        let _ = writeln!(text, "[tool.t{tool:03}]\nfiles = [");
        for number in (tool..count).step_by(tools) {
            let (a, b) = (number % 97, number % 89);
            let _ = writeln!(
                text,
                "  {{ paths = [\"/data/{a}/{b}/f{number}/**\"], access = [\"read\", \"write\"] }},"
            );
        }
        text.push_str("]\n");
    }
    text
}
