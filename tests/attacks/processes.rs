//! Acting through, or on, processes outside of the session. The victim is of the same user.

use crate::{
    catalogue::{Attack, attack},
    scene::steps,
};

pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = tracing();
    all.extend(signals());
    all.extend(settings());
    all.extend(births());
    all
}

fn tracing() -> Vec<Attack> {
    let trace = |name, act, control| {
        attack(name, "ptrace_access_check", "process.trace", act, control)
    };
    // A tool that covers all of `/proc` leaves these to `ptrace_access_check`.
    let open = |name, act, control| attack(name, "file_open", "file.open", act, control);
    let own = "open-read /proc/self/maps";
    vec![
        trace("read another process's memory", "memory-read {victim-mark}", "own-child memory-read"),
        trace("write another process's memory", "memory-write {victim-mark}", "own-child memory-write"),
        trace("trace another process", "trace {victim}", "own-child trace"),
        trace("attach to another process", "sys ptrace 16 {victim} 0 0", "own-child trace"),
        attack(
            "have a process outside trace",
            "ptrace_traceme",
            "process.trace",
            steps(|scene| {
                // Which takes over a process whose parent has ended.
                scene.victim = Some(1);
                scene.ask("traced-orphan")
            }),
            "traced-child",
        ),
        open("open another process's memory", "open-read /proc/{victim}/mem", own),
        open("read another process's environment", "open-read /proc/{victim}/environ", own),
        open("read another process's mappings", "open-read /proc/{victim}/maps", own),
        trace(
            "list another process's descriptors",
            "read-link /proc/{victim}/fd/0",
            "read-link /proc/self/fd/0",
        )
        .error("EACCES"),
        trace("take another process's descriptor", "take-fd {victim} 0", "own-child take-fd"),
        trace(
            "compare another process's resources",
            "sys kcmp {victim} {same} 1 0 0",
            "own-child signal",
        ),
        trace(
            "advise on another process's memory",
            "sys process_madvise pidfd={victim} z=16 1 20 0",
            "own-child signal",
        )
        .error("EACCES")
        .privileged(),
        trace(
            "read another process's list of locks",
            "sys get_robust_list {victim} z=8 z=8",
            "own-child signal",
        ),
        trace("move another process's pages", "sys migrate_pages {victim} 64 x=0100000000000000 x=0100000000000000", "own-child signal")
            .then("task_movememory"),
        trace("join another process's namespace", "join {victim} mount", "own-child signal")
            .privileged(),
    ]
}

fn signals() -> Vec<Attack> {
    let signal = |name, act| attack(name, "task_kill", "process.signal", act, "own-child signal");
    vec![
        signal("kill another process", "signal {victim} 9"),
        signal("stop another process", "signal {victim} 19"),
        signal("kill a process group", "sys kill -{victim} 9"),
        signal("kill another thread", "sys tkill {victim} 9"),
        signal("queue a signal", "queue-signal {victim}"),
        signal("kill by a descriptor", "pidfd-signal {victim} 9"),
        attack(
            "have a descriptor signal another process",
            "file_fcntl",
            "process.signal",
            "sys fcntl socket=1,1,0 8 {victim}",
            "sys fcntl socket=1,1,0 8 0",
        ),
        attack(
            "have a descriptor signal another process, by device control",
            "file_ioctl",
            "file.ioctl",
            "sys ioctl socket=1,1,0 0x8901 x=01000000",
            "sys ioctl socket=1,1,0 0x541b z=4",
        )
        .error("EPERM"),
    ]
}

fn settings() -> Vec<Attack> {
    let set = |name, hook, act| {
        attack(name, hook, "process.control", act, "own-child signal")
    };
    vec![
        set("limit another process", "task_setrlimit", "sys prlimit64 {victim} 7 x=00020000000000000002000000000000 0"),
        set("lower another process's priority", "task_setnice", "sys setpriority 0 {victim} 5"),
        set("change another process's scheduling", "task_setscheduler", "sys sched_setscheduler {victim} 3 x=00000000"),
        set("bind another process to a processor", "task_setscheduler", "sys sched_setaffinity {victim} 8 x=0100000000000000"),
        set("change another process's input and output priority", "task_setioprio", "sys ioprio_set 1 {victim} 16388"),
        attack(
            "make another process the first to be killed",
            "file_open",
            "file.open",
            "open-write /proc/{victim}/oom_score_adj",
            "open-read /proc/self/oom_score_adj",
        ),
    ]
}

/// Children that would be somebody else's, or in somebody else's place.
fn births() -> Vec<Attack> {
    let born = |name, act| attack(name, "task_alloc", "process.fork", act, "fork");
    vec![
        born("make a child for a parent outside", "clone-parent"),
        born("make a child in another control group", "clone-into /sys/fs/cgroup").privileged(),
    ]
}
