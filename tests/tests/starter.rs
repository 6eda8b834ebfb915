//! What an ordinary user who starts a session, and the session itself, get to see.

use std::{collections::BTreeSet, process::Command};

use tests::{Builder, Outcome, bed, layout};

const POLICY: &str = r#"
[profile.coder]
tools = ["system"]
may_start = { users = ["nobody", "games"] }
[profile.secret]
tools = ["system"]
"#;

/// Runs `remit` as a user.
fn remit_as(user: &str, arguments: &[&str]) -> Outcome {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={user}"), "--regid=nogroup", "--clear-groups", "remit"]);
    Outcome::of(command.args(arguments).env("REMIT_SOCKET", layout::SOCKET), &[])
}

fn session_of(user: &str) -> Builder {
    let user = format!("--reuid={user}");
    bed().session("coder").through(["setpriv", &user, "--regid=nogroup", "--clear-groups"])
}

/// The sessions that lines of the log are about.
fn sessions_in(outcome: &Outcome) -> BTreeSet<String> {
    let name = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["session"]["name"].as_str().unwrap_or("none").to_owned()
    };
    outcome.stdout.lines().map(name).collect()
}

#[test]
fn starter_sees_own_sessions_and_no_others() {
    bed().policy(POLICY);
    // By the policy alone: everybody may read it otherwise.
    let file = bed().folder("starter").join("file");
    std::fs::write(&file, "x").unwrap();
    let refused = &format!("cat {}", file.display());
    let own = session_of("nobody").script(refused).expect(1);
    let other = session_of("games").script(refused).expect(1);
    let root = bed().session("coder").script(refused).expect(1);
    let id = own.incident().id;
    let names: BTreeSet<String> = [own.name.clone()].into();

    let all = remit_as("nobody", &["session", "list", "--all", "--json"]).expect(0).json();
    let owners = all["sessions"].as_array().unwrap().iter().map(|s| s["owner"]["user"].as_str());
    assert!(owners.clone().count() > 0 && owners.into_iter().all(|user| user == Some("nobody")));
    let shown = remit_as("nobody", &["session", "show", &own.name]).expect(0);
    assert!(shown.stdout.contains(&own.name), "{shown}");
    for query in [&["incidents", "--json", "--all", "--since", "1h"][..], &["incidents", "--json"]]
    {
        let lines = remit_as("nobody", query).expect(0);
        let seen = sessions_in(&lines);
        assert!(seen.is_superset(&names), "{lines}");
        assert!(!seen.contains(&other.name) && !seen.contains(&root.name), "{lines}");
        assert!(!seen.contains("none"), "{lines}");
    }
    remit_as("nobody", &["incidents", "show", &id]).expect(0);
    let summary = remit_as("nobody", &["incidents", "summary", "--session", &own.name]).expect(0);
    assert!(summary.stdout.contains(&own.name), "{summary}");

    for name in [&other.name, &root.name, &"no-such".to_owned()] {
        let refused = remit_as("nobody", &["session", "show", name]).expect(1);
        assert!(refused.stderr.contains("you started no such session"), "{refused}");
        let none = remit_as("nobody", &["incidents", "--json", "--session", name]).expect(0);
        assert_eq!(none.stdout, "");
    }
    let theirs = other.incident().id;
    let refused = remit_as("nobody", &["incidents", "show", &theirs]).expect(1);
    assert!(refused.stderr.contains("no incident"), "{refused}");
    remit_as("games", &["incidents", "show", &theirs]).expect(0);
    for command in [&["incidents", "verify"][..], &["session", "end", &own.name]] {
        let refused = remit_as("nobody", command).expect(1);
        assert!(refused.stderr.contains("only root and the operators' group"), "{refused}");
    }
}

#[test]
fn session_reads_its_own_refusals() {
    bed().policy(POLICY);
    let other = bed().session("coder").script("cat /etc/shadow").expect(1);
    let theirs = other.incident().id;
    let remit = Outcome::of(Command::new("sh").args(["-c", "command -v remit"]), &[]).expect(0);
    let copy = format!("{}/remit", layout::PROGRAMS);
    std::fs::copy(remit.stdout.trim(), &copy).unwrap();
    let remit = copy;
    let script = format!(
        "cat /etc/shadow; {remit} incidents --json --all; {remit} incidents show {theirs}
         {remit} incidents --session {} --json; {remit} session list; true",
        other.name
    );
    let session = bed().session("coder").environment("REMIT_SOCKET", layout::SOCKET);
    let finished = session.script(&script).expect(0);
    assert_eq!(
        sessions_in(&finished.outcome),
        [finished.name.clone()].into(),
        "{}",
        finished.outcome
    );
    assert!(finished.outcome.stdout.contains("/etc/shadow"));
    for part in ["no incident", "a process of a session can only ask about itself"] {
        assert!(finished.outcome.stderr.contains(part), "{}", finished.outcome);
    }
}

#[test]
fn user_is_not_misled() {
    bed().policy(POLICY);
    let start = |profile: &str| {
        remit_as("nobody", &["run", "-p", profile, "-w", layout::WORK, "--", "true"])
    };
    let misspelt = start("codr").expect(1);
    assert!(
        misspelt.stderr.contains("there is no profile `codr` that you may start"),
        "{misspelt}"
    );
    assert!(misspelt.stderr.contains("did you mean `coder`?"), "{misspelt}");
    let secret = start("secret").expect(1);
    assert!(secret.stderr.contains("no profile `secret` that you may start"), "{secret}");
    let operator = bed().remit(["run", "-p", "secrt", "--", "true"]).expect(1);
    assert!(operator.stderr.contains("did you mean `secret`?"), "{operator}");

    let doctor = remit_as("nobody", &["doctor", "--config", layout::SETTINGS]).expect(1);
    assert!(!doctor.stdout.contains("start the daemon"), "{doctor}");
    assert!(doctor.stdout.contains("run it as root"), "{doctor}");
    assert!(doctor.stdout.contains("✓ daemon"), "{doctor}");
}

#[test]
fn command_handles_signals_as_its_starter_did() {
    bed().policy(POLICY);
    let ignored = |before: &str| {
        let through = ["sh", "-c", before, "sh"];
        let script = "while read name set; do case $name in SigIgn:) echo $set;; esac; done < /proc/self/status";
        let finished = bed().session("coder").through(through).run(["/bin/bash", "-c", script]);
        let set = u64::from_str_radix(finished.expect(0).outcome.stdout.trim(), 16).unwrap();
        [libc::SIGPIPE, libc::SIGHUP].map(|signal| set & 1 << (signal - 1) != 0)
    };
    assert_eq!(ignored("exec \"$@\""), [false, false]);
    assert_eq!(ignored("trap '' PIPE; exec \"$@\""), [true, false]);
    assert_eq!(ignored("trap '' HUP; exec \"$@\""), [false, true]);
}
