//! The daemon killed and started again: nothing opens, nothing is lost, the new one goes on.

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    thread,
    time::{Duration, SystemTime},
};

use serde_json::Value;
use tests::{Counts, Interactive, Outcome, bed, layout, outcome::eventually, words};

const POLICY: &str = r#"
[tool.data]
files = [{ paths = ["/srv/test/restart/data/**"], access = ["read"] }]
[tool.spare]
files = [{ paths = ["/srv/test/restart/spare/**"], access = ["read"] }]
[profile.p]
tools = ["system", "data"]
"#;

const DATA: &str = "/srv/test/restart/data/file";
const SPARE: &str = "/srv/test/restart/spare/file";
const OTHER: &str = "/srv/test/restart/other/file";

fn prepare() {
    bed().policy(POLICY);
    let folder = bed().folder("restart");
    for place in ["data", "spare", "other"] {
        fs::create_dir(folder.join(place)).unwrap();
        fs::write(folder.join(place).join("file"), place).unwrap();
    }
}

/// Some time of at least `least` milliseconds.
fn wait_some(least: u64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    thread::sleep(Duration::from_millis(least + u64::from(now.subsec_micros()) % 700));
}

/// Incidents of a session that name the path: how often it was refused in all, by numbers that must be
/// different ones; and losses.
#[track_caller]
pub(crate) fn refusals(session: &str, path: &str) -> (u64, u64) {
    let outcome = bed().remit(["incidents", "--json", "--session", session]).expect(0);
    let (mut count, mut lost, mut seen) = (0, 0, BTreeSet::new());
    for line in outcome.stdout.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let number = |key: &str| line[key].as_u64();
        if line["kind"] == "lost" {
            lost += number("count").unwrap();
        }
        if line["object"]["path"] != path {
            continue;
        }
        count += number("count").unwrap();
        let first = number("sequence").unwrap();
        let last = number("last_sequence").unwrap_or(first);
        let single = vec![serde_json::json!([first, last])];
        for range in line["sequences"].as_array().unwrap_or(&single) {
            for sequence in range[0].as_u64().unwrap()..=range[1].as_u64().unwrap() {
                assert!(seen.insert(sequence), "{sequence} is told of twice");
            }
        }
    }
    assert_eq!(seen.len() as u64, count, "as many numbers as refusals");
    (count, lost)
}

#[test]
fn daemon_killed_under_load_opens_nothing_and_loses_nothing() {
    prepare();
    let mut probe = bed().session("p").interactive();
    let name = probe.name.clone();
    probe.ask(words!["start", "allowed", "2000", "read", DATA]);
    probe.ask(words!["start", "refused", "2000", "read", OTHER]);
    // An operator keeps the daemon busy.
    let mut operator = Interactive::untagged();
    let grants = format!("/v1/sessions/{name}/grants");
    let body = r#"{"tool": "spare", "ttl": "1h"}"#;
    let once = format!("{grants}/spare");
    operator.ask(words!["start", "grant", "20000", "http", layout::SOCKET, "POST", grants, body]);
    operator.ask(words!["start", "revoke", "20000", "http", layout::SOCKET, "DELETE", once]);
    let mut asked = 0;
    for _ in 0..if layout::is_long() { 10 } else { 2 } {
        wait_some(300);
        bed().kill();
        wait_some(100);
        assert_eq!(probe.ask(words!["read", DATA]).error(), "");
        assert_eq!(probe.ask(words!["read", OTHER]).error(), "EACCES");
        asked += 1;
        bed().start();
        // What the new one says of the session is what the kernel does.
        assert_eq!(probe.ask(words!["read", DATA]).error(), "");
    }
    for name in ["grant", "revoke"] {
        let counts = Counts::from(operator.ask(words!["stop", name]));
        assert!(counts.allowed > 0, "{counts:?}");
    }
    let allowed = Counts::from(probe.ask(words!["stop", "allowed"]));
    let refused = Counts::from(probe.ask(words!["stop", "refused"]));
    assert_eq!((allowed.refused, allowed.other), (0, 0), "{allowed:?}");
    assert_eq!((refused.allowed, refused.other), (0, 0), "{refused:?}");
    assert!(allowed.allowed > 100 && refused.refused > 100, "{allowed:?} {refused:?}");
    assert_eq!(refusals(&name, OTHER), (refused.refused + asked, 0));
    let shown = bed().remit(["session", "show", &name, "--json"]).expect(0).json();
    let held = shown["tools"].as_array().unwrap().iter().any(|tool| tool["tool"] == "spare");
    let reads = probe.ask(words!["read", SPARE]).error().is_empty();
    assert_eq!(held, reads, "what it is said to hold is what it holds: {shown}");
    bed().remit(["incidents", "verify"]).expect(0);
}

#[test]
fn new_daemon_goes_on_with_sessions_and_grants() {
    prepare();
    let mut probe = bed().session("p").task("go on").interactive();
    let name = probe.name.clone();
    probe.grant("spare");
    let before = bed().remit(["session", "show", &name, "--json"]).expect(0).json();
    bed().kill();
    assert_eq!(probe.ask(words!["read", SPARE]).error(), "");
    assert_eq!(probe.ask(words!["read", OTHER]).error(), "EACCES");
    bed().start();
    let after = bed().remit(["session", "show", &name, "--json"]).expect(0).json();
    for key in ["id", "task", "state", "started", "expires", "slot", "history", "owner"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    let grants = |shown: &Value| -> Vec<Value> {
        let tools = shown["tools"].as_array().unwrap();
        let parts = ["tool", "from", "until", "reason", "source"];
        tools.iter().map(|tool| parts.map(|part| tool[part].clone()).into()).collect()
    };
    assert_eq!(grants(&before), grants(&after));
    let incident = bed().incident(&name, |found| found.path() == OTHER);
    assert_eq!((incident.reason.as_str(), incident.count), ("no_tool", 1), "it waited");
    probe.revoke("spare");
    assert_eq!(probe.ask(words!["read", SPARE]).error(), "EACCES");
    probe.grant("spare");
    assert_eq!(probe.ask(words!["read", SPARE]).error(), "");
    bed().remit(["incidents", "verify"]).expect(0);
}

#[test]
fn expiry_holds_with_the_daemon_dead() {
    prepare();
    let mut brief = bed().session("p").ttl("9s").interactive();
    let mut long = bed().session("p").interactive();
    bed().remit(["grant", &long.name, "spare", "--ttl", "5s", "--reason", "x"]).expect(0);
    assert_eq!(brief.ask(words!["read", DATA]).error(), "");
    assert_eq!(long.ask(words!["read", SPARE]).error(), "");
    bed().kill();
    for (probe, path) in [(&mut long, SPARE), (&mut brief, DATA)] {
        eventually("the time to be up", Duration::from_secs(60), || {
            (probe.ask(words!["read", path]).error() == "EACCES").then_some(())
        });
    }
    assert_eq!(long.ask(words!["read", DATA]).error(), "");
    bed().start();
    for (session, path) in [(&long.name, SPARE), (&brief.name, DATA)] {
        assert_eq!(bed().incident(session, |found| found.path() == path).reason, "expired");
    }
    let state = |name: &str| bed().remit(["session", "show", name, "--json"]).expect(0).json();
    eventually("the sessions to be tidied", Duration::from_secs(10), || {
        (state(&brief.name)["state"] == "ended").then_some(())
    });
    let shown = state(&long.name);
    assert_eq!(shown["tools"].as_array().map(Vec::len), Some(2), "{shown}");
    assert_eq!(shown["history"][0]["how"], "expired", "{shown}");
}

#[test]
fn refusals_that_the_ring_has_no_room_for_are_counted_for_their_session() {
    prepare();
    let mut probe = bed().session("p").interactive();
    bed().kill();
    // Some thirteen thousand fit, of which one session gets two thirds.
    let counts = Counts::from(probe.ask(words!["many", "16000", "read", OTHER]));
    assert_eq!((counts.refused, counts.allowed, counts.other), (16_000, 0, 0), "{counts:?}");
    bed().start();
    let (told, lost) = eventually("the log to have them", Duration::from_secs(10), || {
        let found = refusals(&probe.name, OTHER);
        (found.0 + found.1 == counts.refused).then_some(found)
    });
    assert!(told > 1_000 && lost > 1_000, "{told} in the log, {lost} lost");
}

#[test]
fn session_whose_last_process_ends_while_no_daemon_runs_ends_with_the_next_start() {
    prepare();
    let begin = || {
        let running = bed().session("p").spawn(["sleep", "1000"]);
        (running.name.clone(), running)
    };
    let ((missed, last), (live, lasting)) = (begin(), begin());
    bed().kill();
    last.signal(libc::SIGKILL);
    last.wait();
    bed().start();
    let shown = |name: &str| bed().remit(["session", "show", name, "--json"]).expect(0).json();
    let reason = eventually("the session to end", Duration::from_secs(1), || {
        let shown = shown(&missed);
        (shown["state"] == "ended").then(|| shown["ended"]["reason"].clone())
    });
    assert_eq!(reason, "its last process ended");
    assert_eq!(shown(&live)["state"], "active", "a process of it lives");
    // The new daemon hears of the next one.
    lasting.signal(libc::SIGKILL);
    lasting.wait();
    eventually("the other session to end", Duration::from_secs(1), || {
        (shown(&live)["state"] == "ended").then_some(())
    });
}

/// `remitd` with settings of its own, which ends by itself.
fn remitd(settings: &str) -> Outcome {
    Outcome::of(Command::new("remitd").args(["--config", settings]), &[])
}

#[test]
fn second_daemon_is_refused() {
    prepare();
    let mut probe = bed().session("p").interactive();
    let pid = bed().daemon_pid().unwrap();
    let second = remitd(layout::SETTINGS).expect(1);
    let message = format!("another remitd runs already, process {pid}");
    assert!(second.stderr.contains(&message), "{second}");
    assert_eq!(probe.ask(words!["read", DATA]).error(), "");
    assert_eq!(probe.ask(words!["read", OTHER]).error(), "EACCES");
    bed().remit(["session", "list"]).expect(0);
}

#[test]
fn daemon_does_not_start_with_bad_settings() {
    prepare();
    let folder = bed().folder("restart-settings");
    let path = |name: &str| folder.join(name).display().to_string();
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text).unwrap();
        path(name)
    };
    let cases = [
        (
            "polcy_dir = \"/x\"\n".to_owned(),
            vec![":1:1: unknown setting `polcy_dir`", "policy_dir"],
        ),
        ("socket = \"x\"\n".to_owned(), vec![":1:10: `socket` is not an absolute path: `x`"]),
    ];
    for (text, parts) in cases {
        let outcome = remitd(&write("remitd.toml", &text)).expect(2);
        for part in parts {
            assert!(outcome.stderr.contains(part), "no `{part}` in {outcome}");
        }
    }
    let missing = remitd(&path("none.toml")).expect(2);
    assert!(missing.stderr.contains("none.toml"), "{missing}");

    bed().remit(["session", "list"]).expect(0);
}
