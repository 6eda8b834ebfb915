//! Policies: each bad one gets a clear message and changes nothing; good ones come into force whole.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use tests::{Interactive, Outcome, bed, layout, words};

const POLICY: &str = r#"
[tool.data]
files = [{ paths = ["/srv/test/policies/data/**"], access = ["read"] }]
[tool.spare]
files = [{ paths = ["/srv/test/policies/spare/**"], access = ["read"] }]
[profile.p]
tools = ["system", "data", "spare"]
"#;

const DATA: &str = "/srv/test/policies/data/file";
const SPARE: &str = "/srv/test/policies/spare/file";
const OTHER: &str = "/srv/test/policies/other/file";

fn prepare() {
    bed().policy(POLICY);
    let folder = bed().folder("policies");
    for place in ["data", "spare", "other"] {
        fs::create_dir(folder.join(place)).unwrap();
        fs::write(folder.join(place).join("file"), place).unwrap();
    }
}

/// The policy in force: its number and digest.
#[track_caller]
fn in_force(operator: &mut Interactive) -> (String, String) {
    let answer = operator.ask(words!["http", layout::SOCKET, "GET", "/v1/policy"]).value();
    let body: serde_json::Value = serde_json::from_str(answer.trim_start_matches("200 ")).unwrap();
    (body["generation"].to_string(), body["digest"].to_string())
}

/// Writes a policy file beside those of the bed, to be pushed.
fn file(name: &str, text: &str) -> String {
    let folder = Path::new("/srv/test/policies-pushed");
    fs::create_dir_all(folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[track_caller]
fn says(outcome: &Outcome, parts: &[&str]) {
    for part in parts {
        assert!(outcome.stderr.contains(part), "no `{part}` in {outcome}");
    }
}

#[test]
fn bad_policy_is_refused_with_place_and_help_and_changes_nothing() {
    prepare();
    let mut operator = Interactive::untagged();
    let mut probe = bed().session("p").interactive();
    let before = in_force(&mut operator);
    let cases: &[(&str, &[&str])] = &[
        ("schema = 1\n[tool.t\n", &["60-bad.toml:2:", "error:"]),
        (
            "schema = 1\n[profile.q]\ntools = [\"sytem\"]\n",
            &["60-bad.toml:3:10: error: unknown tool `sytem`", "help: did you mean `system`?"],
        ),
        (
            "schema = 1\n[tool.data]\n",
            &["60-bad.toml:2:7: error: tool `data` is defined twice", "50-test.toml:3:7", "unique"],
        ),
        (
            "schema = 1\n[tool.t]\nfiles = [{ paths = [\"srv/x\"], access = [\"read\"] }]\n",
            &["60-bad.toml:3:21: error:", "`srv/x`", "absolute", "help:"],
        ),
        (
            "schema = 1\n[tool.t]\nnetwork = [{ cidrs = [\"10.0.0.0/8\"], ports = [0] }]\n",
            &["60-bad.toml:3:47: error:", "port", "help:"],
        ),
        (
            "schema = 1\n[tool.t]\nnetwork = [{ cidrs = [\"10.0.0/8\"], ports = [443] }]\n",
            &["60-bad.toml:3:23: error:", "`10.0.0/8`", "help:"],
        ),
        (
            "schema = 1\n[tool.t]\nfile = []\n",
            &["60-bad.toml:3:1: error: unknown key `file`", "did you mean `files`?"],
        ),
        ("[tool.t]\n", &["60-bad.toml:1:", "`schema`", "schema = 1"]),
        (
            "schema = 1\n[profile.q]\nsession_ttl = \"8 hours\"\n",
            &["60-bad.toml:3:15: error:", "8 hours", "help:"],
        ),
        // All errors at once.
        (
            "schema = 1\n[profile.q]\ntools = [\"nothing\"]\nmode = \"enforced\"\n",
            &["60-bad.toml:3:10:", "60-bad.toml:4:8:", "did you mean `enforce`?", "2 errors"],
        ),
    ];
    for (text, parts) in cases {
        let pushed = bed().remit(["policy", "push", &file("60-bad.toml", text)]).expect(2);
        says(&pushed, parts);
        assert_eq!(pushed.stdout, "", "{pushed}");
    }
    assert_eq!(in_force(&mut operator), before);
    assert!(!Path::new(layout::POLICY).join("60-bad.toml").exists());
    assert_eq!(probe.ask(words!["read", DATA]).value(), "data");
    assert_eq!(probe.ask(words!["read", OTHER]).error(), "EACCES");

    // The same from the folder, and by the check that needs no daemon.
    let bad = Path::new(layout::POLICY).join("60-bad.toml");
    fs::write(&bad, cases[1].0).unwrap();
    says(&bed().remit(["policy", "reload"]).expect(2), cases[1].1);
    says(&bed().remit(["policy", "reload", "--dry-run"]).expect(2), cases[1].1);
    says(&bed().remit(["policy", "check", layout::POLICY]).expect(2), cases[1].1);
    assert_eq!(in_force(&mut operator), before);
    fs::remove_file(bad).unwrap();
    bed().remit(["policy", "check", layout::POLICY]).expect(0);
}

#[test]
fn folder_that_is_not_there_or_can_not_be_read_is_bad_policy() {
    prepare();
    let mut operator = Interactive::untagged();
    let before = in_force(&mut operator);
    let aside = format!("{}.aside", layout::POLICY);
    fs::rename(layout::POLICY, &aside).unwrap();
    let reload = bed().remit(["policy", "reload"]);
    let check = bed().remit(["policy", "check", layout::POLICY]);
    fs::rename(&aside, layout::POLICY).unwrap();
    for outcome in [reload, check] {
        says(&outcome.expect(2), &[layout::POLICY, "does not exist"]);
    }
    // One that may not be read.
    let locked = bed().folder("policies-locked");
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o700)).unwrap();
    let mut nobody = Command::new("setpriv");
    nobody.args([
        "--reuid=nobody",
        "--regid=nogroup",
        "--clear-groups",
        "remit",
        "policy",
        "check",
    ]);
    let outcome = Outcome::of(nobody.arg(&locked), &[]).expect(2);
    says(&outcome, &[&locked.to_string_lossy(), "Permission denied"]);
    assert_eq!(in_force(&mut operator), before);
    bed().remit(["policy", "reload"]).expect(0);
}

#[test]
fn daemon_that_can_not_be_reached_is_status_3() {
    let nowhere = "/run/remit-test/nowhere.sock";
    let mut command = Command::new("remit");
    command.args(["session", "list"]).env("REMIT_SOCKET", nowhere);
    let outcome = Outcome::of(&mut command, &[]).expect(3);
    says(&outcome, &["can't reach the daemon at", nowhere, "help:"]);
    let mut command = Command::new("remit");
    command.args(["--socket", nowhere, "run", "-p", "plain", "--", "true"]);
    says(&Outcome::of(&mut command, &[]).expect(3), &[nowhere]);
    bed().remit(["session", "list"]).expect(0);
}

#[test]
fn bad_usage_is_status_2() {
    prepare();
    for (arguments, part) in [
        (&["sessoin", "list"][..], "session"),
        (&["run", "--", "true"], "--profile"),
        (&["run", "-p", "p", "--ttl", "1x", "--", "true"], "1x"),
        (&["run", "-p", "p", "--workdir", "/no/such", "--", "true"], "/no/such"),
        (&["grant", "p-1", "data", "--reason", "x"], "--ttl"),
        (&["incidents", "--reason", "no_tol"], "no_tol"),
    ] {
        says(&bed().remit(arguments).expect(2), &[part]);
    }
    let unknown = bed().remit(["run", "-p", "pp", "--", "true"]).expect(1);
    says(&unknown, &["no profile `pp` in the policy", "did you mean `p`?"]);
}

#[test]
fn pushed_policy_is_kept_and_a_dry_run_is_not() {
    prepare();
    let mut operator = Interactive::untagged();
    let mut probe = bed().session("p").interactive();
    let text = "schema = 1\n[tool.pushed]\n\
                files = [{ paths = [\"/srv/test/policies/other/**\"], access = [\"read\"] }]\n";
    let pushed = bed().remit(["policy", "push", &file("60-more.toml", text)]).expect(0);
    assert!(pushed.stdout.contains("new tools: pushed"), "{pushed}");
    let kept = Path::new(layout::POLICY).join("60-more.toml");
    assert_eq!(fs::read_to_string(&kept).unwrap(), text);
    assert_eq!(probe.ask(words!["read", OTHER]).error(), "EACCES");
    probe.grant("pushed");
    assert_eq!(probe.ask(words!["read", OTHER]).value(), "other");

    fs::remove_file(kept).unwrap();
    let before = in_force(&mut operator);
    let dry = bed().remit(["policy", "reload", "--dry-run"]).expect(0);
    for part in ["would be in force", "tools gone: pushed", "would lose pushed"] {
        assert!(dry.stdout.contains(part), "no `{part}` in {dry}");
    }
    assert_eq!(in_force(&mut operator), before);
    assert_eq!(probe.ask(words!["read", OTHER]).value(), "other");
    let real = bed().remit(["policy", "reload"]).expect(0);
    for part in ["tools gone: pushed", "lost pushed"] {
        assert!(real.stdout.contains(part), "no `{part}` in {real}");
    }
    assert_eq!(probe.ask(words!["read", OTHER]).error(), "EACCES");
}

#[test]
fn reload_leaves_every_session_with_just_what_it_held() {
    prepare();
    let mut both = bed().session("p").interactive();
    let mut one = bed().session("p").interactive();
    one.revoke("spare");
    let mut reads = |data: &str, spare: &str, other: &str, who: &str| {
        let probe = if who == "both" { &mut both } else { &mut one };
        for (path, expected) in [(DATA, data), (SPARE, spare), (OTHER, other)] {
            assert_eq!(probe.ask(words!["read", path]).error(), expected, "{who}: {path}");
        }
    };
    reads("", "", "EACCES", "both");
    reads("", "EACCES", "EACCES", "one");
    // `spare` goes, others come: one of them takes its number sooner or later.
    let more = |tools: &[&str]| {
        let mut text = POLICY.replace("[tool.spare]", "[tool.x]").replace(", \"spare\"", "");
        text = text.replace("policies/spare", "policies/unused");
        for tool in tools {
            text.push_str(&format!(
                "[tool.{tool}]\nfiles = [{{ paths = [\"/srv/test/policies/**\"], \
                 access = [\"read\"] }}]\n"
            ));
        }
        text
    };
    bed().policy(&more(&["a1", "a2"]));
    reads("", "EACCES", "EACCES", "both");
    bed().policy(&more(&["a2", "a3", "a4", "a5"]));
    reads("", "EACCES", "EACCES", "both");
    reads("", "EACCES", "EACCES", "one");
    // A tool of the former name is not held again.
    bed().policy(POLICY);
    reads("", "EACCES", "EACCES", "both");
    reads("", "EACCES", "EACCES", "one");
    let shown = bed().remit(["session", "show", &both.name, "--json"]).expect(0).json();
    let history = shown["history"].as_array().unwrap();
    assert!(
        history.iter().any(|past| past["tool"] == "spare" && past["how"] == "dropped"),
        "{shown}"
    );
    both.grant("spare");
    assert_eq!(both.ask(words!["read", SPARE]).value(), "spare");
}
