//! What no session may do, root's neither: act through processes outside of it, change mounts and
//! namespaces, use what would undo the confinement. On its own processes it may.

use std::ffi::OsString;

use serde_json::{Value, json};
use tests::{Answer, Case, Interactive, allowed, bed, fails, judge, refused, untagged, words};

const POLICY: &str = r#"
[tool.everything]
files = [{ paths = ["/**"], access = ["read", "write", "create", "delete", "exec", "connect", "ioctl"] }]
[profile.p]
tools = ["system", "everything"]
"#;

/// The guard refuses it, with `EPERM`.
fn guarded(operation: &str, words: Vec<OsString>) -> Case {
    refused(operation, "guard", words).error("EPERM")
}

/// A capability that is withheld.
fn incapable(words: Vec<OsString>, capability: &str) -> Case {
    guarded("priv.capability", words).object(json!({"capability": capability}))
}

/// A child of a probe: its process id, and the address of a mark in its memory.
#[track_caller]
fn child(probe: &mut Interactive) -> (String, String) {
    let text = probe.ask(words!["child"]).value();
    let (pid, mark) = text.split_once(' ').expect("two numbers");
    (pid.to_owned(), mark.to_owned())
}

#[test]
fn process_outside_can_not_be_traced_read_or_written() {
    bed().policy(POLICY);
    let mut outside = Interactive::untagged();
    let (pid, mark) = child(&mut outside);
    let object: Value = json!({"pid": pid.parse::<u32>().unwrap()});
    let trace = |words: Vec<OsString>| guarded("process.trace", words).object(object.clone());
    let acts = [
        words!["memory-read", pid, mark],
        words!["memory-write", pid, mark],
        words!["open-read", format!("/proc/{pid}/mem")],
        words!["open-read", format!("/proc/{pid}/environ")],
        words!["trace", pid],
    ];
    let [read, write, memory, environment, seize] = acts.clone();
    let mut cases = vec![
        trace(read),
        trace(write),
        // procfs answers for itself.
        trace(memory).error("EACCES"),
        trace(environment.clone()).error("EACCES"),
        trace(seize),
    ];
    if ["6.18", "7"].contains(&tests::layout::kernel().as_str()) {
        // There procfs asks for two capabilities as well, before it gives up.
        for capability in ["perfmon", "sys_admin"] {
            cases.push(incapable(environment.clone(), capability).error("EACCES"));
        }
    }
    judge(bed().session("p"), &cases);
    for (act, answer) in acts.iter().zip(untagged(&acts)) {
        assert!(matches!(answer, Answer::Done(_)), "{act:?}: {answer:?}");
    }
}

#[test]
fn own_child_can_be_traced_read_and_signalled() {
    bed().policy(POLICY);
    let mut probe = bed().session("p").interactive();
    let (pid, mark) = child(&mut probe);
    assert_eq!(probe.ask(words!["memory-read", pid, mark]).value(), "the-mark");
    for act in [
        words!["memory-write", pid, mark],
        words!["open-read", format!("/proc/{pid}/mem")],
        words!["signal", pid, "0"],
        words!["signal", pid, "18"],
        words!["trace", pid],
        words!["signal", pid, "9"],
    ] {
        assert_eq!(probe.ask(&act).error(), "", "{act:?}");
    }
    assert_eq!(probe.incidents().len(), 0);
}

#[test]
fn process_outside_can_not_be_signalled() {
    bed().policy(POLICY);
    let mut outside = Interactive::untagged();
    let (pid, _) = child(&mut outside);
    let number: u32 = pid.parse().unwrap();
    let signal = |name: &str| json!({"pid": number, "signal": name});
    judge(
        bed().session("p"),
        &[
            // Only asks whether it is there.
            allowed(words!["signal", pid, "0"]),
            fails("ESRCH", words!["signal", "4194300", "0"]),
            guarded("process.signal", words!["signal", pid, "9"]).object(signal("KILL")),
            guarded("process.signal", words!["signal", pid, "19"]).object(signal("STOP")),
        ],
    );
    let answers = untagged(&[words!["signal", pid, "0"], words!["signal", pid, "9"]]);
    assert!(answers.iter().all(|answer| answer.error().is_empty()), "{answers:?}");
}

#[test]
fn other_sessions_process_can_not_be_traced_or_signalled() {
    bed().policy(POLICY);
    let mut other = bed().session("p").interactive();
    let (pid, mark) = child(&mut other);
    judge(
        bed().session("p"),
        &[
            guarded("process.trace", words!["memory-read", pid, mark]),
            guarded("process.signal", words!["signal", pid, "9"]),
        ],
    );
    assert_eq!(other.ask(words!["memory-read", pid, mark]).value(), "the-mark");
    assert_eq!(other.ask(words!["signal", pid, "9"]).error(), "");
}

#[test]
fn mounts_and_roots_can_not_be_changed() {
    bed().policy(POLICY);
    let folder = bed().folder("guard-mounts");
    let (a, b) = (folder.join("a"), folder.join("b"));
    std::fs::create_dir(&a).unwrap();
    std::fs::create_dir(&b).unwrap();
    let mounted = untagged(&[words!["mount-tmpfs", b]]);
    assert_eq!(mounted[0].error(), "");
    let mount =
        |words: Vec<OsString>| guarded("priv.mount", words).object(json!({"call": "mount"}));
    judge(
        bed().session("p"),
        &[
            mount(words!["mount-tmpfs", a]),
            mount(words!["mount-bind", "/usr", a]),
            incapable(words!["umount", b], "sys_admin"),
            incapable(words!["pivot-root", b, b], "sys_admin"),
            incapable(words!["tree-clone", "/usr"], "sys_admin"),
            incapable(words!["mount-move", b, a], "sys_admin"),
            incapable(words!["fsopen", "tmpfs"], "sys_admin"),
        ],
    );
    let answers = untagged(&[
        words!["mount-move", b, a],
        words!["umount", a],
        words!["mount-bind", "/usr", a],
        words!["umount", a],
        words!["tree-clone", "/usr"],
        words!["fsopen", "tmpfs"],
    ]);
    assert!(answers.iter().all(|answer| answer.error().is_empty()), "{answers:?}");
}

#[test]
fn namespaces_and_the_hosts_name_can_not_be_changed() {
    bed().policy(POLICY);
    let acts = [words!["unshare", "user"], words!["unshare", "mount"], words!["hostname", "guest"]];
    let [user, mount, hostname] = acts.clone();
    judge(
        bed().session("p"),
        &[
            guarded("priv.userns", user),
            incapable(mount, "sys_admin"),
            incapable(hostname, "sys_admin"),
        ],
    );
    for act in acts {
        let answer = untagged(std::slice::from_ref(&act));
        assert_eq!(answer[0].error(), "", "{act:?}");
    }
}

#[test]
fn process_descriptor_gives_nothing_outside_of_the_session() {
    bed().policy(POLICY);
    let mut outside = Interactive::untagged();
    let (pid, _) = child(&mut outside);
    let acts = [
        words!["take-fd", pid, "0"],
        // Joining a namespace asks first whether one might trace who is in it.
        words!["join", pid, "mount"],
        words!["pidfd-signal", pid, "9"],
    ];
    let [take, join, signal] = acts.clone();
    judge(
        bed().session("p"),
        &[
            guarded("process.trace", take),
            guarded("process.trace", join),
            guarded("process.signal", signal),
        ],
    );
    for act in acts {
        assert_eq!(untagged(std::slice::from_ref(&act))[0].error(), "", "{act:?}");
    }
}

#[test]
fn process_descriptor_of_an_own_child_works_and_its_namespaces_are_closed() {
    bed().policy(POLICY);
    let mut probe = bed().session("p").interactive();
    let (pid, _) = child(&mut probe);
    assert_eq!(probe.ask(words!["take-fd", pid, "0"]).error(), "");
    assert_eq!(probe.ask(words!["pidfd-signal", pid, "18"]).error(), "");
    assert_eq!(probe.ask(words!["join", pid, "mount"]).error(), "EPERM");
    let incident = bed().incident(&probe.name, |found| found.operation == "priv.capability");
    assert_eq!(incident.object, json!({"capability": "sys_admin"}));
    assert_eq!(probe.ask(words!["pidfd-signal", pid, "9"]).error(), "");
}

#[test]
fn kernel_programs_events_and_modules_are_out_of_reach() {
    bed().policy(POLICY);
    let folder = bed().folder("guard-modules");
    let module = folder.join("module.ko");
    std::fs::write(&module, "no module").unwrap();
    // Debian's kernel asks for a capability first where this is higher.
    std::fs::write("/proc/sys/kernel/perf_event_paranoid", "2").unwrap();
    let bpf = |words: Vec<OsString>, command: &str| {
        guarded("priv.bpf", words).object(json!({ "command": command }))
    };
    // 6.1 asks for a capability before the hook where something is made.
    let map = words!["bpf", "map"];
    let map = if tests::layout::kernel() == "6.1" {
        guarded("priv.capability", map)
    } else {
        bpf(map, "map_create")
    };
    judge(
        bed().session("p"),
        &[
            map,
            bpf(words!["bpf", "next-program"], "prog_get_next_id"),
            guarded("priv.perf", words!["perf"]),
            incapable(words!["module", module], "sys_module"),
            incapable(words!["module-image"], "sys_module"),
        ],
    );
    let answers = untagged(&[
        words!["bpf", "map"],
        words!["bpf", "next-program"],
        words!["perf"],
        words!["module", module],
        words!["module-image"],
    ]);
    let errors: Vec<&str> = answers.iter().map(Answer::error).collect();
    assert_eq!(errors, ["", "", "", "ENOEXEC", "ENOEXEC"]);
}

#[test]
fn devices_can_not_be_made() {
    bed().policy(POLICY);
    let folder = bed().folder("guard-devices");
    judge(
        bed().session("p"),
        &[
            incapable(words!["device", folder.join("null")], "mknod"),
            allowed(words!["create", folder.join("file")]),
        ],
    );
    assert_eq!(untagged(&[words!["device", folder.join("null")]])[0].error(), "");
}
