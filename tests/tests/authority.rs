//! Authority that comes and goes while a session runs: grants, revocation, expiry, quarantine.

use std::{fs, net::TcpListener, thread, time::Duration};

use tests::{Counts, Interactive, bed, outcome::eventually, repeat::now, words};

const POLICY: &str = r#"
[tool.data]
files = [{ paths = ["/srv/test/authority/data/**"], access = ["read"] }]
[tool.spare]
files = [{ paths = ["/srv/test/authority/spare/**"], access = ["read"] }]
[tool.server]
network = [{ cidrs = ["127.0.0.1/32"], ports = [7301], protocol = "tcp" }]
[profile.p]
tools = ["system", "data"]
"#;

const DATA: &str = "/srv/test/authority/data/file";
const SPARE: &str = "/srv/test/authority/spare/file";

fn prepare() {
    bed().policy(POLICY);
    let folder = bed().folder("authority");
    for place in ["data", "spare"] {
        fs::create_dir(folder.join(place)).unwrap();
        fs::write(folder.join(place).join("file"), place).unwrap();
    }
}

/// A server that takes every connection, and ends with the tests.
fn server(endpoint: &str) {
    let listener = TcpListener::bind(endpoint).unwrap();
    thread::spawn(move || listener.incoming().for_each(drop));
}

#[test]
fn grant_and_revocation_are_in_force_when_they_return() {
    prepare();
    server("127.0.0.1:7301");
    let mut probe = bed().session("p").interactive();
    let grant = |probe: &Interactive| ["spare", "server"].map(|tool| probe.grant(tool));
    let revoke = |probe: &Interactive| ["spare", "server"].map(|tool| probe.revoke(tool));
    for round in 0..10 {
        probe.ask(words!["start", "files", "0", "read", SPARE]);
        probe.ask(words!["start", "connections", "500", "tcp", "127.0.0.1:7301"]);
        grant(&probe);
        let granted = now();
        for name in ["files", "connections"] {
            probe.wait_for_turn(name, |counts| counts.last_allowed > granted);
        }
        revoke(&probe);
        let revoked = now();
        for name in ["files", "connections"] {
            probe.wait_for_turn(name, |counts| counts.last_refused > revoked);
        }
        for name in ["files", "connections"] {
            let counts = Counts::from(probe.ask(words!["stop", name]));
            assert!(counts.allowed > 0 && counts.refused > 0, "{round} {name}: {counts:?}");
            // A connection that is being made when it is revoked is reset.
            let is_reset = name == "connections" && counts.error == libc::ECONNABORTED as u64;
            assert!(counts.other == 0 || is_reset, "{round} {name}: {counts:?}");
            assert!(counts.last_allowed < revoked, "{round} {name}: allowed after it was revoked");
        }
        // However the loops were scheduled: nothing is allowed from here on.
        for act in
            [words!["many", "5", "read", SPARE], words!["many", "5", "tcp", "127.0.0.1:7301"]]
        {
            let counts = Counts::from(probe.ask(act));
            assert_eq!((counts.allowed, counts.refused), (0, 5), "{round}: {counts:?}");
        }
        // Nothing is refused between the two.
        grant(&probe);
        let counts = Counts::from(probe.ask(words!["many", "20", "read", SPARE]));
        assert_eq!((counts.allowed, counts.refused), (20, 0), "{round}: {counts:?}");
        revoke(&probe);
    }
    let incident = bed().incident(&probe.name, |found| found.reason == "revoked");
    assert_eq!(incident.would_allow.len(), 1, "{incident:?}");
}

#[test]
fn expiry_holds_with_the_daemon_stopped() {
    prepare();
    let mut brief = bed().session("p").ttl("14s").interactive();
    let mut long = bed().session("p").interactive();
    bed().remit(["grant", &long.name, "spare", "--ttl", "8s", "--reason", "x"]).expect(0);
    assert_eq!(brief.ask(words!["read", DATA]).error(), "");
    assert_eq!(long.ask(words!["read", SPARE]).error(), "");
    let paused = bed().pause();
    for (probe, path) in [(&mut long, SPARE), (&mut brief, DATA)] {
        eventually("the time to be up", Duration::from_secs(60), || {
            (probe.ask(words!["read", path]).error() == "EACCES").then_some(())
        });
    }
    assert_eq!(long.ask(words!["read", DATA]).error(), "");
    drop(paused);
    for (session, path) in [(&long.name, SPARE), (&brief.name, DATA)] {
        let incident = bed().incident(session, |found| found.path() == path);
        assert_eq!(incident.reason, "expired", "{incident:?}");
        assert_eq!(incident.verdict, "denied");
    }
    bed().remit(["grant", &long.name, "spare", "--ttl", "1h", "--reason", "x"]).expect(0);
    assert_eq!(long.ask(words!["read", SPARE]).error(), "");
}

#[test]
fn grant_says_what_is_wrong_with_it() {
    prepare();
    let probe = bed().session("p").interactive();
    let name = probe.name.as_str();
    let grant =
        |tool: &str, ttl: &str| bed().remit(["grant", name, tool, "--ttl", ttl, "--reason", "x"]);
    for (outcome, status, parts) in [
        (grant("spaer", "1m"), 1, ["no tool `spaer` in the policy", "did you mean `spare`?"]),
        (grant("spare", "0s"), 2, ["`0s` is no time at all", "15m"]),
        (grant("spare", "soon"), 2, ["soon", "help:"]),
        (grant("data", "1m"), 1, ["holds `data` until its end already", name]),
        (bed().remit(["revoke", name, "spare"]), 1, ["does not hold `spare`", name]),
        (bed().remit(["revoke", "nobody", "spare"]), 1, ["no session `nobody`", "help:"]),
    ] {
        let outcome = outcome.expect(status);
        for part in parts {
            assert!(outcome.stderr.contains(part), "no `{part}` in {outcome}");
        }
    }
    let shown = bed().remit(["session", "show", name, "--json"]).expect(0).json();
    assert_eq!(shown["tools"].as_array().map(Vec::len), Some(2), "nothing was changed: {shown}");
}

#[test]
fn quarantined_session_is_refused_what_it_holds_until_resumed() {
    prepare();
    let mut probe = bed().session("p").interactive();
    let name = probe.name.clone();
    let session = |verb: &str| bed().remit(["session", verb, &name]);
    assert_eq!(probe.ask(words!["read", DATA]).error(), "");
    session("quarantine").expect(0);
    assert_eq!(probe.ask(words!["read", DATA]).error(), "EACCES");
    let incident = bed().incident(&name, |found| found.path() == DATA);
    assert_eq!(
        (incident.reason.as_str(), incident.operation.as_str()),
        ("quarantined", "file.open")
    );
    let twice = session("quarantine").expect(1);
    assert!(twice.stderr.contains("quarantined already"), "{twice}");
    session("resume").expect(0);
    assert_eq!(probe.ask(words!["read", DATA]).error(), "");
    let twice = session("resume").expect(1);
    assert!(twice.stderr.contains("not quarantined"), "{twice}");
}

#[test]
fn revoking_all_takes_the_profiles_tools_too() {
    prepare();
    let mut probe = bed().session("p").interactive();
    probe.grant("spare");
    assert_eq!(probe.ask(words!["read", DATA]).error(), "");
    assert_eq!(probe.ask(words!["read", SPARE]).error(), "");
    bed().remit(["revoke", &probe.name, "--all"]).expect(0);
    for path in [DATA, SPARE] {
        assert_eq!(probe.ask(words!["read", path]).error(), "EACCES");
        let incident = bed().incident(&probe.name, |found| found.path() == path);
        assert_eq!(incident.reason, "revoked");
    }
}
