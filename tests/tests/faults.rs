//! What the daemon needs is broken, full, read-only or another's: it comes up, takes authority back, loses nothing and
//! says what it can't do.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tests::{Counts, Interactive, Outcome, bed, layout, outcome::eventually, words};

use super::restart::refusals;

const POLICY: &str = r#"
[tool.data]
files = [{ paths = ["/srv/test/faults/data/**"], access = ["read"] }]
[tool.made]
files = [{ paths = ["/srv/test/faults/made/**"], access = ["create"] }]
[tool.spare]
files = [{ paths = ["/srv/test/faults/spare/**"], access = ["read"] }]
[profile.p]
tools = ["system", "data", "made"]
"#;

const DATA: &str = "/srv/test/faults/data/file";
const SPARE: &str = "/srv/test/faults/spare/file";
const OTHER: &str = "/srv/test/faults/other/file";

fn prepare() {
    bed().policy(POLICY);
    let folder = bed().folder("faults");
    for place in ["data", "spare", "other"] {
        fs::create_dir(folder.join(place)).unwrap();
        fs::write(folder.join(place).join("file"), place).unwrap();
    }
}

/// Runs `mount` or `umount`.
#[track_caller]
fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// A mount in a folder's place, while this is there.
struct Mounted(&'static str);

impl Mounted {
    fn tmpfs(folder: &'static str, size: &str) -> Self {
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", folder]);
        Self(folder)
    }

    fn read_only(folder: &'static str) -> Self {
        run("mount", &["--bind", folder, folder]);
        run("mount", &["-o", "remount,bind,ro", folder]);
        Self(folder)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["-l", self.0]);
    }
}

#[track_caller]
fn warned(outcome: &Outcome, parts: &[&str]) {
    for part in parts {
        let line = |line: &str| line.starts_with("warning: ") && line.contains(part);
        assert!(outcome.stderr.lines().any(line), "no warning of `{part}` in {outcome}");
    }
}

/// What takes authority is done and what gives it is refused, each with these warnings.
fn shrinks_and_does_not_grow(parts: &[&str], name: &str) {
    let grant = |tool: &str| {
        bed().remit(["grant", name, tool, "--ttl", "1m", "--reason", "test"]).expect(1)
    };
    warned(&grant("spare"), parts);
    let started = Outcome::of(bed().command().args(["run", "-p", "p", "--", "true"]), &[]);
    assert!(!started.is_success(), "{started}");
    warned(&bed().remit(["revoke", name, "data"]).expect(0), parts);
    warned(&bed().remit(["session", "quarantine", name]).expect(0), parts);
    warned(&bed().remit(["session", "resume", name]).expect(1), parts);
    warned(&bed().remit(["session", "end", name]).expect(0), parts);
}

#[test]
fn daemon_comes_up_with_the_last_good_policy_where_the_folder_is_bad_and_nothing_can_be_written() {
    tests::slow!();
    prepare();
    let mut probe = bed().session("p").interactive();
    let begin = || bed().session("p").spawn(["sleep", "1000"]);
    let (read_only, full) = (begin(), begin());
    probe.grant("spare");
    let bad = Path::new(layout::POLICY).join("60-bad.toml");
    bed().kill();
    fs::write(&bad, "schema = 1\n[profile.q]\ntools = [\"x\"]\n").unwrap();
    let mounted = Mounted::read_only(layout::STATE);
    bed().start_as_unit();
    let listed = bed().remit(["session", "list"]).expect(0);
    warned(&listed, &["the last good policy is in force: the policy has 1 error", layout::STATE]);
    let doctor = bed().remit(["doctor", "--config", layout::SETTINGS]).expect(1);
    for part in ["the last good policy is in force", "can't write `/run/remit-test/state/"] {
        assert!(doctor.stdout.contains(part), "no `{part}` in {doctor}");
    }
    // The capabilities that the unit leaves are enough, also for the canary to get as far as Remit's hooks.
    assert!(doctor.stdout.contains("operations refused and reported"), "{doctor}");
    assert_eq!(probe.ask(words!["read", DATA]).error(), "");
    assert_eq!(probe.ask(words!["read", SPARE]).error(), "");
    assert_eq!(probe.ask(words!["read", OTHER]).error(), "EACCES");
    shrinks_and_does_not_grow(&["last good policy", "can't write"], &read_only.name);
    bed().remit(["policy", "reload"]).expect(2);
    bed().remit(["revoke", &probe.name, "spare"]).expect(0);
    assert_eq!(probe.ask(words!["read", SPARE]).error(), "EACCES");

    // Full, in place of read-only.
    drop(mounted);
    let mounted = Mounted::tmpfs(layout::STATE, "256k");
    fs::create_dir(Path::new(layout::STATE).join("sessions")).unwrap();
    let filler = Path::new(layout::STATE).join("filler");
    assert!(fs::write(&filler, vec![0; 1 << 20]).is_err());
    shrinks_and_does_not_grow(&["stays in force", "can't write"], &full.name);
    fs::remove_file(&filler).unwrap();
    eventually("what could not be written to be", Duration::from_secs(10), || {
        let listed = bed().remit(["session", "list"]).expect(0);
        (!listed.stderr.contains("can't write")).then_some(())
    });
    drop(mounted);

    fs::remove_file(&bad).unwrap();
    bed().remit(["policy", "reload"]).expect(0);
    let listed = bed().remit(["session", "list"]).expect(0);
    assert!(!listed.stderr.contains("warning"), "{listed}");
    probe.grant("spare");
    assert_eq!(probe.ask(words!["read", SPARE]).error(), "");
    bed().session("p").run(["cat", DATA]).expect(0);
    bed().remit(["incidents", "verify"]).expect(0);
}

/// What the programs share is in its places. Where it is not, nothing is allowed; the next start replaces the programs,
/// and refuses nothing meanwhile that is allowed.
#[test]
fn place_that_is_not_filled_refuses_until_a_start_has_replaced_the_programs() {
    prepare();
    let made = bed().folder("faults/made");
    let mut number = 0;
    let mut mkdir = |probe: &mut Interactive| {
        number += 1;
        probe.ask(words!["mkdir", made.join(number.to_string())]).error().to_owned()
    };
    let mut probe = bed().session("p").interactive();
    assert_eq!(mkdir(&mut probe), "");
    probe.ask(words!["start", "allowed", "50000", "read", DATA]);
    probe.ask(words!["start", "refused", "50000", "read", OTHER]);
    let loading = fs::read_dir(Path::new(layout::PINS).join("v1/shared")).unwrap().next().unwrap();
    let places: Vec<_> =
        fs::read_dir(loading.unwrap().path()).unwrap().map(|it| it.unwrap().path()).collect();
    let of_mkdir =
        |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("path_mkdir-");
    for place in places.iter().filter(of_mkdir) {
        fs::remove_file(place).unwrap();
    }
    eventually("the places to be empty", Duration::from_secs(120), || {
        (mkdir(&mut probe) == "EACCES").then_some(())
    });
    // Nobody else notices.
    fs::create_dir(made.join("outside")).unwrap();
    bed().kill();
    bed().start();
    assert!(bed().daemon_log().contains("kernel programs replaced"), "{}", bed().daemon_log());
    let allowed = Counts::from(probe.ask(words!["stop", "allowed"]));
    let refused = Counts::from(probe.ask(words!["stop", "refused"]));
    assert_eq!((allowed.refused, allowed.other), (0, 0), "{allowed:?}");
    assert_eq!((refused.allowed, refused.other), (0, 0), "{refused:?}");
    assert!(allowed.allowed > 20 && refused.refused > 20, "{allowed:?} {refused:?}");
    assert_eq!(mkdir(&mut probe), "");
    assert_eq!(probe.ask(words!["read", DATA]).error(), "");
    probe.revoke("data");
    assert_eq!(probe.ask(words!["read", DATA]).error(), "EACCES");
}

#[test]
fn acts_are_kept_until_the_log_can_be_written_and_none_is_given_meanwhile() {
    prepare();
    let sessions: Vec<_> = (0..10).map(|_| bed().session("p").spawn(["sleep", "1000"])).collect();
    let last = bed().session("p").spawn(["sleep", "1000"]);
    let mounted = Mounted::tmpfs(layout::LOG, "512k");
    // The log goes on in the folder that has its name.
    bed().remit(["incidents", "verify"]);
    bed().remit(["revoke", &last.name, "system"]).expect(0);
    let filler = Path::new(layout::LOG).join("filler");
    assert!(fs::write(&filler, vec![0; 1 << 20]).is_err());
    let mut operator = Interactive::untagged();
    let mut ask = |method: &str, path: String| {
        operator.ask(words!["http", layout::SOCKET, method, path]).value()
    };
    let mut act = |method: &str, name: &str, rest: &str| {
        let answer = ask(method, format!("/v1/sessions/{name}{rest}"));
        assert!(answer.starts_with("200 "), "{method} {name}{rest}: {answer}");
    };
    for session in &sessions {
        act("DELETE", &session.name, "/grants/data");
        act("DELETE", &session.name, "/grants/system");
        act("POST", &session.name, "/quarantine");
        act("DELETE", &session.name, "");
    }
    let acts = ["the log can't be written"];
    let doctor = bed().remit(["doctor", "--config", layout::SETTINGS]).expect(1);
    assert!(doctor.stdout.contains("acts of control wait for it in memory"), "{doctor}");
    let metrics = ask("GET", "/v1/metrics".into());
    // The probe answers in one line.
    let mut lines = metrics.split("\\n");
    let waiting = lines.find_map(|line| line.strip_prefix("remit_log_waiting_acts "));
    // Some found room in the last page of the log.
    assert!(waiting.is_some_and(|count| count.parse::<u32>().unwrap() > 20), "{metrics}");
    shrinks_and_does_not_grow(&acts, &last.name);
    bed().remit(["policy", "reload"]).expect(1);
    fs::remove_file(&filler).unwrap();
    eventually("the log to be written", Duration::from_secs(10), || {
        let listed = bed().remit(["session", "list"]).expect(0);
        (!listed.stderr.contains("warning")).then_some(())
    });
    let told = bed().remit(["incidents", "--all", "--json"]).expect(0).stdout;
    bed().remit(["incidents", "verify"]).expect(0);
    bed().remit(["policy", "reload"]).expect(0);
    drop(mounted);
    for session in &sessions {
        let lines = told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_session = lines.filter(|line| {
            line["kind"] == "control" && line["session"]["name"] == session.name.as_str()
        });
        let acts = of_session.map(|line| line["act"].as_str().unwrap().to_owned());
        // Of mappings that were left there are others.
        let acts: Vec<_> =
            acts.filter(|act| !["start", "leave_mapped"].contains(&act.as_str())).collect();
        assert_eq!(acts, ["revoke", "revoke", "quarantine", "end"], "{}", session.name);
    }
}

#[test]
fn quiet_sessions_refusals_are_all_told_beside_noisy_ones() {
    prepare();
    let mut noisy = [bed().session("p").interactive(), bed().session("p").interactive()];
    let mut quiet = bed().session("p").interactive();
    let daemon = bed().daemon_pid().unwrap().to_string();
    // Nothing is taken out of the ring meanwhile.
    run("kill", &["-STOP", &daemon]);
    for probe in &mut noisy {
        let counts = Counts::from(probe.ask(words!["many", "12000", "read", OTHER]));
        assert_eq!((counts.refused, counts.allowed), (12_000, 0), "{counts:?}");
    }
    let counts = Counts::from(quiet.ask(words!["many", "400", "read", OTHER]));
    run("kill", &["-CONT", &daemon]);
    assert_eq!((counts.refused, counts.allowed), (400, 0), "{counts:?}");
    eventually("the log to have the quiet session's", Duration::from_secs(60), || {
        (refusals(&quiet.name, OTHER) == (400, 0)).then_some(())
    });
    for probe in &noisy {
        let (told, lost) = refusals(&probe.name, OTHER);
        assert_eq!(told + lost, 12_000, "{told} in the log, {lost} lost");
        assert!(told > 1_000 && lost > 1_000, "{told} in the log, {lost} lost");
    }
    // What was taken out counts no more.
    let counts = Counts::from(noisy[0].ask(words!["many", "400", "read", SPARE]));
    assert_eq!(counts.refused, 400, "{counts:?}");
    assert_eq!(refusals(&noisy[0].name, SPARE).0, 400);
}
