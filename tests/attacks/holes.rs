//! That each hook is needed: with its program left out, something that it stops gets through.
//!
//! A hook's program is taken away by its pin; where none is attached while nothing needs it, the daemon is
//! started anew without it, which it can in this build (`cargo xtask test --without`). What is tried are the attacks that the catalogue says the hook stops; where another hook refuses them before,
//! that one is left out as well, and this one has to stop them then.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tests::{Hole, bed, layout, outcome::eventually};

use crate::{
    catalogue::{Attack, Expected},
    run,
    scene::{self, Scene, User},
};

/// What a hook is for beside stopping attacks: holds while it is in force.
struct Check {
    hook: &'static str,
    name: &'static str,
    holds: fn() -> bool,
}

const CHECKS: &[Check] = &[
    Check { hook: "task_free", name: "a session ends with its last process", holds: session_ends },
    Check {
        hook: "shm_alloc_security",
        name: "a session uses the shared memory that it made",
        holds: || session_may(&["shm-come-and-go", "1"]),
    },
    Check {
        hook: "msg_queue_alloc_security",
        name: "a session uses the queue that it made",
        holds: || session_may(&["msg-come-and-go", "1"]),
    },
    Check {
        hook: "sem_alloc_security",
        name: "a session uses the semaphore that it made",
        holds: || session_may(&["sem-come-and-go", "1"]),
    },
    Check {
        hook: "key_alloc",
        name: "a session uses the keyring that it made",
        holds: || session_may(&["key-add", "own", "process"]),
    },
];

fn session_ends() -> bool {
    let finished = bed().session("nothing").run(["true"]);
    let show = || bed().remit(["session", "show", &finished.name, "--json"]);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(20) {
        if show().expect(0).json()["state"] == "ended" {
            return true;
        }
        thread::sleep(Duration::from_millis(200));
    }
    false
}

/// Whether a session may do an operation of the probe.
fn session_may(operation: &[&str]) -> bool {
    let (_, answers) = bed().session("agent").probe(&[operation.iter().map(Into::into).collect()]);
    answers.iter().all(|answer| answer.error().is_empty())
}

/// Attacks, each with its group.
type Chosen<'a> = Vec<(&'static str, Vec<&'a Attack>)>;

/// What came of leaving out one hook.
#[derive(Default)]
struct Found {
    /// What gets through without it.
    failed: Vec<String>,
    /// What is stopped without it too, by another.
    stopped: Vec<String>,
    /// The hooks that had to be left out as well.
    also: Vec<&'static str>,
}

/// Leaves out one hook after another, and writes down what gets through.
///
/// # Panics
/// When nothing does without one of them, or a check fails with all in force.
pub(crate) fn search(groups: &[(&'static str, Vec<Attack>)]) {
    let hooks = env::var("REMIT_HOLES").expect("`cargo xtask test --without` names the hooks");
    scene::prepare();
    for check in CHECKS {
        assert!((check.holds)(), "with every hook in force: {}", check.name);
    }
    let mut uncovered = Vec::new();
    let mut records = Vec::new();
    for hook in hooks.split(',').filter(|hook| is_in_kernel(hook)) {
        let found = leave_out(hook, groups);
        eprintln!("hole {hook}: {} through, {} stopped", found.failed.len(), found.stopped.len());
        if found.failed.is_empty() {
            uncovered.push(hook.to_owned());
        }
        records.push(json!({
            "hook": hook,
            "kernel": layout::kernel(),
            "failed": found.failed,
            "stopped": found.stopped,
            "also_without": found.also,
        }));
        keep(&records);
    }
    assert!(uncovered.is_empty(), "not covered: {}", uncovered.join(", "));
}

/// Whether this kernel has the hook.
fn is_in_kernel(hook: &str) -> bool {
    let wanted = format!("bpf_lsm_{hook}");
    let symbols = fs::read_to_string("/proc/kallsyms").expect("root may read it");
    symbols.lines().any(|line| line.split_ascii_whitespace().nth(2) == Some(&wanted))
}

fn keep(records: &[Value]) {
    let Some(folder) = env::var_os("REMIT_ATTACKS") else { return };
    let path = std::path::Path::new(&folder).join(format!("holes-{}.json", layout::kernel()));
    let text = serde_json::to_string_pretty(records).expect("values are JSON");
    fs::write(path, text).expect("the results can be written");
}

fn leave_out(hook: &str, groups: &[(&'static str, Vec<Attack>)]) -> Found {
    let mut found = Found::default();
    let own = chosen(groups, |attack| first(attack) == Some(hook) && attack.second.is_none());
    let checks: Vec<&Check> = CHECKS.iter().filter(|check| check.hook == hook).collect();
    if !own.is_empty() || !checks.is_empty() {
        let holes = Holes::make(&[hook]);
        for check in checks {
            // Without the hook a check may be unable to do what it does.
            let holds = catch_unwind(check.holds).unwrap_or(false);
            let list = if holds { &mut found.stopped } else { &mut found.failed };
            list.push(check.name.to_owned());
        }
        let (through, stopped) = attempt(&own);
        found.failed.extend(through);
        found.stopped.extend(stopped);
        drop(holes);
        settle();
    }
    let mut others: Vec<&'static str> = chosen(groups, |attack| other(attack, hook).is_some())
        .iter()
        .flat_map(|(_, attacks)| attacks.iter().filter_map(|attack| other(attack, hook)))
        .collect();
    others.sort_unstable();
    others.dedup();
    for name in others {
        let these = chosen(groups, |attack| other(attack, hook) == Some(name));
        let (_, stopped) = without(&[name], &these);
        let (through, still) = without(&[name, hook], &these);
        found.failed.extend(through.into_iter().filter(|name| stopped.contains(name)));
        found.stopped.extend(still);
        found.also.push(name);
    }
    found
}

/// Waits until this process can start programs. Where tags are kept by address, a new process can lie where a
/// session's was that nobody forgot meanwhile, and passes for that; now its end is noticed.
fn settle() {
    eventually("programs to start", Duration::from_secs(10), || {
        let status = Command::new("true").status();
        status.is_ok_and(|status| status.success()).then_some(())
    });
}

/// The hook that stops an attack on this kernel.
fn first(attack: &Attack) -> Option<&'static str> {
    match attack.expected(&layout::kernel()) {
        Expected::Stopped => Some(attack.hook),
        Expected::StoppedBy(hook) => Some(hook),
        Expected::NotStopped(_) | Expected::Absent(..) => None,
    }
}

/// The hook that stops an attack too, where this one is one of two that do.
fn other(attack: &Attack, hook: &str) -> Option<&'static str> {
    match (first(attack)?, attack.second?) {
        (first, second) if first == hook => Some(second),
        (first, second) if second == hook => Some(first),
        _ => None,
    }
}

fn chosen<'a>(
    groups: &'a [(&'static str, Vec<Attack>)],
    is_meant: impl Fn(&Attack) -> bool,
) -> Chosen<'a> {
    let of = |attacks: &'a Vec<Attack>| attacks.iter().filter(|one| is_meant(one)).collect();
    let all = groups.iter().map(|(group, attacks)| (*group, of(attacks)));
    all.filter(|(_, attacks): &(_, Vec<&Attack>)| !attacks.is_empty()).collect()
}

/// Hooks that are not in force until this is dropped.
struct Holes {
    /// Those that were attached.
    _made: Vec<Hole>,
    /// Whether a daemon was started that leaves them out.
    is_started: bool,
}

impl Holes {
    fn make(hooks: &[&str]) -> Self {
        if !bed().is_running() {
            anew(&[]);
        }
        let made: Vec<Hole> = hooks.iter().filter_map(|hook| Hole::make(hook)).collect();
        if made.len() == hooks.len() {
            return Self { _made: made, is_started: false };
        }
        drop(made);
        anew(hooks);
        Self { _made: Vec::new(), is_started: true }
    }
}

impl Drop for Holes {
    fn drop(&mut self) {
        if self.is_started {
            anew(&[]);
        }
    }
}

/// A daemon without some hooks, and the attacks' policy.
fn anew(without: &[&str]) {
    bed().start_without(without);
    scene::in_force();
}

fn without(hooks: &[&str], chosen: &Chosen<'_>) -> (Vec<String>, Vec<String>) {
    let _holes = Holes::make(hooks);
    attempt(chosen)
}

/// Tries attacks, as an ordinary user where none gets through as root, and gives the names of those that
/// got through and of those that did not.
fn attempt(chosen: &Chosen<'_>) -> (Vec<String>, Vec<String>) {
    let (mut through, mut stopped) = (Vec::new(), Vec::new());
    for user in [User::Root, User::Ordinary] {
        for (group, attacks) in chosen {
            // An attack may end the process that tries it, or the daemon.
            let mut scene = None;
            for attack in attacks {
                if !bed().is_running() {
                    return (through, stopped);
                }
                let tried = catch_unwind(AssertUnwindSafe(|| {
                    let scene = scene.get_or_insert_with(|| Scene::anew(group, user));
                    run::got_through(scene, attack, user)
                }));
                let name = format!("{group}: {} ({})", attack.name, user.name());
                match tried {
                    Ok(Some(true)) => through.push(name),
                    Ok(Some(false)) => stopped.push(name),
                    Ok(None) => {}
                    Err(_) => scene = None,
                }
            }
        }
        if !through.is_empty() {
            break;
        }
    }
    (through, stopped)
}
