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

/// Hooks on the data path.
const USES: usize = 4;

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
    thread::sleep(Duration::from_millis(1_500));
    confined();
    // One leaves a process behind.
    let mut probe = bed().session("plain").interactive();
    bed().remit(["session", "end", &probe.name]).expect(0);
    let mut is_refused = || {
        assert_eq!(probe.ask(words!["open-read", "/usr/bin/env"]).error(), "EACCES");
        assert!(attached().len() >= needed() - USES);
    };
    thread::sleep(Duration::from_secs(3));
    is_refused();
    bed().kill();
    is_refused();
    bed().start();
    thread::sleep(Duration::from_secs(3));
    is_refused();
    drop(probe);
    none_attached();
    // That a host can enforce is known without a session, too, and by trying it.
    bed().remit(["doctor", "--config", SETTINGS]).expect(0);
    confined();
}
