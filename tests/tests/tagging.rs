//! The tag sticks: whatever a process of a session does to become another process, it stays confined,
//! and a process outside of every session is refused nothing.

use std::{fs, time::Duration};

use tests::{Builder, Case, Outcome, allowed, bed, judge, layout, outcome, refused, skip, words};

const MINE: &str = "/srv/test/tagging/mine";
const OTHER: &str = "/srv/test/tagging/other";

/// A session that may read [`MINE`] and not [`OTHER`].
fn session() -> Builder {
    let folder = bed().folder("tagging");
    fs::write(folder.join("mine"), "mine").unwrap();
    fs::write(folder.join("other"), "other").unwrap();
    bed().policy(
        r#"
        [tool.mine]
        files = [
          { paths = ["/srv/test/tagging/mine"], access = ["read"] },
          { paths = ["/srv/test/tagging/bin/**"], access = ["read", "exec"] },
          { paths = ["/srv/test/tagging/out/**"], access = ["read", "write", "create"] },
        ]
        setid = true
        [profile.p]
        tools = ["system", "mine"]
        "#,
    );
    bed().session("p")
}

/// The same act on the file that is allowed and on the one that is not, through `prefix`.
fn both(prefix: &[&str], operation: &str) -> [Case; 2] {
    let on = |path: &str| {
        let mut words = words![];
        words.extend(prefix.iter().map(Into::into));
        words.extend([operation.into(), path.into()]);
        words
    };
    [allowed(on(MINE)), refused("file.open", "no_tool", on(OTHER)).at(OTHER).would_allow(&[])]
}

#[test]
fn process_made_in_any_way_is_confined() {
    let ways: [&[&str]; 10] = [
        &[],
        &["in-child"],
        &["in-clone3"],
        &["in-thread"],
        &["in-vfork"],
        &["in-new-session"],
        &["in-orphan"],
        &["in-daemon"],
        &["in-child", "in-orphan"],
        &["in-child", "in-thread", "in-vfork"],
    ];
    for way in ways {
        let incidents = judge(session(), &both(way, "open-read"));
        assert_eq!(incidents.len(), 1, "{way:?}: {incidents:?}");
    }
}

#[test]
fn incident_of_a_child_names_its_ancestors() {
    let finished = session().script(&format!(
        "sh -c '{} in-child open-read {OTHER}; true'; true",
        layout::probe().display()
    ));
    finished.clone().expect(0);
    let process = finished.incident().process;
    assert_eq!(process.exe, layout::probe().to_str().unwrap());
    assert_eq!(process.ancestry[0].pid, process.ppid);
    assert!(process.ancestry.len() >= 3, "{:?}", process.ancestry);
    assert_ne!(process.pid, process.ppid);
    assert_eq!(process.uid, 0);
}

#[test]
fn process_of_another_user_is_confined() {
    let incidents = judge(
        session(),
        &[
            allowed(words!["set-user", "65534"]),
            allowed(words!["open-read", MINE]),
            refused("file.open", "no_tool", words!["open-read", OTHER]).at(OTHER),
            refused("file.open", "no_tool", words!["in-child", "open-read", OTHER]).at(OTHER),
        ],
    );
    assert!(incidents.iter().all(|incident| incident.process.uid == 65534), "{incidents:?}");
}

#[test]
fn setuid_program_is_confined() {
    let session = session();
    let folder = std::path::Path::new("/srv/test/tagging/bin");
    layout::empty(folder);
    let program = folder.join("cat");
    fs::copy("/usr/bin/cat", &program).unwrap();
    Outcome::of(std::process::Command::new("chmod").arg("4755").arg(&program), &[]).expect(0);
    // Only root can read it, so that the second line shows that the program ran as root.
    Outcome::of(std::process::Command::new("chmod").args(["600", MINE, OTHER]), &[]).expect(0);
    let finished = session.script(&format!(
        "as() {{ setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"; }}
         as cat {MINE} 2> /dev/null && exit 1
         as {program} {MINE} || exit 2
         as {program} {OTHER} && exit 3
         exit 0",
        program = program.display()
    ));
    let finished = finished.expect(0);
    assert_eq!(finished.outcome.stdout, "mine");
    let incident = finished.incident();
    assert_eq!((incident.path(), incident.reason.as_str()), (OTHER, "no_tool"));
    assert_eq!(incident.process.exe, program.to_str().unwrap());
}

#[test]
fn exec_chain_keeps_the_tag() {
    let finished = session().run([
        "env",
        "nice",
        "setsid",
        "--wait",
        "sh",
        "-c",
        &format!("exec sh -c 'cat {MINE} && exec cat {OTHER}'"),
    ]);
    let finished = finished.expect(1);
    assert_eq!(finished.outcome.stdout, "mine");
    let incident = finished.incident();
    assert_eq!((incident.path(), incident.reason.as_str()), (OTHER, "no_tool"));
}

#[test]
fn grandchild_that_outlives_the_command_is_confined() {
    let session = session();
    layout::empty(std::path::Path::new("/srv/test/tagging/out"));
    let finished = session.script(&format!(
        "(setsid sh -c 'sleep 1; cat {MINE} > /srv/test/tagging/out/mine;
            cat {OTHER} > /srv/test/tagging/out/other; echo $? > /srv/test/tagging/out/end' \
            < /dev/null > /dev/null 2>&1 &)"
    ));
    let finished = finished.expect(0);
    let end = outcome::eventually("the grandchild", Duration::from_secs(10), || {
        fs::read_to_string("/srv/test/tagging/out/end").ok().filter(|text| !text.is_empty())
    });
    assert_eq!(end, "1\n");
    assert_eq!(fs::read_to_string("/srv/test/tagging/out/mine").unwrap(), "mine");
    assert_eq!(fs::read_to_string("/srv/test/tagging/out/other").unwrap(), "");
    let incident = bed().incident(&finished.name, |incident| incident.path() == OTHER);
    assert_eq!(incident.reason, "no_tool");
}

#[test]
fn io_uring_opens_what_the_session_may_and_nothing_else() {
    for operation in ["uring-read", "uring-worker-read", "uring-poll-read"] {
        let incidents = judge(session(), &both(&[], operation));
        assert_eq!(incidents.len(), 1, "{operation}: {incidents:?}");
    }
}

#[test]
fn io_uring_of_a_child_is_confined() {
    for operation in ["uring-read", "uring-worker-read", "uring-poll-read"] {
        judge(session(), &both(&["in-thread"], operation));
        judge(session(), &both(&["in-child"], operation));
    }
}

#[test]
fn process_outside_of_sessions_is_refused_nothing() {
    let session = session();
    let mut running = session.interactive();
    assert_eq!(running.ask(words!["open-read", OTHER]).error(), "EACCES");
    let probe = |words: &[&str]| {
        let mut command = std::process::Command::new(layout::probe());
        let outcome = Outcome::of(command.args(words), &[]).expect(0);
        assert!(outcome.stdout.starts_with("ok"), "{words:?}: {outcome}");
    };
    for way in [&[][..], &["in-child"], &["in-thread"], &["in-vfork"], &["in-daemon"]] {
        for operation in ["open-read", "open-write"] {
            probe(&[way, &[operation, OTHER]].concat());
        }
    }
    for operation in ["uring-read", "uring-worker-read", "uring-poll-read"] {
        probe(&[operation, OTHER]);
    }
    assert_eq!(running.ask(words!["open-read", OTHER]).error(), "EACCES");
    assert_eq!(running.ask(words!["open-read", MINE]).error(), "");
}

#[test]
fn cgroup_move_keeps_the_tag() {
    let mut running = session().interactive();
    let group = std::path::Path::new("/sys/fs/cgroup/remit-test");
    if let Err(error) = fs::create_dir_all(group) {
        skip!("no cgroup can be made: {error}");
    }
    fs::write(group.join("cgroup.procs"), running.pid.to_string()).unwrap();
    assert_eq!(running.ask(words!["open-read", MINE]).error(), "");
    assert_eq!(running.ask(words!["open-read", OTHER]).error(), "EACCES");
    assert_eq!(running.ask(words!["in-child", "open-read", OTHER]).error(), "EACCES");
}

#[test]
fn many_threads_and_children_at_once_are_all_confined() {
    let finished = session().run([
        "python3",
        "-c",
        &format!(
            "
import os, threading
wrong = []
def look():
    for _ in range(50):
        with open('{MINE}') as f:
            if f.read() != 'mine': wrong.append('mine')
        try:
            open('{OTHER}')
            wrong.append('other')
        except PermissionError: pass
threads = [threading.Thread(target=look) for _ in range(8)]
for t in threads: t.start()
children = []
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        wrong.clear()
        look()
        os._exit(len(wrong))
    children.append(pid)
for t in threads: t.join()
failed = sum(os.waitpid(pid, 0)[1] != 0 for pid in children)
raise SystemExit(len(wrong) + failed)
"
        ),
    ]);
    let incidents = finished.expect(0).incidents();
    let counted: u64 =
        incidents.iter().filter(|found| found.path() == OTHER).map(|found| found.count).sum();
    assert_eq!(counted, 16 * 50, "{}", tests::incident::list(&incidents));
}
