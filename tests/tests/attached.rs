//! The hooks are attached while there are sessions, and no longer than a while after the last: others pay for them.
//! Each hook of the kernel's is one of them, or known and not needed.

use std::{collections::BTreeSet, fs, path::Path, thread, time::Duration};

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

/// Where the hooks are listed that Remit does not use.
const PAGE: &str = include_str!("../../docs/threat-model.md");
/// The title above that list, and what ends it.
const TITLE: &str = "\n## Hooks of the kernel that Remit does not use\n";
const NEXT_TITLE: &str = "\n## ";

/// Functions that are named as those of the hooks are, and are none (kernel/bpf/bpf_lsm.c).
const HELPERS: [&str; 7] = [
    "find_cgroup_shim",
    "get_retval_range",
    "has_d_inode_locked",
    "hook_returns_errno",
    "is_sleepable_hook",
    "is_trusted",
    "verify_prog",
];

/// The hooks that are attached.
fn attached() -> Vec<String> {
    let links = fs::read_dir(Path::new(PINS).join("v1/links")).unwrap();
    links.map(|link| link.unwrap().file_name().into_string().unwrap()).collect()
}

/// The programs that are loaded.
fn programs() -> BTreeSet<String> {
    let programs = fs::read_dir(Path::new(PINS).join("v1/programs")).unwrap();
    programs.map(|program| program.unwrap().file_name().into_string().unwrap()).collect()
}

/// How many of the loaded hooks have to be attached for a session.
fn needed() -> usize {
    let others = ["given", "connections", "egress", "tasks"];
    programs().iter().filter(|name| !others.contains(&name.as_str())).count()
}

/// The hooks that this kernel has.
fn of_kernel() -> BTreeSet<String> {
    let symbols = fs::read_to_string("/proc/kallsyms").unwrap();
    // Address, kind, name: they are global, and since 7.3 weak.
    let functions = symbols.lines().filter_map(|line| {
        let (_, symbol) = line.split_once(' ')?;
        symbol.strip_prefix("T bpf_lsm_").or(symbol.strip_prefix("W bpf_lsm_"))
    });
    let hooks = functions.map(str::to_owned);
    hooks.filter(|name| !HELPERS.contains(&name.as_str())).collect()
}

/// The hooks that the page says are not used: in the first column of its tables, between backticks.
fn unused() -> BTreeSet<String> {
    let (_, after) = PAGE.split_once(TITLE).unwrap();
    let section = after.split(NEXT_TITLE).next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
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

/// A new kernel's new hook fails this, until somebody has looked what it sees that no other does.
#[test]
fn hooks_of_the_kernel_are_used_or_listed_as_unused() {
    let _session = bed().session("plain").interactive();
    let (kernel, used, unused) = (of_kernel(), programs(), unused());
    assert!(kernel.len() > 200, "{kernel:?}");
    let neither: Vec<_> =
        kernel.iter().filter(|hook| !used.contains(*hook) && !unused.contains(*hook)).collect();
    assert!(neither.is_empty(), "neither used nor in docs/threat-model.md: {neither:?}");
    let both: Vec<_> = used.intersection(&unused).collect();
    assert!(both.is_empty(), "used, and in docs/threat-model.md as unused: {both:?}");
}
