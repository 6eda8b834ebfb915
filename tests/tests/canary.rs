//! The canary: good on a sound host, and loud when a hook is gone or the log can't be written; within its
//! interval, unasked.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use serde_json::Value;
use tests::{
    Changed, Hole, allowed, bed, judge,
    layout::{LOG, SETTINGS},
    outcome::eventually,
    refused, words,
};

const FOLDER: &str = "/run/remit-test/socket/control.canary";
/// How soon a fault must be known: an interval of a second, and a run, on a busy emulated processor.
const SOON: Duration = Duration::from_secs(30);

fn metrics() -> String {
    bed().ask("GET", "/v1/metrics", "").done()
}

/// Has the canary run.
fn tried() -> Value {
    bed().ask("POST", "/v1/canary", "").json()
}

/// Has the canary run, which must come to this.
#[track_caller]
fn run(state: &str) -> Value {
    let found = tried();
    assert_eq!(found["state"], state, "{found:#}\n{}", bed().daemon_log());
    found
}

#[track_caller]
fn good() -> Value {
    run("ok")
}

/// The canary's lines of the log.
fn lines() -> Vec<Value> {
    let told = bed().remit(["incidents", "--kind", "canary", "--json"]).expect(0).stdout;
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn outcomes<'a>(canary: &'a Value, outcome: &str) -> Vec<&'a str> {
    let tries = canary["tries"].as_array().unwrap().iter();
    let tries = tries.filter(|tried| tried["outcome"] == outcome);
    tries.map(|tried| tried["operation"].as_str().unwrap()).collect()
}

fn doctor() -> tests::Outcome {
    bed().remit(["doctor", "--config", SETTINGS])
}

#[test]
fn sound_host_is_good_and_nobody_sees_the_canary() {
    bed().policy("");
    let before = lines().len();
    // Another test's sessions are refused the canary's files.
    let named = || {
        let all = bed().remit(["incidents", "--all", "--json"]).expect(0).stdout;
        all.matches("control.canary").count()
    };
    let verified = || bed().remit(["incidents", "verify", "--json"]).expect(0).json();
    let (named_before, missing_before) = (named(), verified()["missing"].clone());
    let failures_before = good()["failures"].clone();
    let found = good();
    assert_eq!(outcomes(&found, "skipped"), Vec::<&str>::new(), "{found:#}");
    assert_eq!(outcomes(&found, "done"), ["file.open", "net.socket", "process.signal"]);
    let refused: BTreeSet<_> = outcomes(&found, "refused").into_iter().collect();
    for class in ["file.open", "file.exec", "net.connect", "unix.connect", "process.trace"] {
        assert!(refused.contains(class), "{class}: {found:#}");
    }
    assert_eq!(found["failures"], failures_before);
    doctor().expect(0);
    let page = metrics();
    assert!(page.contains("\nremit_canary_ok 1\n"), "{page}");
    assert!(page.contains("\nremit_programs_skipped_total 0\n"), "{page}");
    assert_eq!(lines().len(), before);
    assert_eq!(named(), named_before, "its refusals are no lines");
    let sessions = bed().remit(["session", "list", "--json"]).expect(0).json();
    assert_eq!(sessions["sessions"].as_array().map_or(0, Vec::len), 0, "{sessions}");
    // Others' refusals between two runs leave no gap in the log's numbers.
    for _ in 0..2 {
        bed().session("plain").run(["cat", "/etc/shadow"]).expect(1);
        good();
    }
    let verified = verified();
    assert_eq!(verified["missing"], missing_before, "{verified}");
}

#[test]
fn canary_is_good_whatever_the_policy_is() {
    assert!(bed().reload(&[]).is_success());
    good();
    bed().policy("[[deny]]\npaths = [\"/run/**\"]\naccess = [\"read\"]\n");
    let found = good();
    assert_eq!(outcomes(&found, "skipped"), ["file.open", "file.map"]);
    bed().policy("");
    assert_eq!(outcomes(&good(), "skipped"), Vec::<&str>::new());
    bed().kill();
    bed().start();
    good();
}

#[test]
fn hook_that_is_gone_is_known_within_the_interval() {
    bed().policy("");
    let _changed = Changed::start(&[("canary_interval", "1s")]);
    good();
    doctor().expect(0);
    let (mut gone, mut holes) = (BTreeSet::new(), Vec::new());
    for (hook, class) in [
        ("file_open", "file.open"),
        ("socket_connect", "net.connect"),
        ("task_kill", "process.signal"),
        ("unix_stream_connect", "unix.connect"),
        ("userns_create", "priv.userns"),
    ] {
        let Some(hole) = Hole::make(hook) else { continue };
        holes.push(hole);
        gone.insert(class);
        let told = eventually(&format!("an incident of {class}"), SOON, || {
            lines().pop().filter(|line| {
                let operations = line["operations"].as_array().unwrap();
                line["ok"] == false && operations.iter().any(|operation| operation == class)
            })
        });
        for class in &gone {
            assert!(told["message"].as_str().unwrap().contains(class), "{class}: {told:#}");
        }
        assert!(metrics().contains("\nremit_canary_ok 0\n"));
    }
    assert!(gone.len() >= 4, "{gone:?}");
    let doctor_said = doctor().expect(1);
    for class in gone {
        assert!(doctor_said.stdout.contains(class), "{class}: {doctor_said}");
    }
    let shown = bed().remit(["incidents"]).expect(0);
    assert!(shown.stdout.contains("does not hold"), "{shown}");
    drop(holes);
    good();
    doctor().expect(0);
}

#[test]
fn tag_that_is_not_inherited_is_known() {
    bed().policy("");
    good();
    // The daemon attaches what is missing when it looks after its sessions, which may be just now.
    let (hole, found) = eventually("the canary to notice", SOON, || {
        let hole = Hole::make("task_alloc").expect("it is attached");
        let found = tried();
        (found["state"] == "failed").then_some((hole, found))
    });
    let message = found["message"].as_str().unwrap();
    assert_eq!(message, "not refused: file.open (fork and openat)");
    drop(hole);
    good();
}

#[test]
fn log_that_can_not_be_written_is_known() {
    bed().policy("");
    good();
    let options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", LOG];
    assert!(Command::new("mount").args(options).status().unwrap().success());
    let filled = fs::write(Path::new(LOG).join("full"), vec![0; 128 << 10]);
    assert!(filled.is_err());
    let found = run("failed");
    let message = found["message"].as_str().unwrap().to_owned();
    let doctor = doctor();
    assert!(Command::new("umount").args(["-l", LOG]).status().unwrap().success());
    assert!(message.contains("the log can't be written"), "{message}");
    assert_eq!(doctor.status, Some(1), "{doctor}");
    good();
    let told = lines().pop().unwrap();
    assert_eq!(told["ok"], true, "{told:#}");
    bed().remit(["incidents", "verify"]).expect(0);
}

#[test]
fn session_can_not_touch_the_canarys_files() {
    bed().policy(
        r#"
        [tool.run]
        files = [{ paths = ["/run/**"], access = ["read", "write", "create", "delete", "exec", "connect"] }]
        [profile.p]
        tools = ["system", "run"]
        "#,
    );
    let denied = |operation: &str, words| refused(operation, "explicit_deny", words);
    let (open, new) = (format!("{FOLDER}/allowed"), format!("{FOLDER}/new"));
    let moved = "/run/remit-test/socket/moved";
    judge(
        bed().session("p"),
        &[
            allowed(words!["open-read", open]),
            denied("file.open", words!["open-write", open]).at(&open),
            denied("file.delete", words!["unlink", open]).at(&open),
            denied("file.setattr", words!["chmod", open, "0666"]).at(&open),
            denied("file.create", words!["mkdir", new]).at(&new),
            denied("file.rename", words!["rename", FOLDER, moved]).at(FOLDER),
        ],
    );
}

#[test]
fn revocations_are_timed() {
    bed().policy(
        r#"
        [tool.spare]
        files = [{ paths = ["/srv/test/spare/**"], access = ["read"] }]
        "#,
    );
    let count = |name: &str| -> u64 {
        let page = metrics();
        let line = page.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{name}:\n{page}")).trim().parse().unwrap()
    };
    let before = (count("remit_revocation_seconds_count"), count("remit_grant_seconds_count"));
    let session = bed().session("plain").spawn(["sleep", "60"]);
    let grant = ["grant", &session.name, "spare", "--ttl", "1m", "--reason", "test"];
    bed().remit(grant).expect(0);
    bed().remit(["revoke", &session.name, "spare"]).expect(0);
    let after = (count("remit_revocation_seconds_count"), count("remit_grant_seconds_count"));
    assert_eq!(after, (before.0 + 1, before.1 + 1));
}
