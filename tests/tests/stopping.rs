//! Stopping a session: no new processes, and none left.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tests::{Changed, Interactive, bed, outcome::eventually, untagged, words};

const POLICY: &str = r#"
[tool.own]
files = [{ paths = ["/srv/test/stopping/own/**"], access = ["read", "write"] }]
[tool.deadly]
on_revoke = "kill"
files = [{ paths = ["/srv/test/stopping/deadly/**"], access = ["read", "write"] }]
[tool.groups]
files = [{ paths = ["/sys/fs/cgroup/**"], access = ["read", "write", "create", "delete"] }]
[tool.datagrams]
network = [{ cidrs = ["::1/128"], ports = [7125], protocol = "udp" }]
[profile.p]
tools = ["system", "own"]
[profile.limited]
tools = ["system", "own"]
limits = { tasks = 8, memory = "256M" }
"#;

const WORK: &str = "/srv/test/stopping/own/count";
const DEADLY: &str = "/srv/test/stopping/deadly/count";

fn session() -> Interactive {
    prepare();
    bed().session("p").interactive()
}

fn prepare() {
    bed().policy(POLICY);
    let folder = bed().folder("stopping");
    for (place, file) in [("own", WORK), ("deadly", DEADLY)] {
        fs::create_dir_all(folder.join(place)).unwrap();
        fs::write(file, [0; 4096]).unwrap();
    }
}

/// The folder of a session's control group.
#[track_caller]
fn group(session: &str) -> PathBuf {
    let shown = bed().remit(["session", "show", session, "--json"]).expect(0).json();
    shown["control_group"].as_str().unwrap_or_else(|| panic!("it has none: {shown}")).into()
}

/// What one of a group's files says.
fn says(group: &Path, file: &str) -> String {
    fs::read_to_string(group.join(file)).unwrap_or_default()
}

/// What was counted so far in a file that processes have mapped.
fn count(path: &str) -> u64 {
    let bytes = fs::read(path).unwrap();
    u64::from_ne_bytes(bytes[..8].try_into().unwrap())
}

/// Waits until somebody counts.
#[track_caller]
fn begun(path: &str) {
    let before = count(path);
    eventually("somebody to count", Duration::from_secs(10), || {
        (count(path) != before).then_some(())
    });
}

/// Whether somebody counts.
fn goes_on(path: &str) -> bool {
    let before = count(path);
    thread::sleep(Duration::from_secs(1));
    count(path) != before
}

#[test]
fn quarantined_or_ended_session_makes_no_process_and_a_resumed_one_does() {
    let mut probe = session();
    let name = probe.name.clone();
    let forks = [words!["fork"], words!["in-thread", "nothing"]];
    assert_eq!(probe.ask(words!["fork"]).error(), "");
    bed().remit(["session", "quarantine", &name]).expect(0);
    assert_eq!(probe.ask(words!["fork"]).error(), "EPERM");
    let incident = bed().incident(&name, |incident| incident.operation == "process.fork");
    assert_eq!(incident.reason, "quarantined");
    bed().remit(["session", "resume", &name]).expect(0);
    for fork in &forks {
        assert_eq!(probe.ask(fork).error(), "", "{fork:?}");
    }
    bed().remit(["session", "end", &name]).expect(0);
    assert_eq!(probe.ask(words!["fork"]).error(), "EPERM");
    let incident = bed().incident(&name, |incident| incident.reason == "expired");
    assert_eq!(incident.operation, "process.fork");
}

#[test]
fn chain_of_processes_dies_when_its_session_is_quarantined() {
    let mut probe = session();
    assert_eq!(probe.ask(words!["chains", "1", WORK]).error(), "");
    begun(WORK);
    bed().remit(["session", "quarantine", &probe.name]).expect(0);
    // The last one of the chain tries for ever to make the next one; that is one process, and it can be ended.
    bed().remit(["session", "end", &probe.name, "--kill"]).expect(0);
    assert!(!goes_on(WORK));
}

#[test]
fn process_whose_main_thread_has_ended_is_killed_with_its_session() {
    let mut probe = session();
    let pid = probe.ask(words!["headless", WORK]).value();
    begun(WORK);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(stat.contains(") Z "), "its main thread has ended: {stat}");
    assert!(goes_on(WORK));
    let ended = bed().remit(["session", "end", &probe.name, "--kill"]).expect(0);
    assert!(ended.stdout.contains("2 processes killed"), "{ended}");
    assert!(!goes_on(WORK));
}

#[test]
fn process_whose_main_thread_has_ended_is_killed_for_what_it_has_mapped() {
    let mut probe = session();
    probe.grant("deadly");
    let pid = probe.ask(words!["in-child", "headless", DEADLY]).value();
    let other = probe.ask(words!["in-child", "headless", WORK]).value();
    begun(DEADLY);
    begun(WORK);
    probe.revoke("deadly");
    assert!(!goes_on(DEADLY), "process {pid} was killed");
    assert!(goes_on(WORK), "process {other} has nothing that was lost");
    let log = bed().remit(["incidents", "--all", "--json", "--session", &probe.name]);
    let is_told = log.stdout.lines().any(|line| {
        line.contains(r#""act":"kill""#) && line.contains(&pid) && line.contains(r#""deadly""#)
    });
    assert!(is_told, "{log}");
}

#[test]
fn chains_of_processes_do_not_outlive_their_session() {
    let mut probe = session();
    assert_eq!(probe.ask(words!["chains", "12", WORK]).error(), "");
    begun(WORK);
    bed().remit(["session", "end", &probe.name, "--kill"]).expect(0);
    assert!(!goes_on(WORK));
}

#[test]
fn chains_of_processes_are_killed_for_what_they_have_mapped_and_others_fork_on() {
    let mut probe = session();
    probe.grant("deadly");
    assert_eq!(probe.ask(words!["in-child", "chains", "4", DEADLY]).error(), "");
    begun(DEADLY);
    probe.revoke("deadly");
    assert!(!goes_on(DEADLY));
    assert_eq!(probe.ask(words!["fork"]).error(), "", "the session goes on");
}

#[test]
fn child_is_not_made_for_a_parent_outside() {
    let mut probe = session();
    let name = probe.name.clone();
    assert_eq!(probe.ask(words!["clone-parent"]).error(), "EPERM");
    let incident = bed().incident(&name, |incident| incident.operation == "process.fork");
    assert_eq!(incident.reason, "guard");
    for fine in [words!["in-child", "clone-parent"], words!["in-thread", "nothing"], words!["fork"]]
    {
        assert_eq!(probe.ask(&fine).error(), "", "{fine:?}");
    }
    let outside = untagged(&[words!["clone-parent"]]);
    assert_eq!(outside[0].error(), "");
}

#[test]
fn child_is_not_made_in_another_control_group() {
    let group = Path::new("/sys/fs/cgroup/remit-test-other");
    fs::create_dir_all(group).unwrap();
    let mut probe = session();
    // Where the session may open folders at all, the flag is what is refused.
    let into = words!["clone-into", group];
    assert_eq!(probe.ask(&into).error(), "EPERM");
    assert_eq!(probe.ask(words!["fork"]).error(), "");
    assert_eq!(untagged(&[into])[0].error(), "");
    let _ = fs::remove_dir(group);
}

#[test]
fn session_has_a_control_group_that_it_can_not_leave_and_that_goes_with_it() {
    let mut probe = session();
    let group = group(&probe.name);
    let child = probe.ask(words!["child"]).value();
    let child = child.split(' ').next().unwrap().to_owned();
    let members = says(&group, "cgroup.procs");
    for process in [&probe.pid.to_string(), &child] {
        assert!(members.lines().any(|line| line == process), "{process}: {members}");
    }
    probe.grant("groups");
    let root = "/sys/fs/cgroup/cgroup.procs";
    assert_eq!(probe.ask(words!["open-write", root]).error(), "EACCES");
    let incident = bed().incident(&probe.name, |incident| incident.path() == root);
    assert_eq!(incident.reason, "explicit_deny");
    assert_eq!(probe.ask(words!["open-read", root]).error(), "");
    bed().remit(["session", "end", &probe.name, "--kill"]).expect(0);
    drop(probe);
    eventually("the group to go", Duration::from_secs(20), || (!group.exists()).then_some(()));
}

#[test]
fn limits_of_a_profile_hold_for_all_processes_of_a_session_together() {
    prepare();
    let crowd = |profile: &str| {
        let mut probe = bed().session(profile).interactive();
        let errors: Vec<_> =
            (0..10).map(|_| probe.ask(words!["child"]).error().to_owned()).collect();
        (group(&probe.name), errors, probe)
    };
    let (limited, errors, _limited) = crowd("limited");
    assert_eq!(says(&limited, "pids.max").trim(), "8");
    assert_eq!(says(&limited, "memory.max").trim(), (256 << 20).to_string());
    assert_eq!(errors.iter().filter(|error| error.as_str() == "EAGAIN").count(), 3, "{errors:?}");
    let (free, errors, _free) = crowd("p");
    assert_eq!(says(&free, "pids.max").trim(), "max");
    assert_eq!(errors, [""; 10]);
}

#[test]
fn quarantine_freezes_processes_when_it_is_told_to_and_they_go_on_afterwards() {
    let mut probe = session();
    let name = probe.name.clone();
    let group = group(&name);
    assert_eq!(probe.ask(words!["headless", WORK]).error(), "");
    begun(WORK);
    bed().remit(["session", "quarantine", &name]).expect(0);
    assert!(goes_on(WORK), "what it has mapped it goes on using");
    bed().remit(["session", "quarantine", &name, "--freeze"]).expect(0);
    assert!(says(&group, "cgroup.events").contains("frozen 1"));
    assert!(!goes_on(WORK));
    bed().remit(["session", "resume", &name]).expect(0);
    begun(WORK);
    assert_eq!(probe.ask(words!["fork"]).error(), "");
    bed().remit(["session", "quarantine", &name, "--freeze"]).expect(0);
    let ended = bed().remit(["session", "end", &name, "--kill"]).expect(0);
    assert!(ended.stdout.contains("2 processes killed"), "{ended}");
}

#[test]
fn daemon_that_starts_anew_finds_the_groups_and_one_without_any_says_so() {
    prepare();
    let mut probe = bed().session("limited").interactive();
    let group = group(&probe.name);
    {
        let _without = Changed::start(&[("control_group", "off")]);
        let refused = bed().remit(["run", "-p", "limited", "--", "true"]).expect(1);
        assert!(refused.stderr.contains("can't have the limits of its profile"), "{refused}");
        bed().remit(["run", "-p", "p", "--", "true"]).expect(0);
        let doctor = bed().remit(["doctor", "--config", tests::layout::SETTINGS]);
        assert!(doctor.stdout.contains("control groups: none: off"), "{doctor}");
        assert!(group.exists());
    }
    assert_eq!(self::group(&probe.name), group);
    assert_eq!(probe.ask(words!["fork"]).error(), "");
    bed().remit(["session", "end", &probe.name, "--kill"]).expect(0);
}

#[test]
fn packet_with_a_routing_header_does_not_leave_a_session() {
    prepare();
    let mut probe = bed().session("p").interactive();
    probe.grant("datagrams");
    // A way that every kernel has.
    let way = "::1";
    let outside = untagged(&[words!["udp-two", "[::1]:7125", way]]);
    if outside[0] != tests::Answer::Done("2".into()) {
        tests::skip!("this kernel has no such header: {outside:?}");
    }
    assert_eq!(probe.ask(words!["udp-two", "[::1]:7125", "-"]).value(), "2");
    assert_eq!(probe.ask(words!["udp-two", "[::1]:7125", way]).value(), "1");
}
