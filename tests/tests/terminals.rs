//! Terminals that a session shares with its starter, and descriptors that signal.

use std::process::Command;

use tests::{Answer, Outcome, bed, layout, untagged, words};

const POLICY: &str = r#"
[tool.terminals]
files = [{ paths = ["/dev/ptmx", "/dev/pts/**", "/dev/tty"], access = ["read", "write"] }]
[profile.p]
tools = ["system", "terminals"]
"#;

/// What happens at a terminal: a shell's place is taken by this program. It starts a session there, in the
/// background with somebody else reading, or as the job in the foreground, and says how the reader fares and what the
/// session was told.
const STARTER: &str = r#"
import os, pty, signal, sys, time
kind, told, command = sys.argv[1], sys.argv[2], sys.argv[3:]
pid, master = pty.fork()
if pid:
    while True:
        try:
            if not os.read(master, 1000): break
        except OSError: break
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
def job(act):
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        act()
    try: os.setpgid(pid, pid)
    except OSError: pass
    return pid
def read():
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    while os.tcgetpgrp(0) != os.getpgrp(): time.sleep(.01)
    while True: os.read(0, 1)
def run():
    time.sleep(.3)
    out = os.open(told, os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.execvp(command[0], command)
reader = job(read)
session = job(run)
os.tcsetpgrp(0, reader if kind == 'background' else session)
os.waitpid(session, 0)
time.sleep(.3)
state = open(f'/proc/{reader}/stat').read().rsplit(') ')[1][0]
os.kill(reader, 9)
os._exit({'S': 0, 'T': 1}.get(state, 2))
"#;

/// The reader's state as an exit status (0 reads, 1 is stopped), and what the session was answered.
fn at_terminal(kind: &str, operations: &[Vec<std::ffi::OsString>]) -> (i32, Vec<Answer>) {
    let told = bed().folder("terminals").join("told");
    let session = bed().session("p");
    let mut command = Command::new("python3");
    command.args(["-c", STARTER, kind]).arg(&told);
    command.args(["remit", "run", "--profile", "p", "--name", session.name(), "--"]);
    command.args(Answer::command(operations)).env("REMIT_SOCKET", layout::SOCKET);
    let mut outcome = Outcome::of(&mut command, &[]);
    let status = outcome.status.unwrap_or(-1);
    outcome.stdout = std::fs::read_to_string(&told).unwrap_or_default();
    outcome.status = Some(0);
    (status, Answer::read_all(&outcome, operations.len()))
}

#[test]
fn session_in_the_background_can_not_take_the_terminal_from_who_reads_there() {
    let (reader, answers) = at_terminal("background", &[words!["take-terminal"]]);
    assert_eq!(answers[0].error(), "EPERM");
    assert_eq!(reader, 0, "the reader is not stopped");
}

#[test]
fn session_in_the_foreground_has_its_jobs_and_its_terminal() {
    let operations = [
        words!["take-terminal"],
        words!["in-child", "take-terminal"],
        // Its group has nobody in it any more.
        words!["take-terminal"],
    ];
    let (_, answers) = at_terminal("foreground", &operations);
    for (operation, answer) in operations.iter().zip(answers) {
        assert_eq!(answer.error(), "", "{operation:?}");
    }
}

#[test]
fn descriptor_signals_its_own_process_alone() {
    let operations = [
        // A terminal that nobody owns would signal whoever has it in the foreground.
        words!["signal-on", "terminal"],
        words!["signal-by-control", "terminal"],
        words!["all", "signal-owner", "terminal", "and", "signal-on", "terminal"],
        words!["signal-number", "terminal"],
        words!["signal-on", "pipe"],
        words!["signal-by-control", "pipe"],
        words!["signal-number", "pipe"],
        words![
            "all",
            "signal-owner",
            "pipe",
            "and",
            "signal-on",
            "pipe",
            "and",
            "signal-number",
            "pipe"
        ],
    ];
    let (_, answers) = at_terminal("foreground", &operations);
    let errors: Vec<_> = answers.iter().map(Answer::error).collect();
    assert_eq!(errors, ["EPERM", "EPERM", "", "", "", "", "", ""]);
    let outside = untagged(&[words!["signal-on", "pipe"], words!["signal-by-control", "pipe"]]);
    assert!(outside.iter().all(|answer| answer.error().is_empty()), "{outside:?}");
}

#[test]
fn root_in_a_session_can_not_hang_up_the_terminal_nor_run_before_all_others() {
    bed().policy(POLICY);
    let operations = [
        words!["hang-up"],
        words!["sys", "setpriority", "0", "0", "-5"],
        words!["sys", "sched_setscheduler", "0", "1", "x=01000000"],
        words!["sys", "setpriority", "0", "0", "5"],
    ];
    let (finished, answers) = bed().session("p").probe(&operations);
    let errors: Vec<_> = answers.iter().map(Answer::error).collect();
    assert_eq!(errors, ["EPERM", "EACCES", "EPERM", ""], "{:?}", finished.incidents());
    let capabilities: Vec<_> =
        finished.incidents().iter().map(|incident| incident.object["capability"].clone()).collect();
    assert_eq!(capabilities, ["sys_tty_config", "sys_nice"]);
}
