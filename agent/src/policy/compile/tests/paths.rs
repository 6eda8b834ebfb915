//! The meaning of single rules, and sessions' own rules.

use agent_common::rule::{
    EDGE_FOLDED, EDGE_ROOT, EdgeKey, NODE_ANY, NODE_DENIED_NAMES, NODE_DENIED_PATTERNS,
    NODE_PATTERNS,
};

use super::*;
use crate::policy::compile::explain::RuleOwner;

/// Patterns, and for some paths which of them cover it.
#[test]
fn paths_by_pattern_are_covered_or_not() {
    let patterns = [
        "/usr/**",
        "/usr/lib",
        "/home/*/x",
        "/srv/*.log",
        "/srv/app*",
        "/srv/app.log",
        "/**",
        "/",
        "/proc/self/**",
        "/proc/*/stat",
        "/opt/a*a",
    ];
    let compiled = compile(&readers(&patterns));
    let cases: &[(&str, bool, &[u16])] = &[
        ("/", false, &[6, 7]),
        ("/usr", false, &[0, 6]),
        ("/usr/lib", false, &[0, 1, 6]),
        ("/usr/lib/x", false, &[0, 6]),
        ("/usrx", false, &[6]),
        ("/home/u/x", false, &[2, 6]),
        ("/home/u/x/y", false, &[6]),
        ("/home/x", false, &[6]),
        ("/srv/.log", false, &[3, 6]),
        ("/srv/app.log", false, &[3, 4, 5, 6]),
        ("/srv/app1.log", false, &[3, 4, 6]),
        ("/srv/app", false, &[4, 6]),
        ("/proc/12/stat", false, &[6, 9]),
        ("/proc/12/stat", true, &[6, 8, 9]),
        ("/proc/12/mem", true, &[6, 8]),
        ("/proc/12", true, &[6, 8]),
        ("/proc/12", false, &[6]),
        ("/opt/a", false, &[6]),
        ("/opt/aa", false, &[6, 10]),
        ("/opt/aba", false, &[6, 10]),
    ];
    for (path, own, expected) in cases {
        assert_eq!(tools_reading(&compiled, path, *own), *expected, "{path} {own}");
    }
}

/// The same patterns go on below `/ab/x` and `/cb/x`, but one of them has more behind it.
#[test]
fn equal_patterns_below_different_folders_are_kept_apart() {
    let compiled = compile(&readers(&["/a*/**", "/*/x/y", "/*/x/z*"]));
    for (path, expected) in [
        ("/ab/x/y", vec![0, 1]),
        ("/cb/x/y", vec![1]),
        ("/ab/x/zz", vec![0, 2]),
        ("/cb/x/zz", vec![2]),
        ("/ab/x/w", vec![0]),
        ("/cb/x/w", vec![]),
    ] {
        assert_eq!(tools_reading(&compiled, path, false), expected, "{path}");
    }
}

#[test]
fn session_rules_of_one_folder_do_not_reach_another() {
    let policy = readers(&["{workdir}/**", "/srv/{name}-*/data", "/shared/**"]);
    let mut compiled = compile(&policy);
    let one = compiled.instantiate(Slot(1), &variables(&[("workdir", "/home/a/"), ("name", "x")]));
    let two = compiled.instantiate(Slot(2), &variables(&[("workdir", "/home/b")])).unwrap();
    let one = one.unwrap();
    let reads = |slot, path| {
        let explanation = compiled.explain_path(path, READ, false, Some(Slot(slot)));
        explanation.labels.map(|label| !label.tools[0].is_empty())
    };
    assert_eq!(reads(1, "/home/a"), [false, true]);
    assert_eq!(reads(1, "/home/a/x/y"), [false, true]);
    assert_eq!(reads(1, "/home/b/x"), [false, false]);
    assert_eq!(reads(2, "/home/b/x"), [false, true]);
    assert_eq!(reads(2, "/home/a/x"), [false, false]);
    assert_eq!(reads(1, "/srv/x-1/data"), [false, true]);
    assert_eq!(reads(2, "/srv/x-1/data"), [false, false], "a variable not given: left out");
    assert_eq!(reads(2, "/shared/f"), [true, false]);
    assert_eq!(reads(9, "/home/a"), [false, false]);

    let nodes =
        |rules: &Rules| -> BTreeSet<u32> { rules.edges.iter().map(|(key, _)| key.node).collect() };
    assert!(nodes(&one).is_disjoint(&nodes(&two)));
    let tables = compiled.tables(&[&one, &two]);
    let roots: Vec<_> = tables
        .rules
        .edges
        .iter()
        .filter(|(key, _)| key.kind == EDGE_ROOT)
        .map(|(k, _)| *k)
        .collect();
    let root = EdgeKey::root;
    assert_eq!(roots, [root(SHARED_ROOT), root(SESSION_ROOT + 1), root(SESSION_ROOT + 2)]);
    for (label, _) in one.labels.iter().chain(&two.labels) {
        assert!(tables.rules.labels.iter().any(|(other, _)| other == label));
    }

    compiled.remove(Slot(1));
    let again = compiled.instantiate(Slot(1), &variables(&[("workdir", "/home/c")])).unwrap();
    let inner = |rules| nodes(rules).into_iter().filter(|n| *n < SESSION_ROOT).collect::<Vec<_>>();
    assert!(inner(&again).iter().all(|node| !inner(&one).contains(node)), "numbers never repeat");
}

#[test]
fn session_without_own_paths_has_no_rules() {
    let mut compiled = compile(&readers(&["/a"]));
    assert_eq!(compiled.instantiate(SLOT, &variables(&[])).unwrap(), Rules::default());
}

#[test]
fn value_that_is_not_allowed_in_a_path_is_refused() {
    let mut compiled = compile(&readers(&["{workdir}/**", "/srv/{name}", "/srv/{name}*"]));
    let long = "x".repeat(300);
    for (name, value, message) in [
        ("workdir", "a/b", "it must be an absolute path"),
        ("workdir", "", "it must be an absolute path"),
        ("workdir", "/a/../b", "it must be without `//`, `.` and `..`"),
        ("workdir", "/a//b", "it must be without `//`, `.` and `..`"),
        ("workdir", "/a/*", "it must be without `*`"),
        ("workdir", "/a\0", "it has a NUL byte"),
        ("name", "a/b", "it stands for a part of a name, which has no `/`"),
        ("name", "..", "the name would be `.` or `..`"),
        ("name", "", "it is empty"),
        ("name", &long, "the name gets longer than 255 bytes"),
    ] {
        let error = compiled.instantiate(SLOT, &variables(&[(name, value)])).unwrap_err();
        let error = error.to_string();
        assert!(error.ends_with(&format!(": {message}")), "{value:?}: {error}");
        assert!(error.starts_with(&format!("variable `{name}` can't be `")), "{error}");
    }
    assert!(compiled.instantiate(SLOT, &variables(&[("workdir", "/a b/ü/{x}")])).is_ok());
    assert_eq!(tools_reading(&compiled, "/a b/ü/{x}/f", false), [0]);
    compiled.instantiate(SLOT, &variables(&[("workdir", "/")])).unwrap();
    assert_eq!(tools_reading(&compiled, "/anything", false), [0]);
    let error = compiled.instantiate(SLOT, &variables(&[("Work", "/")])).unwrap_err();
    assert!(error.to_string().starts_with("`Work` can't be a variable"));
}

#[test]
fn denial_names_the_rule_that_decides() {
    let policy = policy(
        "[tool.t]\nfiles = [{ paths = [\"/etc/**\", \"{workdir}/**\"], access = [\"read\"] }]\n\
         [[deny]]\npaths = [\"/etc/shadow\", \"{workdir}/.env\"]\naccess = [\"read\", \"write\"]\n\
         [[data]]\npaths = [\"/etc/**\"]\nsensitivity = \"confidential\"\n",
    );
    let builtin = Builtin {
        deny: vec![("/run/remit/**".into(), Rights::FILE), ("/etc/shadow".into(), Rights::FILE)],
        always: vec![("/run/remit/control.sock".into(), Rights::of(Right::Connect))],
    };
    let mut compiled = Compiled::new(&policy, &bits(&policy), &builtin).unwrap();
    compiled.instantiate(SLOT, &variables(&[("workdir", "/w")])).unwrap();
    let explain = |path, rights| compiled.explain_path(path, rights, false, Some(SLOT));

    let found = explain("/etc/shadow", READ);
    assert_eq!(found.labels[0].denied, 0x7f);
    assert_eq!(found.labels[0].sensitivity, 1);
    let denial = found.denial.unwrap();
    assert_eq!((denial.line, denial.column, denial.owner), (5, 10, RuleOwner::Deny));
    assert_eq!(denial.text, "/etc/shadow");
    assert_eq!(found.rules.len(), 4);

    assert_eq!(explain("/w/.env", READ).denial.unwrap().text, "{workdir}/.env");
    assert_eq!(explain("/w/.env", Rights::of(Right::Exec)).denial, None);
    assert_eq!(explain("/etc/passwd", READ).denial, None);
    assert_eq!(compiled.rule_denying("/w/.env", READ, false, None), None);

    let socket = Rights::of(Right::Connect);
    let found = explain("/run/remit/control.sock", socket);
    assert_eq!((found.labels[0].denied, found.labels[0].always), (0x5f, 0x20));
    assert_eq!(found.denial, None);
    let found = explain("/run/remit/other.sock", socket);
    assert_eq!(found.denial.unwrap().owner, RuleOwner::Builtin);
}

#[test]
fn invalid_builtin_path_is_refused() {
    let policy = readers(&["/a"]);
    for path in ["relative", "{workdir}/x"] {
        let builtin = Builtin { deny: vec![(path.into(), READ)], always: Vec::new() };
        assert!(Compiled::new(&policy, &bits(&policy), &builtin).is_err(), "{path}");
    }
}

#[test]
fn reload_keeps_the_bits_of_the_tools_that_stay() {
    let before =
        policy("[tool.b]\n[tool.c]\nfiles = [{ paths = [\"/c\"], access = [\"read\"] }]\n");
    let mut bits = bits(&before);
    let after = policy("[tool.a]\n[tool.c]\nfiles = [{ paths = [\"/c\"], access = [\"read\"] }]\n");
    bits.assign(after.tools.keys(), &ToolSet::EMPTY).unwrap();
    let compiled = Compiled::new(&after, &bits, &Builtin::default()).unwrap();
    assert_eq!(tools_reading(&compiled, "/c", false), [1]);
    assert_eq!(bits.bit("a").map(|bit| bit.0), Some(2));
}

#[test]
fn denied_names_have_edges_in_small_letters_too() {
    let rules = |deny: &str| {
        let text = format!(
            "[tool.t]\nfiles = [{{ paths = [\"/a/Open\", \"/A/KEY\"], access = [\"read\"] }}]\n\
             [[deny]]\npaths = [{deny}]\naccess = [\"read\"]\n"
        );
        compile(&policy(&text)).tables(&[]).rules
    };
    let named = rules("\"/a/Secret.Key\"");
    let folded = named.edges.iter().filter(|(key, _)| key.kind == EDGE_FOLDED);
    let names: Vec<&[u8]> = folded.clone().map(|(key, _)| &key.bytes[..key.len.into()]).collect();
    // Below `/a`, and below what is both `/a` and `/A`.
    assert_eq!(names, [b"a".as_slice(), b"secret.key", b"secret.key"]);
    assert_eq!(folded.map(|(_, edge)| edge.flags).collect::<Vec<_>>(), [NODE_DENIED_NAMES, 0, 0]);
    let flags = |rules: &Rules| rules.edges.iter().fold(0, |all, (_, edge)| all | edge.flags);
    assert_eq!(flags(&named), NODE_DENIED_NAMES);
    // A `*` alone is every name, in every case.
    assert_eq!(flags(&rules("\"/*/x\"")), NODE_ANY | NODE_DENIED_NAMES);
    assert_eq!(
        flags(&rules("\"/a/x*\"")),
        NODE_PATTERNS | NODE_DENIED_NAMES | NODE_DENIED_PATTERNS
    );
}
