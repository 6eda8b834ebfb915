//! Killing follows use: what the kernel holds for a process without asking again goes with the process, where the tool
//! says so, and with nobody else.

use std::{fs, thread, time::Duration};

use tests::{Interactive, bed, layout, outcome::eventually, words};

const POLICY: &str = r#"
[tool.deadly]
on_revoke = "kill"
files = [{ paths = ["/srv/test/marks/deadly/**"], access = ["read", "write"] }]
[tool.deadlier]
on_revoke = "kill-session"
files = [{ paths = ["/srv/test/marks/deadlier/**"], access = ["read", "write"] }]
[tool.harmless]
files = [{ paths = ["/srv/test/marks/harmless/**"], access = ["read", "write"] }]
[profile.p]
tools = ["system"]
"#;

const DEADLY: &str = "/srv/test/marks/deadly/file";
const DEADLIER: &str = "/srv/test/marks/deadlier/file";
const HARMLESS: &str = "/srv/test/marks/harmless/file";

/// The ways to hold what a file has, and whether that shows what it has now.
const WAYS: [&str; 4] = ["hold-map", "hold-ring", "hold-pipe", "hold-copy"];

fn prepare() {
    bed().policy(POLICY);
    let folder = bed().folder("marks");
    for (place, file) in [("deadly", DEADLY), ("deadlier", DEADLIER), ("harmless", HARMLESS)] {
        fs::create_dir(folder.join(place)).unwrap();
        write(file, b'a');
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
    }
}

/// Fills a file with one letter.
fn write(file: &str, letter: u8) {
    use std::io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(file);
    file.as_mut().unwrap().write_all(&vec![letter; 1 << 20]).unwrap();
}

fn session(user: &str) -> Interactive {
    let mut probe = bed().session("p").interactive();
    if user != "root" {
        assert_eq!(probe.ask(words!["set-user", "65534"]).error(), "");
    }
    probe
}

/// Makes a child of a kind.
#[track_caller]
fn child(probe: &mut Interactive, kind: &str) -> u32 {
    probe.ask(words![kind]).value().trim().parse().unwrap()
}

/// Whether any thread of a process can still do something.
fn is_alive(process: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { return false };
    threads.flatten().any(|thread| {
        let state = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    })
}

#[track_caller]
fn is_gone(what: &str, process: u32) {
    eventually(&format!("the end of {what}"), Duration::from_secs(5), || {
        (!is_alive(process)).then_some(())
    });
}

/// The processes that the log says were killed for a tool.
fn killed(session: &str, tool: &str) -> Vec<u32> {
    let lines = bed().remit(["incidents", "--all", "--json", "--session", session]).expect(0);
    let lines = lines.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON lines"));
    let of_tool = |line: &serde_json::Value| line["act"] == "kill" && line["tool"] == tool;
    let number = |line: serde_json::Value| {
        let reason = line["reason"].as_str()?.strip_prefix("process ")?.to_owned();
        reason.split(' ').next()?.parse().ok()
    };
    lines.filter(of_tool).filter_map(number).collect()
}

#[test]
fn who_used_a_deadly_tool_is_killed_however_it_holds_what_it_got() {
    prepare();
    let mut sibling = session("root");
    sibling.grant("deadly");
    for user in ["root", "nobody"] {
        for way in WAYS {
            let mut probe = session(user);
            let name = probe.name.clone();
            let early = child(&mut probe, "child-waits");
            let sharing = ["child-shares-memory", "child-shares-descriptors"];
            let sharing = sharing.map(|kind| child(&mut probe, kind));
            probe.grant("deadly");
            assert_eq!(probe.ask(words![way, DEADLY]).error(), "", "{user} {way}");
            let kinds = ["child-waits", "child-runs", "child-headless"];
            let late = kinds.map(|kind| child(&mut probe, kind));
            thread::sleep(Duration::from_millis(100));
            let all = || late.iter().chain(&sharing);
            assert!(all().chain([&early]).all(|process| is_alive(*process)));
            probe.revoke("deadly");
            is_gone(&format!("{user} {way}"), probe.pid);
            for (kind, process) in kinds.iter().zip(late) {
                is_gone(&format!("{user} {way} {kind}"), process);
            }
            for process in sharing {
                is_gone("who shares what it has", process);
            }
            assert!(is_alive(early), "{user} {way}: made before the use");
            let told = killed(&name, "deadly");
            for process in all().chain([&probe.pid]) {
                assert!(told.contains(process), "{user} {way}: {process} is not in {told:?}");
            }
            assert_eq!(told.len(), 6, "{told:?}");
        }
    }
    // Another session that holds it and never used it.
    sibling.revoke("deadly");
    assert_eq!(sibling.ask(words!["nothing"]).error(), "");
}

#[test]
fn process_is_marked_by_each_of_its_threads() {
    prepare();
    let mut probe = session("root");
    probe.grant("deadly");
    let early = child(&mut probe, "child-waits");
    // The thread ends; what it mapped or left in a pipe would stay.
    assert_eq!(probe.ask(words!["in-thread", "read", DEADLY]).error(), "");
    // A fork into a mount namespace fails when the child was tagged already, and forgets nothing.
    let flags = (libc::CLONE_NEWNS | libc::SIGCHLD).to_string();
    let fork = probe.ask(words!["sys", "56", flags, "0", "0", "0", "0"]);
    assert_eq!(fork.error(), "EPERM");
    let late = child(&mut probe, "child-waits");
    probe.revoke("deadly");
    is_gone("the process", probe.pid);
    is_gone("its later child", late);
    assert!(is_alive(early));
}

#[test]
fn use_that_is_known_already_marks_too() {
    prepare();
    let mut probe = session("root");
    probe.grant("deadly");
    // One process after another in one session: what was found for the first must not let the second pass unmarked.
    for _ in 0..3 {
        assert_eq!(probe.ask(words!["in-child", "read", DEADLY]).error(), "");
    }
    let early = child(&mut probe, "child-waits");
    for _ in 0..3 {
        assert_eq!(probe.ask(words!["read", DEADLY]).error(), "");
    }
    probe.revoke("deadly");
    is_gone("the process", probe.pid);
    assert!(is_alive(early));
}

#[test]
fn expiry_and_end_kill_who_used_the_tool_and_a_quarantine_nobody() {
    prepare();
    for ends in [false, true] {
        let mut probe = session("root");
        let early = child(&mut probe, "child-waits");
        let ttl = if ends { "1h" } else { "8s" };
        bed().remit(["grant", &probe.name, "deadly", "--ttl", ttl, "--reason", "x"]).expect(0);
        assert_eq!(probe.ask(words!["read", DEADLY]).error(), "");
        if ends {
            bed().remit(["session", "quarantine", &probe.name]).expect(0);
            assert!(is_alive(probe.pid), "a quarantine can be taken back");
            bed().remit(["session", "end", &probe.name]).expect(0);
        }
        eventually("the end", Duration::from_secs(30), || (!is_alive(probe.pid)).then_some(()));
        assert!(is_alive(early));
    }
}

#[test]
fn session_is_killed_as_a_whole_once_it_used_what_says_so() {
    prepare();
    let mut probe = session("root");
    let early = child(&mut probe, "child-waits");
    probe.grant("deadlier");
    probe.revoke("deadlier");
    assert!(is_alive(early), "nobody used it");
    probe.grant("deadlier");
    // Its user is gone before it is lost, and left something in a pipe, maybe.
    assert_eq!(probe.ask(words!["in-child", "read", DEADLIER]).error(), "");
    probe.revoke("deadlier");
    is_gone("the process", probe.pid);
    is_gone("its child", early);
}

#[test]
fn other_tools_kill_nobody_and_leave_what_is_held() {
    prepare();
    for way in WAYS {
        let mut probe = session("root");
        for tool in ["harmless", "deadly"] {
            probe.grant(tool);
        }
        assert_eq!(probe.ask(words![way, HARMLESS]).error(), "");
        for tool in ["harmless", "deadly"] {
            probe.revoke(tool);
        }
        write(HARMLESS, b'b');
        assert_eq!(probe.ask(words!["open-read", HARMLESS]).error(), "EACCES");
        // As the threat model says.
        let now = probe.ask(words!["held-now"]);
        if way == "hold-copy" && layout::kernel() == "6.1" {
            // That kernel asks for each piece of a copy, so it ended.
            assert_eq!(now.error(), "EIO");
        } else {
            assert_eq!(now.error(), "", "{way}");
            assert_eq!(now.value(), "b".repeat(16), "{way}");
        }
        write(HARMLESS, b'a');
    }
}
