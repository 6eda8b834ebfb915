//! The hooks are attached while there are sessions, and no longer than a while after the last: others pay for them.

use std::{fs, path::Path, thread, time::Duration};

use tests::{
    Changed, bed,
    layout::{PINS, SETTINGS},
    outcome::eventually,
    words,
};

/// How long it may take until all are off, on a busy emulated processor.
const LONG: Duration = Duration::from_secs(120);

/// The hooks that are attached.
fn attached() -> Vec<String> {
    let links = fs::read_dir(Path::new(PINS).join("v1/links")).unwrap();
    links.map(|link| link.unwrap().file_name().into_string().unwrap()).collect()
}

/// How many of the loaded hooks have to be attached for a session.
fn needed() -> usize {
    let others = ["given", "connections"];
    let programs = fs::read_dir(Path::new(PINS).join("v1/programs")).unwrap();
    let names = programs.map(|program| program.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !others.contains(&name.as_str())).count()
}

#[track_caller]
fn none_attached() {
    eventually("all hooks to be off", LONG, || attached().is_empty().then_some(()));
}

/// A session does what it may, and nothing else.
#[track_caller]
fn confined() {
    let mut probe = bed().session("plain").interactive();
    assert_eq!(attached().len(), needed());
    assert_eq!(probe.ask(words!["open-read", "/usr/bin/env"]).error(), "");
    assert_eq!(probe.ask(words!["open-read", "/etc/shadow"]).error(), "EACCES");
    assert_eq!(probe.ask(words!["tcp", "127.0.0.1:9"]).error(), "EACCES");
}

#[test]
fn hooks_are_attached_for_sessions_and_nobody_else() {
    bed().policy("");
    let _changed = Changed::start(&[("detach_after", "1s")]);
    none_attached();
    confined();
    // The next session comes while hooks are on their way off.
    for pause in [0, 1_000, 1_500, 2_500, 4_000] {
        thread::sleep(Duration::from_millis(pause));
        confined();
    }
    none_attached();
    // That a host can enforce is known without a session, too, and by trying it.
    let doctor = bed().remit(["doctor", "--config", SETTINGS]).expect(0);
    assert!(doctor.stdout.contains("canary"), "{doctor}");
    none_attached();
    // The next daemon finds the programs, and attaches them when they are needed.
    bed().kill();
    bed().start();
    confined();
    none_attached();
}

#[test]
fn session_that_left_a_process_keeps_the_hooks() {
    bed().policy("");
    let _changed = Changed::start(&[("detach_after", "1s")]);
    let mut probe = bed().session("plain").interactive();
    bed().remit(["session", "end", &probe.name]).expect(0);
    thread::sleep(Duration::from_secs(5));
    assert_eq!(attached().len(), needed());
    assert_eq!(probe.ask(words!["open-read", "/usr/bin/env"]).error(), "EACCES");
    bed().kill();
    assert_eq!(probe.ask(words!["open-read", "/usr/bin/env"]).error(), "EACCES");
    bed().start();
    thread::sleep(Duration::from_secs(5));
    assert_eq!(probe.ask(words!["open-read", "/usr/bin/env"]).error(), "EACCES");
    drop(probe);
    none_attached();
}
