//! Policies that are right, and what is read in them.

use std::{path::Path, time::Duration};

use agent_common::{
    access::{Right, Rights},
    authority::{Mode, ToolSet},
};

use super::*;
use crate::policy::{
    Approval, Builtin, Compiled, Direction, Limits, OnRevoke, Protocol, Recall, ToolBits,
    value::{Host, PortRange},
    with_shipped,
};

/// The policy that the design document shows.
const SAMPLE: &str = include_str!("sample.toml");

#[test]
fn sample_of_the_design_is_read_as_documented() {
    let policy = accept(&one(SAMPLE));
    let names: Vec<_> = policy.tools.keys().map(String::as_str).collect();
    assert_eq!(names, ["base", "customers", "database", "github", "workspace"]);
    let base = &policy.tools["base"];
    assert_eq!(base.description.as_deref(), Some("System libraries and programs"));
    assert_eq!(base.files[0].access, Rights::of(Right::Read).with(Right::Exec));
    assert_eq!(base.files.len(), 3);
    let place = base.files[1].paths[3].place();
    assert_eq!((place.line, place.column), (7, 74));

    let github = &policy.tools["github"].network[0];
    assert_eq!(github.hosts[0], Host { name: "github.com".into(), below: false });
    assert_eq!(github.ports, [PortRange { first: 443, last: 443 }]);
    assert_eq!((github.protocol, github.direction), (Protocol::Tcp, Direction::Connect));
    let database = &policy.tools["database"].network[0];
    assert_eq!(database.cidrs[1].net.to_string(), "fd00:20::/64");

    assert_eq!(policy.sensitivities, ["confidential"]);
    assert_eq!(policy.denials[0].access, Rights::of(Right::Read).with(Right::Write));
    assert_eq!(policy.conflicts[0].tools, ["customers", "github"]);

    let coder = &policy.profiles["coder"];
    assert_eq!(coder.mode, Mode::Enforce);
    assert_eq!(coder.tools, ["base", "workspace"]);
    assert_eq!(coder.session_ttl, Duration::from_secs(8 * 3600));
    assert_eq!(coder.limits, Limits { tasks: Some(512), memory: Some(4 << 30) });
    assert_eq!(coder.requests["github"].max_ttl, Duration::from_secs(900));
    assert_eq!(coder.requests["github"].approval, Approval::Automatic);
    assert!(coder.requests["customers"].reason_required);
    assert_eq!(coder.match_exe.as_deref(), Some("/usr/bin/claude"));
    assert_eq!(coder.may_start.users, ["dev"]);
    assert_eq!(coder.may_start.groups, ["agents"]);
    assert_eq!(coder.may_start.sessions, 20);
    assert!(coder.workdir.is_empty());
    assert_eq!(coder.when[0].tainted, "confidential");
    assert_eq!(coder.when[0].lose, ["github"]);
    assert!(coder.variables.iter().eq(["workdir"]));
}

#[test]
fn sample_of_the_design_warns_of_what_is_not_in_force() {
    let policy = accept(&one(SAMPLE));
    let warned: Vec<_> = policy.warnings.iter().map(shown).collect();
    assert!(policy.warnings.iter().all(|w| w.severity == Severity::Warning));
    let expected = [
        "15:14 not-in-force [hosts] `hosts` is checked, but not in force yet | only `cidrs` open \
         anything: names are not looked up",
        "25:1 not-in-force [sensitivity] `sensitivity` is checked, but not in force yet | it is \
         recorded; what a session touches does not change what it holds",
        "31:1 not-in-force [[[conflict]]] `[[conflict]]` is checked, but not in force yet | grants \
         are not held against it; what profiles hold from the start is",
        "39:9 not-in-force [github] `request.github` is checked, but not in force yet | an operator \
         can `remit grant` the tool",
        "40:9 not-in-force [customers] `request.customers` is checked, but not in force yet | an \
         operator can `remit grant` the tool",
        "41:1 not-in-force [match] `match` is checked, but not in force yet | sessions start by \
         `remit run`, which finds the profile by it",
        "44:1 not-in-force [[[profile.coder.when]]] `when` is checked, but not in force yet | what a \
         session has touched does not change what it holds",
    ];
    assert_eq!(warned, expected);
}

/// The policy for a new host, with what ships.
fn default_policy() -> Policy {
    let shipped = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/policy"));
    let own = Source {
        path: "/etc/remit/policy.d/10-default.toml".into(),
        text: include_str!("../../../../policy/default.toml").into(),
    };
    let files = with_shipped(vec![own], shipped).unwrap();
    check_files(&files).unwrap_or_else(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", errors.join("\n"))
    })
}

#[test]
fn all_that_ships_is_accepted_without_a_warning() {
    let shipped = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/policy"));
    let mut sources = crate::policy::read(shipped).unwrap();
    sources.retain(|source| !source.path.ends_with("default.toml"));
    // Each by itself: it takes what it names.
    for source in &sources {
        let name = source.path.file_stem().unwrap().to_str().unwrap();
        let text = format!("schema = 1\nuse = [\"{name}\"]\n");
        let files = with_shipped(one(&text), shipped).unwrap();
        let policy = check_files(&files).unwrap_or_else(|errors| panic!("{name}: {}", errors[0]));
        assert!(policy.warnings.is_empty(), "{name}: {}", policy.warnings[0]);
    }
    assert!(default_policy().warnings.is_empty());
    // What the documents take and name as their own does not clash.
    let text = "schema = 1\nuse = [\"base\", \"git\", \"npm\", \"anthropic\"]\n\
                [tool.workspace]\n[tool.github]\n[tool.database]\n[profile.coder]\n";
    check_files(&with_shipped(one(text), shipped).unwrap()).unwrap();
}

#[test]
fn profiles_that_ship_name_different_programs() {
    let policy = default_policy();
    let programs = policy.profiles.values().flat_map(|profile| &profile.programs);
    let programs: Vec<_> = programs.map(String::as_str).collect();
    let expected = ["claude", "codex", "gemini", "mini", "mini-swe-agent", "opencode"];
    assert_eq!(programs, expected);
}

#[test]
fn default_policy_is_accepted_and_fits() {
    let policy = default_policy();
    assert_eq!(policy.profiles["coder"].mode, Mode::Enforce);
    assert_eq!(policy.profiles["auditor"].mode, Mode::Audit);
    assert!(policy.profiles["coder"].variables.iter().eq(["workdir"]));
    let mut bits = ToolBits::new();
    bits.assign(policy.tools.keys(), &ToolSet::EMPTY).unwrap();
    let compiled = Compiled::new(&policy, &bits, &Builtin::default()).unwrap();
    let explain = |path, right| compiled.explain_path(path, Rights::of(right), false, None);
    let base = bits.set(["base"]);
    let rows = |path, right: Right| explain(path, right).labels[0].tools[right as usize];
    assert_eq!(rows("/usr/bin/python3.11", Right::Exec), base);
    assert_eq!(rows("/usr/bin/python3.11", Right::Write), ToolSet::EMPTY);
    assert_eq!(rows("/etc/python3.11/sitecustomize.py", Right::Read), base);
    for path in ["/etc/shadow", "/home/u/.ssh/id_ed25519", "/root/.ssh/x_rsa", "/run/docker.sock"] {
        assert!(explain(path, Right::Read).denial.is_some(), "{path}");
    }
    for path in ["/root/.ssh/authorized_keys", "/home/u/.bashrc", "/home/u/.ssh"] {
        assert_eq!(explain(path, Right::Read).denial, None, "{path}");
        assert!(explain(path, Right::Write).denial.is_some(), "{path}");
    }
    assert_eq!(explain("/etc/passwd", Right::Read).denial, None);
}

#[test]
fn names_of_another_file_are_known() {
    let sources = [
        Source {
            path: "10.toml".into(),
            text: "schema = 1\n[profile.p]\ntools = [\"t\"]\n".into(),
        },
        Source { path: "20.toml".into(), text: "schema = 1\n[tool.t]\n".into() },
        Source { path: "30.toml".into(), text: "# nothing\n".into() },
    ];
    let policy = accept(&sources);
    assert_eq!(policy.profiles["p"].tools, ["t"]);
    assert_eq!(policy.profiles["p"].mode, Mode::Enforce);
    assert_eq!(policy.digest.len(), 64);
    assert_ne!(policy.digest, accept(&sources[1..2]).digest);
}

#[test]
fn no_files_are_an_empty_policy() {
    assert!(accept(&[]).tools.is_empty());
}

#[test]
fn profile_variables_are_those_of_its_tools_and_of_denials() {
    let file = |name: &str| {
        format!("files = [{{ paths = [\"/x/{{{name}}}/**\"], access = [\"read\"] }}]\n")
    };
    let policy = accept(&body(&format!(
        "[tool.a]\n{}[tool.b]\n{}[tool.c]\n{}[profile.p]\ntools = [\"a\"]\n\
         request.b = {{ max_ttl = \"1m\" }}\n\
         [[deny]]\npaths = [\"{{home}}/.ssh\"]\naccess = [\"read\"]\n\
         [[data]]\npaths = [\"/d/{{tenant}}-*\"]\nsensitivity = \"s\"\n",
        file("one"),
        file("two"),
        file("three"),
    )));
    assert!(policy.profiles["p"].variables.iter().eq(["home", "one", "tenant", "two"]));
}

#[test]
fn keys_without_effect_yet_are_accepted_with_a_warning_each() {
    let policy = accept(&body(
        "[tool.t]\non_revoke = \"kill\"\nsetid = true\nrecall = \"opens\"\n\
         [[deny]]\npaths = [\"/x\"]\naccess = [\"read\"]\nunless = { grant = \"t\" }\n\
         [profile.p]\nmay_delegate = [\"p\"]\n",
    ));
    let warned: Vec<_> = policy.warnings.iter().map(|w| w.underlined()).collect();
    assert_eq!(warned, ["unless", "may_delegate"]);
    assert!(policy.tools["t"].setid);
    assert_eq!(policy.tools["t"].recall, Recall::Opens);
}

#[test]
fn on_revoke_is_one_of_three_words() {
    let words = [
        ("block", OnRevoke::Block),
        ("kill", OnRevoke::Kill),
        ("kill-session", OnRevoke::KillSession),
    ];
    for (word, meant) in words {
        let policy = accept(&body(&format!("[tool.t]\non_revoke = \"{word}\"\n")));
        assert_eq!(policy.tools["t"].on_revoke, meant);
    }
    assert_eq!(accept(&body("[tool.t]\n")).tools["t"].on_revoke, OnRevoke::Block);
}

#[test]
fn mapped_range_is_the_ipv4_one() {
    let text = "[tool.t]\nnetwork = [{ cidrs = [\"::ffff:10.0.0.0/104\", \"::/0\"] }]\n";
    let policy = accept(&body(text));
    let cidrs = &policy.tools["t"].network[0].cidrs;
    assert_eq!(cidrs[0].net.to_string(), "10.0.0.0/8");
    assert_eq!(cidrs[1].net.to_string(), "::/0");
}

#[test]
fn path_that_matches_less_than_it_seems_to_is_warned_of() {
    let text = "[[deny]]\naccess = [\"read\"]\npaths = [\"/proc/1/environ\", \"/proc/1*/x\", \
                \"/proc/thread-self/x\", \"/proc/*/x\", \"/proc/self/x\", \"/proc/sys/**\", \
                \"/proc/**\"]\n";
    let policy = accept(&body(text));
    let warned: Vec<_> = policy.warnings.iter().map(|w| (w.underlined(), &*w.message)).collect();
    let own = |path: &str| format!("`{path}` does not hold for the session's own processes");
    assert_eq!(
        warned,
        [
            ("\"/proc/1/environ\"".to_owned(), &*own("/proc/1/environ")),
            ("\"/proc/1*/x\"".to_owned(), &*own("/proc/1*/x")),
            (
                "\"/proc/thread-self/x\"".to_owned(),
                "`/proc/thread-self/x` is a link: no file is reached by it"
            ),
        ]
    );
}

#[test]
fn tool_that_hands_over_the_host_is_warned_of_at_its_place() {
    let policy = accept(&body(
        r#"
[tool.t]
files = [
  { paths = ["/run/mine.sock", "/run/docker.sock"], access = ["connect"] },
  { paths = ["/etc/hosts", "/etc/cron.d/mine"], access = ["read", "write"] },
  { paths = ["/etc/cron.d/mine", "/run/docker.sock"], access = ["read"] },
]
"#,
    ));
    let warned: Vec<_> = policy.warnings.iter().map(shown).collect();
    assert_eq!(warned.len(), 2, "{warned:#?}");
    let socket =
        "5:32 hazard [\"/run/docker.sock\"] `/run/docker.sock` hands over the host: `connect` on";
    assert!(warned[0].starts_with(socket), "{}", warned[0]);
    assert!(warned[0].contains(" | let a proxy"), "{}", warned[0]);
    let cron =
        "6:28 hazard [\"/etc/cron.d/mine\"] `/etc/cron.d/mine` hands over the host: `write` on";
    assert!(warned[1].starts_with(cron), "{}", warned[1]);
}

#[test]
fn profile_has_the_limits_of_its_starts() {
    let policy = accept(&body(
        "[profile.p]\nworkdir = [\"{home}/src/**\"]\nmay_start = { users = [\"dev\"], sessions = 3 }\n",
    ));
    let profile = &policy.profiles["p"];
    assert_eq!(profile.may_start.sessions, 3);
    assert_eq!(profile.workdir[0].text(), "{home}/src/**");
    // They are no variables of the session's rules.
    assert!(profile.variables.is_empty());
}

#[test]
fn environment_of_a_profile_needs_its_variables() {
    let policy = accept(&body(
        "[profile.p]\nenv = { TMPDIR = \"{tmp}/x\", B = \"{gitdir?}\" }\nenv_drop = [\"AWS_*\", \"X\"]\n",
    ));
    let profile = &policy.profiles["p"];
    let names: Vec<_> = profile.environment.set.keys().collect();
    assert_eq!(names, ["B", "TMPDIR"]);
    assert_eq!(profile.environment.drop, ["AWS_*", "X"]);
    assert!(profile.variables.iter().eq(["tmp"]));
}
