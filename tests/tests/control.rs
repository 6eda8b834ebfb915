//! Device control: what is a device's own needs `ioctl`, what may change a file needs `write`, and what every
//! program does with terminals and descriptors is free.

use std::{ffi::OsString, fs};

use tests::{Answer, Builder, Case, allowed, bed, fails, judge, refused, untagged};

/// The folder of the tests.
const ROOT: &str = "/srv/test/control";

/// `rw` and `ro`, each with a `file` and a `folder`, `/dev/random` and `/dev/full` without and `/dev/urandom`
/// with `ioctl`, terminals without.
fn session() -> Builder {
    let root = bed().folder("control");
    for area in ["rw", "ro"] {
        fs::create_dir_all(root.join(area).join("folder")).unwrap();
        fs::write(root.join(area).join("file"), "content").unwrap();
    }
    bed().policy(
        r#"
        [tool.t]
        files = [
          { paths = ["/srv/test/control/rw/**"], access = ["read", "write", "create", "delete"] },
          { paths = ["/srv/test/control/ro/**"], access = ["read"] },
          { paths = ["/dev/random", "/dev/ptmx", "/dev/pts/**"], access = ["read", "write"] },
        ]
        [tool.random]
        files = [{ paths = ["/dev/random"], access = ["ioctl"] }]
        [[deny]]
        paths = ["/dev/urandom"]
        access = ["ioctl"]
        [profile.p]
        tools = ["system", "t"]
        [profile.controls]
        tools = ["system", "t", "random"]
        "#,
    );
    bed().session("p")
}

/// The words of an operation, `@` standing for the folder of the tests.
fn op(text: &str) -> Vec<OsString> {
    text.split(' ').map(|word| word.replace('@', &format!("{ROOT}/")).into()).collect()
}

fn done(text: &str) -> Case {
    allowed(op(text))
}

fn refusal(text: &str, path: &str) -> Case {
    refused("file.ioctl", "no_tool", op(text)).at(path.replace('@', &format!("{ROOT}/")))
}

/// `RNDGETENTCNT` (include/uapi/linux/random.h), which every user may ask.
const ENTROPY: &str = "0x80045200 z=8";

#[test]
fn device_is_controlled_with_the_right_alone() {
    let random = format!("sys ioctl r=/dev/random {ENTROPY}");
    let cases = [
        refusal(&random, "/dev/random").would_allow(&["random"]),
        refused("file.ioctl", "explicit_deny", op(&format!("sys ioctl r=/dev/urandom {ENTROPY}")))
            .at("/dev/urandom"),
        // By the 32-bit entry: `ioctl` is number 54 there.
        refusal("sys32 54 r=/dev/random 2147766784 z=8", "/dev/random"),
        // Whether it is a terminal, its size (what the driver says of numbers that it does not know), and flags
        // of the descriptor.
        fails("EINVAL", op("sys ioctl r=/dev/random 0x5401 z=64")),
        fails("EINVAL", op("sys ioctl r=/dev/random 0x802c542a z=64")),
        fails("EINVAL", op("sys ioctl r=/dev/random 0x5413 z=8")),
        done("sys ioctl r=/dev/random 0x5421 x=01000000"),
        done("sys ioctl r=/dev/random 0x5451 0"),
        done("open-both /dev/random"),
    ];
    judge(session(), &cases);
    judge(bed().session("controls"), &[done(&random)]);
}

#[test]
fn terminal_is_used_without_the_right_and_not_taken_over() {
    let incidents = judge(
        session(),
        &[
            // Made, unlocked, named; then its size, its modes, its process group, its session.
            done("terminal-make"),
            done("terminal-control 21523 0"),
            done("terminal-control 21505 0"),
            done("terminal-control 21519 0"),
            done("terminal-control 21518 0"),
            // `TIOCEXCL` and `TIOCSERGETLSR`; typing for others is refused whatever the policy says.
            refused("file.ioctl", "no_tool", op("terminal-control 21516 0")),
            refused("file.ioctl", "no_tool", op("terminal-control 21593 0")),
            refused("file.ioctl", "guard", op("terminal-control 21522 0")).error("EPERM"),
        ],
    );
    let terminals = incidents.iter().filter(|found| found.reason == "no_tool");
    assert!(terminals.clone().all(|found| found.path().starts_with("/dev/pts/")), "{incidents:?}");
    assert_eq!(terminals.map(|found| found.count).sum::<u64>(), 2);
}

#[test]
fn file_that_may_only_be_read_keeps_its_flags() {
    // `FS_IOC_GETFLAGS`, `FS_IOC_SETFLAGS` (no dumps), `FIGETBSZ`; the second also for a 32-bit program.
    judge(
        session(),
        &[
            done("sys ioctl r=@ro/file 0x80086601 z=8"),
            done("sys ioctl r=@ro/file 2 z=8"),
            done("sys ioctl r=@rw/file 0x40086602 x=4000000000000000"),
            done("sys ioctl r=@rw/folder 0x40086602 x=4000000000000000"),
            done("all tmpfile @rw and sys ioctl w=@rw/file 0x40086602 x=0000000000000000"),
            refusal("sys ioctl r=@ro/file 0x40086602 x=4000000000000000", "@ro/file"),
            refusal("sys ioctl r=@ro/folder 0x40086602 x=4000000000000000", "@ro/folder"),
            refusal("sys32 54 r=@ro/file 1074030082 x=40000000", "@ro/file"),
            // What no list knows.
            refusal("sys ioctl r=@ro/file 0x40047777 z=8", "@ro/file"),
            fails("ENOTTY", op("sys ioctl w=@rw/file 0x40047777 z=8")),
        ],
    );
}

#[test]
fn number_that_reaches_beyond_its_file_is_refused() {
    let forbidden =
        |text: &str| refused("file.ioctl", "guard", op(text)).error("EPERM").would_allow(&[]);
    // `EXT4_IOC_MOVE_EXT` takes a second descriptor, `BTRFS_IOC_SNAP_CREATE` and `BTRFS_IOC_SUBVOL_CREATE_V2`
    // all below a folder; beside each what is no such number.
    let cases = [
        forbidden("sys ioctl w=@rw/file 0xc028660f z=40"),
        forbidden("sys32 54 w=@rw/file 3223873039 z=40"),
        forbidden("sys ioctl r=@rw/folder 0x50009401 z=4096"),
        forbidden("sys ioctl r=@rw/folder 0x50009418 z=4096"),
        fails("ENOTTY", op("sys ioctl w=@rw/file 0xc0286677 z=40")),
        fails("ENOTTY", op("sys ioctl r=@rw/folder 0x50009477 z=4096")),
    ];
    judge(session(), &cases);
    for answer in untagged(&[op("sys ioctl w=@rw/file 0xc028660f z=40")]) {
        assert_eq!(answer, Answer::Failed("ENOTTY".into()));
    }
}

#[test]
fn pipes_and_sockets_are_controlled_by_who_has_them() {
    let finished = session().run([
        "python3",
        "-c",
        "
import array, fcntl, os, select, socket
def left(fd):
    count = array.array('i', [0]); fcntl.ioctl(fd, 0x541b, count); return count[0]
out, into = os.pipe(); os.write(into, b'xy'); assert left(out) == 2
one, other = socket.socketpair(); one.send(b'xyz'); assert left(other.fileno()) == 3
memory = os.memfd_create('memory')
flags = array.array('q', [0]); fcntl.ioctl(memory, 0x80086601, flags)
try: fcntl.ioctl(memory, 0x40086602, flags)
except OSError as error: assert error.errno != 13, error
assert not os.isatty(out); open('/dev/null', 'r+').isatty()
poll = select.epoll(); os.set_blocking(out, False)
",
    ]);
    let finished = finished.expect(0);
    assert!(finished.incidents().is_empty(), "{:?}", finished.incidents());
}

#[test]
fn lease_needs_write() {
    // `F_SETLEASE` for reading (0) and its end (2); root may have one on what is not its own.
    judge(
        session(),
        &[
            done("all keep-read a @rw/file and sys fcntl k=a 1024 0 and sys fcntl k=a 1024 2"),
            refused("file.use", "no_tool", op("sys fcntl r=@ro/file 1024 0"))
                .at(format!("{ROOT}/ro/file")),
            // To write, without being allowed to.
            refused("file.use", "no_tool", op("sys fcntl r=@ro/file 1024 1"))
                .at(format!("{ROOT}/ro/file")),
        ],
    );
}

#[test]
fn lock_of_one_s_own_needs_write_and_a_shared_one_read() {
    // `flock` is number 73: shared (1), of one's own (2), given back (8); `F_SETLK` (6), to read.
    let held_up = |text: &str, path: &str| {
        refused("file.use", "no_tool", op(text)).at(path.replace('@', &format!("{ROOT}/")))
    };
    judge(
        session(),
        &[
            done("sys 73 r=@rw/file 2"),
            done("sys 73 r=@rw/file 1"),
            done("sys 73 r=@rw 2"),
            done(
                "sys fcntl w=@rw/file 6 x=0100000000000000000000000000000000000000000000000000000000000000",
            ),
            done("all tmpfile @rw and sys 73 r=/dev/null 2"),
            done("sys 73 r=@ro/file 1"),
            done("sys 73 r=@ro/file 8"),
            done("sys fcntl r=@ro/file 6 z=32"),
            held_up("sys 73 r=@ro/file 2", "@ro/file"),
            // Without waiting.
            held_up("sys 73 r=@ro/folder 6", "@ro/folder"),
        ],
    );
}

#[test]
fn lock_on_what_was_open_needs_the_tool_still() {
    let _replaced = session();
    let mut probe = bed().session("plain").interactive();
    probe.grant("t");
    assert_eq!(probe.ask(op("keep-both a @rw/file")).error(), "");
    let tries = |probe: &mut tests::Interactive| -> Vec<String> {
        let all = ["sys 73 k=a 1", "sys 73 k=a 2", "sys fcntl k=a 6 z=32", "sys 73 k=a 8"];
        all.iter().map(|text| probe.ask(op(text)).error().to_owned()).collect()
    };
    assert_eq!(tries(&mut probe), ["", "", "", ""]);
    probe.revoke("t");
    assert_eq!(tries(&mut probe), ["EACCES", "EACCES", "EACCES", ""]);
    probe.grant("t");
    assert_eq!(tries(&mut probe), ["", "", "", ""]);
}

#[test]
fn device_is_controlled_by_io_uring_with_the_right_alone() {
    let session = session();
    let made = untagged(&[op("mknod @rw/null null"), op("mknod @ro/null null")]);
    assert!(made.iter().all(|answer| answer.error().is_empty()), "{made:?}");
    judge(
        session,
        &[
            refusal("ring-cmd @rw/null", "@rw/null"),
            refusal("ring-worker-cmd @rw/null", "@rw/null"),
            done("ring-cmd /dev/null"),
            // What has no commands of its own.
            fails("EOPNOTSUPP", op("ring-cmd @rw/file")),
            done("open-both @rw/null"),
        ],
    );
}

#[test]
fn pipe_that_was_given_is_not_opened_as_its_other_end() {
    let finished = session().input("x").run([
        "python3",
        "-c",
        "
import os
def errno(path, mode):
    try: os.close(os.open(path, mode | os.O_NONBLOCK)); return 0
    except OSError as error: return error.errno
print([errno('/proc/self/fd/%d' % fd, mode) for fd in (0, 1) for mode in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)])
out, into = os.pipe()
print([errno('/proc/self/fd/%d' % fd, mode) for fd in (out, into) for mode in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)])
print(errno('/dev/stdout', os.O_WRONLY | os.O_APPEND))
",
    ]);
    let finished = finished.expect(0);
    let lines: Vec<&str> = finished.outcome.stdout.lines().collect();
    assert_eq!(
        lines,
        ["[0, 13, 13, 13, 0, 13]", "[0, 0, 0, 0, 0, 0]", "0"],
        "{}",
        finished.outcome
    );
    let incidents = finished.incidents();
    assert!(incidents.iter().all(|found| found.operation == "file.open"), "{incidents:?}");
    assert_eq!(incidents.iter().map(|found| found.count).sum::<u64>(), 4);
}

#[test]
fn descriptor_signals_the_own_session_alone() {
    let prepare = "
import fcntl, os, socket, sys
kept, _ = socket.socketpair()
fcntl.fcntl(kept, fcntl.F_SETOWN, os.getppid())
os.dup2(kept.fileno(), 7)
os.execvp(sys.argv[1], sys.argv[1:])";
    let script = "
import fcntl, os, signal, socket, struct, threading
SETSIG, SETOWN_EX, FIOSETOWN, SIOCSPGRP = 10, 15, 0x8901, 0x8902
def error(act, *arguments):
    try: return act(*arguments) and 0
    except OSError as error: return error.errno
def asynchronous(fd): fcntl.fcntl(fd, fcntl.F_SETFL, os.O_ASYNC); fcntl.fcntl(fd, fcntl.F_SETFL, 0)
here, there = socket.socketpair()
def change(fd): return [error(fcntl.fcntl, fd, SETSIG, signal.SIGUSR1) or 0, error(asynchronous, fd) or 0]
def child():
    found = os.fork()
    if found == 0: os._exit(change(here) != [0, 0])
    return os.waitpid(found, 0)[1]
def own(number): return error(fcntl.fcntl, here, fcntl.F_SETOWN, number) or 0
said = [change(here), own(os.getpid()), change(here), child()]
thread = threading.Thread(target=lambda: said.append(own(threading.get_native_id())))
thread.start(); thread.join()
own(os.getpid())
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
fcntl.fcntl(here, SETSIG, signal.SIGUSR1); fcntl.fcntl(here, fcntl.F_SETFL, os.O_ASYNC); there.send(b'x')
said += [heard, change(7), own(1)]
said.append(error(fcntl.fcntl, here, SETOWN_EX, struct.pack('ii', 1, 1)))
said += [error(fcntl.ioctl, here, number, struct.pack('i', 1)) for number in (FIOSETOWN, SIOCSPGRP)]
print(said)";
    let builder = session().option("--pass-fd", "7").through(["python3", "-c", prepare]);
    let finished = builder.run(["python3", "-c", script]).expect(0);
    assert_eq!(
        finished.outcome.stdout,
        "[[0, 0], 0, [0, 0], 0, 0, [1], [1, 1], 1, 1, 1, 1]\n",
        "{}",
        tests::incident::list(&finished.incidents())
    );
    let incidents = finished.incidents();
    let found: Vec<_> =
        incidents.iter().map(|it| (it.operation.as_str(), it.object.to_string())).collect();
    let command = |operation, name| (operation, format!(r#"{{"command":"{name}"}}"#));
    assert_eq!(
        found,
        [
            command("process.signal", "f_setsig"),
            command("process.signal", "f_setfl"),
            ("process.signal", r#"{"pid":1,"signal":"IO"}"#.to_owned()),
            command("process.signal", "f_setown_ex"),
            command("file.ioctl", "fiosetown"),
            command("file.ioctl", "siocspgrp"),
        ]
    );
    assert!(incidents.iter().all(|found| found.reason == "guard"));
}
