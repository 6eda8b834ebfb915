//! Sessions from start to end: names, what they show, what the command gets, who may start one.

use std::{fs, path::PathBuf, thread, time::Duration};

use tests::{Builder, bed, layout, outcome::eventually, untagged, words};

const POLICY: &str = r#"
[tool.data]
files = [{ paths = ["/srv/test/sessions/data/**"], access = ["read"] }]
[tool.spare]
files = [{ paths = ["/srv/test/sessions/spare/**"], access = ["read"] }]
[tool.workspace]
files = [{ paths = ["{workdir}/**"], access = ["read", "write", "create", "delete"] }]
[profile.p]
tools = ["system", "data"]
may_start = { users = ["nobody"] }
[profile.other]
tools = ["system"]
[profile.worker]
tools = ["system", "workspace"]
[profile.watched]
mode = "audit"
tools = ["system", "data"]
"#;

/// The policy in force, and a file for each of its tools.
fn prepare() {
    bed().policy(POLICY);
    let folder = bed().folder("sessions");
    for place in ["data", "spare"] {
        fs::create_dir(folder.join(place)).unwrap();
        fs::write(folder.join(place).join("file"), place).unwrap();
    }
}

const DATA: &str = "/srv/test/sessions/data/file";
const SPARE: &str = "/srv/test/sessions/spare/file";

#[track_caller]
fn says(outcome: &tests::Outcome, parts: &[&str]) {
    for part in parts {
        assert!(outcome.stderr.contains(part), "no `{part}` in {outcome}");
    }
}

#[test]
fn session_is_listed_shown_and_ended_under_its_own_name() {
    prepare();
    let named = |name: &str| ["run", "-p", "p", "--name", name, "--", "true"].map(str::to_owned);
    let mut probe = bed().session("p").task("fix it").interactive();
    let name = probe.name.clone();
    let list = bed().remit(["session", "list"]).expect(0);
    assert!(list.stdout.contains(&name) && list.stdout.contains("fix it"), "{list}");
    let shown = bed().remit(["session", "show", &name, "--json"]).expect(0).json();
    assert_eq!((&shown["profile"], &shown["state"]), (&"p".into(), &"active".into()), "{shown}");
    assert_eq!(
        (&shown["workdir"], &shown["task"]),
        (&layout::WORK.into(), &"fix it".into()),
        "{shown}"
    );
    let id = shown["id"].as_str().unwrap().to_owned();
    let by_id = bed().remit(["session", "show", &id, "--json"]).expect(0).json();
    assert_eq!(by_id["name"], name.as_str());

    let taken = bed().remit(named(&name)).expect(1);
    says(&taken, &[&format!("a live session is called `{name}` already"), "--name"]);
    says(&bed().remit(named("a b")).expect(1), &["`a b` is not a session name"]);
    let missing = bed().remit(["session", "show", &format!("{name}x")]).expect(1);
    says(&missing, &[&format!("no session `{name}x`"), &format!("did you mean `{name}`?")]);

    assert_eq!(probe.ask(words!["open-read", DATA]).error(), "");
    bed().remit(["session", "end", &name]).expect(0);
    assert_eq!(probe.ask(words!["open-read", DATA]).error(), "EACCES");
    let incident = bed().incident(&id, |incident| incident.path() == DATA);
    assert_eq!((incident.operation.as_str(), incident.reason.as_str()), ("file.open", "expired"));
    says(&bed().remit(["session", "end", &name]).expect(1), &["has ended"]);
    let live = bed().remit(["session", "list"]).expect(0);
    assert!(!live.stdout.contains(&name), "{live}");
    let all = bed().remit(["session", "list", "--all"]).expect(0);
    assert!(all.stdout.contains(&name), "{all}");
    bed().remit(named(&name)).expect(0);
}

#[test]
fn end_with_kill_leaves_no_process() {
    prepare();
    let mut probe = bed().session("p").interactive();
    let child = probe.ask(words!["child"]).value();
    let child = child.split(' ').next().unwrap().to_owned();
    let bystander = bed().session("p").interactive();
    let alive = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    assert!(alive(&child));
    let ended = bed().remit(["session", "end", &probe.name, "--kill"]).expect(0);
    assert!(ended.stdout.contains("2 processes killed"), "{ended}");
    assert!(!alive(&child) && !alive(&probe.pid.to_string()), "they are gone when it returns");
    assert!(alive(&bystander.pid.to_string()));
}

#[test]
fn session_ends_with_its_last_process_and_not_before() {
    prepare();
    let finished = bed().session("p").script("sleep 6 > /dev/null 2>&1 & echo $!").expect(0);
    let last = PathBuf::from(format!("/proc/{}", finished.outcome.stdout.trim()));
    let state = || {
        let shown = bed().remit(["session", "show", &finished.name, "--json"]).expect(0).json();
        (shown["state"].as_str().unwrap().to_owned(), shown["ended"]["reason"].clone())
    };
    assert_eq!(state().0, "active", "a process of it lives");
    eventually("its last process to end", Duration::from_secs(30), || {
        (!last.exists()).then_some(())
    });
    // The kernel says so, by itself and at once: what takes time is asking.
    let reason = eventually("the session to end", Duration::from_secs(1), || {
        let (state, reason) = state();
        (state == "ended").then_some(reason)
    });
    assert_eq!(reason, "its last process ended");
}

/// How often the daemon's threads went to sleep so far.
fn sleeps() -> u64 {
    let threads = format!("/proc/{}/task", bed().daemon_pid().unwrap());
    let status = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("status"));
    let statuses = fs::read_dir(threads).unwrap().filter_map(|thread| status(thread.unwrap()).ok());
    let count = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    statuses.map(count).sum()
}

#[test]
fn daemon_sleeps_while_nothing_happens() {
    prepare();
    let _session = bed().session("p").interactive();
    // What served the last requests ends some seconds later, and the canary has its turn.
    eventually("some seconds of sleep", Duration::from_secs(60), || {
        let before = sleeps();
        thread::sleep(Duration::from_secs(5));
        (sleeps() == before).then_some(())
    });
}

#[test]
fn command_status_and_output_come_through() {
    prepare();
    let run = |script: &str| bed().session("p").script(script).outcome;
    assert_eq!(run("echo out; echo err >&2; exit 7").status, Some(7));
    assert_eq!(run("kill -9 $$").signal, Some(9));
    let missing = bed().session("p").run(["no-such-command"]).outcome.expect(127);
    says(&missing, &["`no-such-command`: command not found"]);
    let folder = bed().folder("sessions-programs");
    fs::copy("/bin/true", folder.join("mine")).unwrap();
    let finished = bed().session("p").run([folder.join("mine")]);
    let outcome = finished.outcome.clone().expect(126);
    says(&outcome, &["the session's tools don't cover running it", "remit incidents --session"]);
    let incident = bed().incident(&finished.name, |incident| incident.operation == "file.exec");
    assert_eq!(incident.path(), folder.join("mine").to_string_lossy());
    assert_eq!(untagged(&[words!["exec", folder.join("mine")]])[0].error(), "");
}

#[test]
fn standard_descriptors_are_kept_and_others_need_to_be_named() {
    prepare();
    let folder = bed().folder("sessions-descriptors");
    fs::write(folder.join("in"), "from outside\n").unwrap();
    let place = folder.display();
    let through = format!("exec \"$@\" < {place}/in > {place}/out 2> {place}/err 9< {place}/in");
    let session = || bed().session("p").through(["sh", "-c", &through, "sh"]);
    // None of these files is covered by a tool.
    session().script("cat; echo error >&2").expect(0);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!((read("out").as_str(), read("err").as_str()), ("from outside\n", "error\n"));

    let closed = session().script("cat <&9");
    assert_ne!(closed.outcome.status, Some(0));
    assert!(read("err").contains("9"), "{}", read("err"));
    let passed = session().option("--pass-fd", "9").script("cat <&9").expect(0);
    assert_eq!(read("out"), "from outside\n");
    let shown = bed().remit(["session", "show", &passed.name, "--json"]).expect(0).json();
    let target = |fd: usize| {
        let all = shown["passed_fds"].as_array().unwrap();
        let found = all.iter().find(|passed| passed["fd"] == fd).unwrap_or_else(|| panic!("{fd}"));
        found["target"].as_str().unwrap().to_owned()
    };
    assert_eq!((target(9), target(1)), (format!("{place}/in"), format!("{place}/out")));
    let not_open = bed().session("p").option("--pass-fd", "8").run(["true"]).outcome.expect(2);
    says(&not_open, &["descriptor 8 is not open"]);
}

#[test]
fn sessions_with_other_workdirs_can_not_reach_each_other() {
    prepare();
    let folder = bed().folder("sessions-work");
    let place = |name: &str| folder.join(name);
    let file = |name: &str| folder.join(name).join("file");
    for name in ["one", "two"] {
        fs::create_dir(place(name)).unwrap();
        fs::write(file(name), name).unwrap();
    }
    let session = |name: &str| bed().session("worker").workdir(place(name));
    let mut one = session("one").interactive();
    let mut two = session("two").interactive();
    // The first round finds no label in the cache, the second the other session's.
    for _ in 0..3 {
        for (probe, own, other) in [(&mut one, "one", "two"), (&mut two, "two", "one")] {
            assert_eq!(probe.ask(words!["read", file(own)]).value(), own);
            assert_eq!(probe.ask(words!["open-write", file(own)]).error(), "");
            assert_eq!(probe.ask(words!["read", file(other)]).error(), "EACCES");
            assert_eq!(probe.ask(words!["list", place(other)]).error(), "EACCES");
            let new = place(other).join("new");
            assert_eq!(probe.ask(words!["create", new]).error(), "EACCES");
            assert_eq!(probe.ask(words!["unlink", file(other)]).error(), "EACCES");
        }
    }
    let incident = bed().incident(&one.name, |found| found.operation == "file.delete");
    assert_eq!(incident.path(), file("two").to_string_lossy());
    assert_eq!(incident.reason, "no_tool");
}

#[test]
fn audited_session_is_refused_nothing_and_all_is_written_down() {
    prepare();
    let operations = [
        words!["read", DATA],
        words!["read", SPARE],
        words!["tcp", "127.0.0.1:7201"],
        words!["socket", "16", "3", "15"],
    ];
    let _server = std::net::TcpListener::bind("127.0.0.1:7201").unwrap();
    let work = "/srv/test/sessions/data";
    let (finished, answers) = bed().session("watched").workdir(work).probe(&operations);
    assert!(answers.iter().all(|answer| answer.error().is_empty()), "{answers:?}");
    let incidents = finished.incidents();
    let seen: Vec<_> = incidents
        .iter()
        .map(|found| (found.operation.as_str(), found.verdict.as_str(), found.reason.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("file.open", "would_deny", "no_tool"),
            ("net.connect", "would_deny", "no_tool"),
            ("net.socket", "would_deny", "guard"),
        ]
    );
    assert_eq!(
        (incidents[0].path(), &*incidents[0].would_allow),
        (SPARE, &["spare".to_owned()][..])
    );
    // The same, enforced.
    let (_, answers) = bed().session("p").probe(&operations);
    let errors: Vec<_> = answers.iter().map(tests::Answer::error).collect();
    assert_eq!(errors, ["", "EACCES", "EACCES", "EACCES"]);
}

/// As the user `nobody`.
fn as_nobody(session: Builder) -> Builder {
    session.through(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"])
}

#[test]
fn named_user_may_start_a_profile_and_nothing_more() {
    prepare();
    let finished = as_nobody(bed().session("p")).script(&format!("id -un; cat {DATA}")).expect(0);
    assert_eq!(finished.outcome.stdout, "nobody\ndata");
    let shown = bed().remit(["session", "show", &finished.name, "--json"]).expect(0).json();
    assert_eq!(shown["owner"]["user"], "nobody");
    let other = as_nobody(bed().session("other")).run(["true"]).outcome.expect(1);
    says(&other, &["there is no profile `other` that you may start", "may_start"]);

    let mut running = bed().session("p").interactive();
    let name = running.name.clone();
    let nobody = |arguments: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "remit"]);
        command.args(arguments).env("REMIT_SOCKET", layout::SOCKET);
        tests::Outcome::of(&mut command, &[])
    };
    let grant = ["grant", &name, "spare", "--ttl", "1m", "--reason", "x"];
    let only = "only root and the operators' group may do this";
    says(&nobody(&grant).expect(1), &[only]);
    says(&nobody(&["session", "end", &name]).expect(1), &[only]);
    assert!(!nobody(&["session", "list"]).expect(0).stdout.contains(&name));
    says(&nobody(&["policy", "reload"]).expect(1), &[only]);
    let whoami = nobody(&["whoami"]).expect(1);
    assert!(whoami.stdout.contains("may start: p"), "{whoami}");
    assert_eq!(running.ask(words!["read", SPARE]).error(), "EACCES");
    bed().remit(grant).expect(0);
    assert_eq!(running.ask(words!["read", SPARE]).error(), "");
}

#[test]
fn explanation_says_what_the_kernel_does() {
    prepare();
    let session = bed().session("p");
    let name = session.name().to_owned();
    let mut probe = session.interactive();
    let explain = |object: &str| bed().remit(["policy", "explain", &name, "read", object]);
    let yes = explain(DATA).expect(0);
    assert!(yes.stdout.contains("allowed") && yes.stdout.contains("data"), "{yes}");
    assert_eq!(probe.ask(words!["read", DATA]).error(), "");
    let no = explain(SPARE).expect(1);
    assert!(no.stdout.contains("denied (no_tool)") && no.stdout.contains("spare"), "{no}");
    assert_eq!(probe.ask(words!["read", SPARE]).error(), "EACCES");
    let net = bed().remit(["policy", "explain", &name, "net.connect", "203.0.113.7:443"]).expect(1);
    assert!(net.stdout.contains("no rule speaks of it"), "{net}");
    says(
        &bed().remit(["policy", "explain", &name, "raed", "/x"]).expect(1),
        &["did you mean `read`?"],
    );
}
