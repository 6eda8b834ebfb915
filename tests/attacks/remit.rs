//! Attacks on Remit itself: its pins, settings, state, log, socket and process; and on its policy.

use tests::{Answer, Interactive, bed, layout, words};

use crate::{
    catalogue::{Attack, attack, steps},
    scene::{self, Scene},
};

pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = files();
    all.extend(socket());
    all.extend(daemon());
    all.extend(policy());
    all
}

fn files() -> Vec<Attack> {
    let open = |name, act| attack(name, "file_open", "file.open", act, "open-read @rw/file").privileged();
    vec![
        open("list the pins", "list /sys/fs/bpf/remit-test"),
        attack(
            "open a pinned map",
            "bpf",
            "priv.bpf",
            "bpf open-pin /sys/fs/bpf/remit-test/v1/maps/SESSIONS_BY_SLOT",
            "open-read @rw/file",
        )
        .privileged(),
        attack(
            "make a folder among the pins",
            "path_mkdir",
            "file.create",
            "mkdir /sys/fs/bpf/remit-test/{key}",
            "mkdir @rw/new",
        )
        .anywhere()
        .privileged(),
        open("read the state", "list /run/remit-test/state"),
        open("read the log", "open-read /run/remit-test/log/incidents.jsonl"),
        open("write into the log", "open-append /run/remit-test/log/incidents.jsonl"),
        open("change the settings", "open-write /run/remit-test/remitd.toml"),
        open("change the policy", "open-write /run/remit-test/policy.d/50-test.toml"),
        attack(
            "add to the policy",
            "path_mknod",
            "file.create",
            "all create /run/remit-test/policy.d/.attack-{key} and unlink /run/remit-test/policy.d/.attack-{key}",
            "create @rw/new",
        )
        .anywhere()
        .privileged(),
        attack(
            "move the folder of the socket",
            "path_rename",
            "file.rename",
            "all rename /run/remit-test/socket /run/remit-test/aside and rename /run/remit-test/aside /run/remit-test/socket",
            "rename @rw/folder @rw/moved",
        )
        .privileged(),
        attack(
            "make another socket in the place of the socket",
            "path_rename",
            "file.rename",
            "sys rename s=/run/remit-test/bin s={socket}",
            "rename @rw/file @rw/moved",
        )
        .plain("ENOTDIR")
        .privileged()
        .anywhere(),
    ]
}

fn socket() -> Vec<Attack> {
    let ask = |name, act| {
        attack(name, "daemon", "", act, "http-done {socket} GET /v1/whoami").unrecorded()
    };
    vec![
        ask(
            "start a session anew",
            r#"in-child http-done {socket} POST /v1/sessions {"profile":"agent","workdir":"/run/remit-test/work"}"#,
        ),
        ask(
            "start a session of another profile",
            r#"in-child http-done {socket} POST /v1/sessions {"profile":"terminals","workdir":"/run/remit-test/work"}"#,
        ),
        ask(
            "give oneself a tool",
            r#"http-done {socket} POST /v1/sessions/{session}/grants {"tool":"shut","ttl":"1h","reason":"x"}"#,
        )
        .privileged(),
        ask(
            "give oneself a tool over a connection whose maker is gone",
            r#"http-orphan-done {socket} POST /v1/sessions/{session}/grants {"tool":"shut","ttl":"1h","reason":"x"}"#,
        )
        .privileged(),
        ask(
            "give another session a tool",
            r#"http-done {socket} POST /v1/sessions/{bystander}/grants {"tool":"shut","ttl":"1h","reason":"x"}"#,
        )
        .privileged(),
        ask("end another session", "http-done {socket} DELETE /v1/sessions/{bystander}").privileged(),
        ask("quarantine another session", "http-done {socket} POST /v1/sessions/{bystander}/quarantine")
            .privileged(),
        ask("list the sessions", "http-done {socket} GET /v1/sessions"),
        ask("read the policy", "http-done {socket} GET /v1/policy").privileged(),
        ask("have the policy read anew", "http-done {socket} POST /v1/policy/reload").privileged(),
        ask("read the log's hashes", "http-done {socket} GET /v1/incidents/verify").privileged(),
    ]
}

fn daemon() -> Vec<Attack> {
    let own = "own-child signal";
    vec![
        attack("signal the daemon", "task_kill", "process.signal", "signal {daemon} 28", own)
            .privileged(),
        attack(
            "compare the daemon's resources",
            "ptrace_access_check",
            "process.trace",
            "sys kcmp {daemon} {daemon} 1 0 0",
            own,
        )
        .privileged(),
        attack(
            "limit the daemon",
            "task_setrlimit",
            "process.control",
            "sys prlimit64 {daemon} 0 x=ffffffffffffffffffffffffffffffff 0",
            own,
        )
        .privileged(),
        attack(
            "lower the daemon's priority",
            "task_setnice",
            "process.control",
            "sys setpriority 0 {daemon} 1",
            own,
        )
        .privileged(),
        attack(
            "fill the ring of events",
            "file_open",
            "file.open",
            steps(|scene| counted(scene, "many 3000 open-read @no/file")),
            steps(|scene| counted(scene, "many 50 open-read @rw/file")),
        ),
        attack(
            "fill the map of sockets",
            "unix_stream_connect",
            "unix.connect",
            "in-child sockets 3000 unix stream {abstract}outside-of-all",
            "in-child sockets 3000 unix stream /srv/test/sockets/open/stream",
        )
        .anywhere(),
    ]
}

fn policy() -> Vec<Attack> {
    vec![
        attack(
            "use a rule left over when a list becomes empty",
            "file_open",
            "file.open",
            steps(emptied_list),
            "open-read @rw/file",
        ),
        attack(
            "use an empty list of tools",
            "file_open",
            "",
            steps(empty_profile),
            "open-read @rw/file",
        )
        .unrecorded(),
        attack(
            "fill the map of labels",
            "file_open",
            "file.open",
            steps(full_labels),
            "open-read @rw/file",
        ),
        attack(
            "open a file while the rules are rewritten",
            "file_open",
            "file.open",
            steps(|scene| meanwhile(scene, "open-read @no/file")),
            steps(|scene| meanwhile(scene, "open-read @rw/file")),
        ),
        attack(
            "connect while the rules are rewritten",
            "socket_connect",
            "net.connect",
            steps(|scene| meanwhile(scene, "udp 127.0.0.1:7302")),
            steps(|scene| meanwhile(scene, "udp 127.0.0.1:7301")),
        ),
        attack(
            "have an unconfined writer follow a symbolic link",
            "none",
            "",
            steps(|scene| followed(scene, "@no/file")),
            steps(|scene| followed(scene, "@rw/file")),
        )
        .not_stopped("the writer is not confined, and what it follows is its own mistake"),
    ]
}

/// What came of many repetitions: done if one was allowed.
fn of_counts(answer: Answer) -> Answer {
    let counts = tests::Counts::from(answer);
    match (counts.allowed, counts.refused) {
        (0, 0) => Answer::Failed(format!("E{}", counts.error)),
        (0, _) => Answer::Failed("EACCES".to_owned()),
        (allowed, 0) if counts.other == 0 => Answer::Done(allowed.to_string()),
        (allowed, refused) => Answer::Done(format!("{allowed} allowed, {refused} refused")),
    }
}

fn counted(scene: &mut Scene, text: &str) -> Answer {
    of_counts(scene.ask(text))
}

/// Tries without a pause while the policy is put in force again and again. An allowed act that is refused
/// at any time counts as failed.
fn meanwhile(scene: &mut Scene, text: &str) -> Answer {
    assert_eq!(scene.ask(&format!("start rules 200 {text}")).error(), "");
    if scene.is_tagged() {
        for _ in 0..3 {
            bed().remit(["policy", "reload"]).expect(0);
        }
    } else {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let counts = tests::Counts::from(scene.ask("stop rules"));
    let allowed_act = text.contains("@rw") || text.contains(":7301");
    if counts.allowed == 0 || (allowed_act && counts.refused > 0) {
        return Answer::Failed("EACCES".to_owned());
    }
    Answer::Done(counts.allowed.to_string())
}

/// The tool `lent` is held while its list of files is taken out of the policy.
fn emptied_list(scene: &mut Scene) -> Answer {
    scene.lend();
    let before = scene.ask("open-read @lent/file");
    assert_eq!(before.error(), "", "the tool holds");
    if scene.is_tagged() {
        scene::in_force_without_list();
    }
    let answer = scene.ask("open-read @lent/file");
    if scene.is_tagged() {
        scene::in_force();
    }
    scene.take_back();
    answer
}

/// A session without any tool, of a process that asks for it itself.
fn empty_profile(scene: &mut Scene) -> Answer {
    let mut probe: Interactive = scene.another();
    if scene.is_tagged() {
        let body = format!(r#"{{"profile":"nothing","workdir":"{}"}}"#, layout::WORK);
        let answer = probe.ask(words!["http", layout::SOCKET, "POST", "/v1/sessions", body]);
        assert!(answer.clone().value().starts_with("20"), "{answer:?}");
    }
    probe.ask(words!["open-read", "/usr/bin/true"])
}

/// A policy with more labels than there may be is not put in force, and what was in force stays.
fn full_labels(scene: &mut Scene) -> Answer {
    if scene.is_tagged() {
        let outcome = scene::too_many_labels();
        assert!(!outcome.is_success(), "it does not fit: {outcome}");
    }
    let answer = scene.ask("open-read @no/file");
    if scene.is_tagged() {
        scene::in_force();
    }
    answer
}

/// A link in the session's own folder, through which a process outside writes.
fn followed(scene: &mut Scene, target: &str) -> Answer {
    let link = format!("@rw/drop-{}", target.replace(['@', '/'], ""));
    let made = scene.ask(&format!("symlink {target} {link}"));
    if !made.error().is_empty() {
        return made;
    }
    scene.outside(&format!("write {link} changed"))
}
