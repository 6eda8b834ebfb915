//! The promised sizes, one more of each, and their cost.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use agent_common::limits::{AFFIXES, LABELS, NETWORK_RULES, PATH_RULES, PORTS, SESSIONS};

use super::*;

/// A policy with this many paths over 256 tools, of the kinds that policies have.
fn many_paths(count: usize) -> Policy {
    policy(&text_of_many_paths(count))
}

/// What such a policy says.
pub(super) fn text_of_many_paths(count: usize) -> String {
    let mut text = String::new();
    for tool in 0..256 {
        let _ = write!(text, "[tool.t{tool:03}]\nfiles = [{{ access = [\"read\"], paths = [");
        for number in (tool..count).step_by(256) {
            let _ = match number % 10 {
                0 => write!(text, "\"/srv/p{number}/*.log\","),
                1 => write!(text, "\"/home/u{}/project/w{number}/**\",", number / 50),
                2 => write!(text, "\"/opt/a-rather-long-name-of-a-program-{number}/bin/**\","),
                _ => write!(text, "\"/data/{}/{}/f{number}\",", number % 97, number % 89),
            };
        }
        text.push_str("] }]\n");
    }
    text
}

fn limit(policy: &Policy) -> String {
    Compiled::new(policy, &bits(policy), &Builtin::default()).err().unwrap().to_string()
}

pub(super) fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

#[test]
fn paths_up_to_the_limit_compile_and_one_more_is_refused() {
    let policy = many_paths(PATH_RULES);
    let start = Instant::now();
    let compiled = compile(&policy);
    let took = start.elapsed();
    // Of the whole process: with the text, its TOML and the checked policy.
    let peak = peak_kib() / 1024;
    let tables = compiled.tables(&[]);
    let (edges, affixes) = (tables.rules.edges.len(), tables.rules.affixes.len());
    let labels = tables.rules.labels.len();
    println!(
        "{PATH_RULES} paths: {took:?}, peak {peak} MiB, {edges} edges, {affixes} affixes, {labels} labels"
    );
    if !cfg!(debug_assertions) {
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    assert_eq!(tools_reading(&compiled, "/srv/p70/x.log", false), [70]);
    assert_eq!(tools_reading(&compiled, "/data/3/3/f3", false), [3]);
    assert_eq!(tools_reading(&compiled, "/data/3/4/f3", false), [0u16; 0]);
    assert_eq!(
        limit(&many_paths(PATH_RULES + 1)),
        "the policy names 100001 paths, one more than the kernel's tables hold: 100000"
    );
}

#[test]
fn sessions_up_to_the_limit_have_their_own_rules() {
    let mut compiled = compile(&readers(&["{workdir}/**", "{workdir}/.env", "/srv/{name}-*/d"]));
    let start = Instant::now();
    let own: Vec<Rules> = (0..SESSIONS)
        .map(|n| {
            let values = [("workdir", format!("/home/u{n}/project")), ("name", format!("s{n}"))];
            let values = values.map(|(name, value)| (name.to_owned(), value)).into();
            compiled.instantiate(Slot(n as u32), &values).unwrap()
        })
        .collect();
    let tables = compiled.tables(&own.iter().collect::<Vec<_>>());
    println!("{SESSIONS} sessions: {:?}, {} edges", start.elapsed(), tables.rules.edges.len());
    assert!(tables.rules.labels.len() < 8, "labels are shared");
    let reads = |slot, path| {
        compiled.explain_path(path, READ, false, Some(Slot(slot))).labels[1] != Label::NONE
    };
    assert!(reads(1023, "/home/u1023/project/x") && reads(0, "/home/u0/project/x"));
    assert!(!reads(1023, "/home/u0/project/x") && !reads(0, "/home/u1023/project/x"));
}

#[test]
fn paths_of_one_folder_with_patterns_compile() {
    let mut text = String::from("[tool.t]\nfiles = [{ access = [\"read\"], paths = [");
    for number in 0..20_000 {
        let _ = write!(text, "\"/d/f{number}\",");
        if number % 20 == 0 {
            let _ = write!(text, "\"/d/p{number}*\",");
        }
        if number % 200 == 0 {
            let _ = write!(text, "\"/d/*.x{number}\",");
        }
    }
    let policy = policy(&(text + "] }]\n"));
    let start = Instant::now();
    let compiled = compile(&policy);
    println!("{:?}, {} edges", start.elapsed(), compiled.tables(&[]).rules.edges.len());
    assert_eq!(tools_reading(&compiled, "/d/p20q.x200", false), [0]);
}

#[test]
fn patterns_that_multiply_are_refused_before_memory_is_short() {
    let mut text = String::from("[tool.t]\nfiles = [{ access = [\"read\"], paths = [");
    for number in 0..4_000 {
        let _ = write!(text, "\"/p{number}-*\",\"/*-s{number}\",");
    }
    let policy = policy(&(text + "] }]\n"));
    let said = limit(&policy);
    assert!(said.contains("more edges"), "{said}");
    assert!(
        said.ends_with(" and 7997 more") && said.contains("it is `/p0-*` (p.toml:3:"),
        "{said}"
    );
}

#[test]
fn patterns_that_combine_in_ever_more_ways_are_refused_and_named() {
    // Which of the last names was `a`: two to the power of their number.
    let names = "/*".repeat(24);
    let policy = readers(&[&format!("/x/**/a{names}/b"), "/x/**/harmless", "/y/*/z", "/plain/**"]);
    let start = Instant::now();
    let said = limit(&policy);
    println!("{:?}, peak {} MiB: {said}", start.elapsed(), peak_kib() / 1024);
    let named = format!("; it is `/x/**/a{names}/b` (p.toml:3:21)");
    assert!(said.ends_with(&named), "{said}");
}

#[test]
fn affixes_at_the_limit_fit() {
    // Four for each folder: no prefix, no suffix, the prefix, and the suffix.
    let mut text = String::from("[tool.t]\nfiles = [{ access = [\"read\"], paths = [");
    for number in 0..PATH_RULES {
        let _ = write!(text, "\"/d{number}/a*b\",");
    }
    let start = Instant::now();
    let tables = compile(&policy(&(text + "] }]\n"))).tables(&[]);
    println!("{:?}, peak {} MiB", start.elapsed(), peak_kib() / 1024);
    assert_eq!(tables.rules.affixes.len(), AFFIXES);
    // As the kernel gets them, each is there once.
    let keys: std::collections::HashSet<_> =
        tables.rules.affixes.iter().map(|(key, bits, _)| (key.node, key.kind, bits)).collect();
    assert_eq!(keys.len(), AFFIXES);
}

#[test]
fn session_whose_affixes_do_not_fit_is_refused_and_the_one_before_is_not() {
    let mut text = String::from("[tool.t]\nfiles = [{ access = [\"read\"], paths = [");
    for number in 1..PATH_RULES {
        let _ = write!(text, "\"/d{number}/a*b\",");
    }
    text.push_str("\"{workdir}/a*b\"] }]\n");
    let mut compiled = compile(&policy(&text));
    let mut start = |number: u32| {
        let values = [("workdir".to_owned(), format!("/w{number}"))].into();
        compiled.instantiate(Slot(number), &values).map(|rules| rules.affixes.len())
    };
    assert_eq!(start(0), Ok(4));
    assert_eq!(
        start(1).unwrap_err().to_string(),
        "the policy's paths with `*`, with those of the live sessions, need more prefixes and suffixes than \
         the kernel's tables hold: 400000; it is `{workdir}/a*b` (p.toml:3:1388920)"
    );
}

#[test]
fn ranges_in_ranges_that_multiply_ports_are_refused() {
    // Each of the inner ranges has all ports of the outer one too.
    let policy_of = |inner: usize| {
        let ports: Vec<String> = (0..250).map(|port| (1 + port * 2).to_string()).collect();
        let mut text = format!(
            "[tool.t]\nnetwork = [{{ cidrs = [\"10.0.0.0/8\"], ports = [{}] }},",
            ports.join(", ")
        );
        for number in 0..inner {
            let (a, b) = (number / 200, number % 200);
            let _ =
                write!(text, "{{ cidrs = [\"10.1.{a}.{b}/32\"], ports = [{}] }},", 10_000 + number);
        }
        policy(&(text + "]\n"))
    };
    assert!(compile(&policy_of(3_500)).tables(&[]).ports.len() < PORTS);
    assert_eq!(
        limit(&policy_of(4_500)),
        "the policy's nested address ranges need more entries for ports than the kernel's tables hold: 1000000"
    );
}

#[test]
fn tool_257_is_refused() {
    let text: String = (0..257).map(|n| format!("[tool.t{n}]\n")).collect();
    let policy = policy(&text);
    let error = Compiled::new(&policy, &ToolBits::new(), &Builtin::default()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the policy names 257 tools, one more than the kernel's tables hold: 256"
    );
}

#[test]
fn labels_up_to_the_limit_compile_and_one_more_is_refused() {
    // One file for each tool and each of 64 sets of rights: with the empty label one too many.
    let names: Vec<_> = Right::ALL.iter().map(|right| format!("\"{}\"", right.name())).collect();
    let policy_of = |count: usize| {
        let mut text = String::new();
        for tool in 0..256 {
            let _ = write!(text, "[tool.t{tool:03}]\nfiles = [");
            for set in (1..=64_usize).filter(|set| tool * 64 + set <= count) {
                let access: Vec<_> =
                    (0..7).filter(|n| set >> n & 1 == 1).map(|n| &*names[n]).collect();
                let access = access.join(", ");
                let _ = write!(text, "{{ paths = [\"/f{tool}-{set}\"], access = [{access}] }},");
            }
            text.push_str("]\n");
        }
        policy(&text)
    };
    let labels = compile(&policy_of(LABELS - 1)).tables(&[]).rules.labels.len();
    assert_eq!(labels, LABELS);
    assert!(limit(&policy_of(LABELS)).contains("more different labels"));
}

#[test]
fn endpoints_up_to_the_limit_compile_and_one_more_is_refused() {
    let policy_of = |count: usize| {
        let mut text = String::new();
        for tool in 0..100 {
            let _ = write!(text, "[tool.t{tool:02}]\nnetwork = [");
            for number in (tool..count).step_by(100) {
                let (a, b) = (number / 200, number % 200);
                let _ =
                    write!(text, "{{ cidrs = [\"10.{a}.{b}.0/24\"], ports = [\"1-{}\"] }},", b + 1);
            }
            text.push_str("]\n");
        }
        policy(&text)
    };
    let policy = policy_of(NETWORK_RULES);
    let start = Instant::now();
    let tables = compile(&policy).tables(&[]);
    let took = start.elapsed();
    println!("{took:?}, {} prefixes, {} ports", tables.addresses.len(), tables.ports.len());
    if !cfg!(debug_assertions) {
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
    assert_eq!(
        limit(&policy_of(NETWORK_RULES + 1)),
        "the policy names 10001 endpoints (address range and port range), one more than the kernel's \
         tables hold: 10000"
    );
}
