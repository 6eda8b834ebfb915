//! Opening again what is held, by the name of its descriptor: in the modes that it is held in.

use std::fs;

use tests::{Builder, Finished, bed, words};

const FOLDER: &str = "/srv/test/reopening";

/// `ours`, in which the session may do everything, `shown`, in which it may read and remove, and `given`, of which no
/// rule covers anything.
fn session() -> Builder {
    let root = bed().folder("reopening");
    for area in ["ours", "shown", "given"] {
        fs::create_dir(root.join(area)).unwrap();
    }
    for file in ["shown/gone", "given/in", "given/out", "given/both", "given/gone", "given/beside"]
    {
        fs::write(root.join(file), "#!/bin/sh\n").unwrap();
    }
    bed().policy(
        r#"
        [tool.t]
        files = [
          { paths = ["/srv/test/reopening/ours/**"], access = ["read", "write", "create", "delete", "exec"] },
          { paths = ["/srv/test/reopening/shown/**"], access = ["read", "delete"] },
        ]
        [profile.p]
        tools = ["system", "t"]
        "#,
    );
    bed().session("p").folder(root.join("ours"))
}

/// What the scripts begin with.
const TOOLS: &str = "
import os, subprocess, sys
R, W, B, T = os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_TRUNC
def error(act, *arguments):
    try: return act(*arguments) and 0
    except OSError as error: return error.errno
def reopen(path, mode): os.close(os.open(path, mode | os.O_NONBLOCK))
def modes(path): return [error(reopen, path, mode) or 0 for mode in (R, W, B, R | T, W | T)]
def fd(number): return '/proc/self/fd/%d' % number
";

/// Starts a script through one that lays out its descriptors. It writes to `ours/said`.
fn run(layout: &str, options: &[u32], script: &str) -> (Finished, String) {
    let mut builder = session();
    for option in options {
        builder = builder.option("--pass-fd", option.to_string());
    }
    let layout = format!("{TOOLS}\n{layout}\nos.execvp(sys.argv[1], sys.argv[1:])");
    let script = format!("{TOOLS}\nsaid = open('said', 'w')\n{script}");
    let finished = builder.through(["python3", "-c", &layout]).run(["python3", "-c", &script]);
    let finished = finished.expect(0);
    let said = fs::read_to_string(format!("{FOLDER}/ours/said")).unwrap();
    (finished, said)
}

/// Puts a file of `given` at a descriptor.
const GIVE: &str = "
def give(number, name, mode):
    found = os.open('/srv/test/reopening/given/' + name, mode)
    os.dup2(found, number); os.close(found)
";

#[test]
fn file_that_was_given_is_opened_again_in_its_mode() {
    let layout = format!(
        "{GIVE}
give(0, 'in', R); give(1, 'out', W | os.O_APPEND); give(2, 'both', B); give(7, 'gone', R)
os.chmod('/srv/test/reopening/given/in', 0o755); os.unlink('/srv/test/reopening/given/gone')
master, slave = os.openpty(); os.dup2(slave, 8); os.dup2(master, 9)"
    );
    let (finished, said) = run(
        &layout,
        &[7, 8, 9],
        "
for name in '/dev/stdin', '/dev/fd/0', '/proc/self/fd/0', '/proc/thread-self/fd/0', '/proc/%d/fd/0' % os.getpid():
    print('in', modes(name), file=said)
print('out', modes('/dev/stdout'), error(reopen, '/dev/stdout', W | os.O_CREAT | os.O_APPEND), file=said)
print('both', modes('/dev/stderr'), file=said)
print('gone', modes(fd(7)), file=said)
print('terminal', modes(fd(8)), modes(os.ttyname(8)), file=said)
print('child', subprocess.run(['sh', '-c', 'echo child > /proc/$PPID/fd/2']).returncode, file=said)
print('truncate', error(os.truncate, '/dev/stderr', 3), error(os.truncate, '/dev/stdin', 3), file=said)
print('others', error(os.chmod, '/dev/stderr', 0o600), error(os.execv, '/dev/fd/0', ['x']), file=said)
print('beside', modes('/srv/test/reopening/given/beside'), file=said)
",
    );
    let (given, every) = ("[0, 13, 13, 13, 13]", "[0, 0, 0, 0, 0]");
    let expected = format!(
        "{}out [13, 0, 13, 13, 0] None\nboth {every}\ngone {given}\nterminal {every} {every}\nchild 0\n\
         truncate None 13\nothers 13 13\nbeside [13, 13, 13, 13, 13]\n",
        format!("in {given}\n").repeat(5)
    );
    assert_eq!(said, expected);
    assert_eq!(fs::read_to_string(format!("{FOLDER}/given/both")).unwrap(), "chi");
    let incidents = finished.incidents();
    let list = tests::incident::list(&incidents);
    let made = incidents.iter().find(|found| found.operation == "file.create");
    assert!(made.is_none(), "nothing was to be made:\n{list}");
    let counted: u64 = incidents.iter().map(|found| found.count).sum();
    assert_eq!(counted, 5 * 4 + 3 + 4 + 1 + 2 + 5, "{list}");
}

#[test]
fn what_has_no_name_is_opened_again_by_the_name_that_it_had() {
    let (finished, said) = run(
        "",
        &[],
        "
unnamed = os.open('.', os.O_TMPFILE | B, 0o600)
gone = os.open('gone', os.O_CREAT | B); os.unlink('gone')
shown = os.open('/srv/test/reopening/shown/gone', R); os.unlink('/srv/test/reopening/shown/gone')
print(modes(fd(unnamed)), modes(fd(gone)), modes(fd(shown)), file=said)
for out in unnamed, gone:
    # Of the parent's, and of the shell's parent's.
    subprocess.run(['sh', '-c', 'echo one >> /dev/stdout'], stdout=out, check=True)
    subprocess.run(['sh', '-c', 'sh -c \"echo two >> /proc/%d/fd/%d\"' % (os.getpid(), out)], check=True)
    print(os.pread(out, 99, 0), file=said)
",
    );
    let every = "[0, 0, 0, 0, 0]";
    let text = "b'one\\ntwo\\n'";
    assert_eq!(said, format!("{every} {every} [0, 13, 13, 13, 13]\n{text}\n{text}\n"));
    for incident in finished.incidents() {
        let found = (incident.operation.as_str(), incident.path(), incident.reason.as_str());
        assert_eq!(found, ("file.open", "/srv/test/reopening/shown/gone", "no_tool"));
    }
}

#[test]
fn memory_file_is_opened_again_by_who_made_it_and_in_its_mode_by_who_was_given_it() {
    let (finished, said) = run(
        "
memory = os.memfd_create('given', 0)
os.dup2(memory, 7); os.dup2(os.open(fd(memory), R), 8)
other = os.memfd_create('shown', 0); os.dup2(os.open(fd(other), R), 9)
",
        &[7, 8, 9],
        "
own = os.memfd_create('own', 0); os.fchmod(own, 0o700)
out, into = os.pipe()
print(modes(fd(own)), modes(fd(7)), modes(fd(8)), modes(fd(9)), file=said)
print([error(reopen, fd(out), mode) for mode in (R, W, B)], error(os.execv, fd(own), ['x']), file=said)
",
    );
    let every = "[0, 0, 0, 0, 0]";
    // Both descriptors of the first are of one file.
    let expected = format!("{every} {every} {every} [0, 13, 13, 13, 13]\n[None, None, None] 13\n");
    assert_eq!(said, expected);
    let refused: u64 = finished.incidents().iter().map(|found| found.count).sum();
    assert_eq!(refused, 4 + 1, "{}", tests::incident::list(&finished.incidents()));
}

#[test]
fn what_was_given_is_opened_again_by_io_uring_and_whatever_the_session_lost() {
    let script = r#"exec "$@" 7<>/srv/test/reopening/given/both"#;
    let builder = session().option("--pass-fd", "7");
    let mut probe = builder.through(["sh", "-c", script, "sh"]).interactive();
    let given = words!["open-both", "/proc/self/fd/7"];
    assert_eq!(probe.ask(words!["uring-read", "/dev/fd/7"]).error(), "");
    let own = words!["kept-reopen", "own"];
    let own_file = format!("{FOLDER}/ours/own");
    fs::write(&own_file, "x").unwrap();
    assert_eq!(probe.ask(words!["keep-read", "own", own_file]).error(), "");
    fs::remove_file(&own_file).unwrap();
    let mut try_all = |expected: &str| {
        assert_eq!(probe.ask(&given).error(), "");
        assert_eq!(probe.ask(&own).error(), expected);
        probe.name.clone()
    };
    let name = try_all("");
    bed().remit(["session", "quarantine", &name]).expect(0);
    try_all("EACCES");
    bed().remit(["session", "resume", &name]).expect(0);
    try_all("");
}
