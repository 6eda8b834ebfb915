//! What is open already: files and descriptors are usable as long as the session holds what they take, wherever
//! they come from.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    net::{TcpListener, UdpSocket},
    os::unix::net::{UnixDatagram, UnixListener},
    path::Path,
    thread,
    time::Duration,
};

use rustix::{
    io::IoSlice,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};
use tests::{Counts, Interactive, bed, layout, outcome::eventually, repeat::now, untagged, words};

const POLICY: &str = r#"
[tool.file]
files = [{ paths = ["/srv/test/held/file/**"], access = ["read", "write", "create", "delete"] }]
[tool.lasting]
recall = "opens"
files = [{ paths = ["/srv/test/held/lasting/**"], access = ["read", "write"] }]
[tool.deadly]
on_revoke = "kill"
files = [{ paths = ["/srv/test/held/deadly/**"], access = ["read"] }]
[tool.server]
network = [{ cidrs = ["127.0.0.1/32", "::1/128"], ports = [7401], protocol = "tcp" }]
[tool.other]
network = [{ cidrs = ["127.0.0.3/32"], ports = [7404], protocol = "tcp" }]
[tool.datagrams]
network = [{ cidrs = ["127.0.0.1/32"], ports = [7402], protocol = "udp" }]
[tool.port]
network = [{ cidrs = ["127.0.0.1/32"], ports = [7403], protocol = "tcp", direction = "listen" }]
[tool.door]
files = [{ paths = ["/srv/test/held/door/**"], access = ["connect", "create"] }]
[tool.short]
recall = "opens"
files = [
  { paths = ["/usr/**", "/lib/**", "/lib64/**", "/run/remit-test/bin/**"], access = ["read", "exec"] },
  { paths = ["/etc/**", "/proc/**", "/sys/**"], access = ["read"] },
  { paths = ["/dev/**"], access = ["read", "write"] },
]
[profile.p]
tools = ["system"]
[profile.lasting]
tools = ["short"]
"#;

const FOLDER: &str = "/srv/test/held/file";
const FILE: &str = "/srv/test/held/file/one";
const LASTING: &str = "/srv/test/held/lasting/one";
const DEADLY: &str = "/srv/test/held/deadly/one";

pub(crate) fn prepare() {
    bed().policy(POLICY);
    let folder = bed().folder("held");
    for place in ["file", "lasting", "door", "deadly"] {
        fs::create_dir(folder.join(place)).unwrap();
    }
    for file in [FILE, LASTING, DEADLY] {
        fs::write(file, "0123456789abcdef").unwrap();
    }
}

pub(crate) fn session() -> Interactive {
    prepare();
    bed().session("p").interactive()
}

/// Tries each operation and says what came of it, as `operation: error`.
#[track_caller]
pub(crate) fn outcomes(probe: &mut Interactive, operations: &[&[&str]]) -> Vec<(String, String)> {
    let one = |words: &&[&str]| (words.join(" "), probe.ask(*words).error().to_owned());
    operations.iter().map(one).collect()
}

/// Tries each operation, which all have to end with that error; the empty one for none.
#[track_caller]
pub(crate) fn all(probe: &mut Interactive, operations: &[&[&str]], error: &str) {
    for (operation, found) in outcomes(probe, operations) {
        assert_eq!(found, error, "{operation}");
    }
}

#[test]
fn open_files_are_usable_only_while_the_tool_is_held() {
    let mut probe = session();
    probe.grant("file");
    for operation in [
        words!["keep-both", "file", FILE],
        words!["keep-read", "folder", FOLDER],
        words!["hold-unnamed", "unnamed", FOLDER],
        words!["keep-both", "removed", FILE],
    ] {
        assert_eq!(probe.ask(&operation).error(), "", "{operation:?}");
    }
    // What has lost its name is judged by the one that it had last.
    fs::rename(FILE, "/srv/test/held/file/two").unwrap();
    fs::write(FILE, "0123456789abcdef").unwrap();
    assert_eq!(probe.ask(words!["keep-both", "file", FILE]).error(), "");
    fs::remove_file("/srv/test/held/file/two").unwrap();
    let operations: &[&[&str]] = &[
        &["held-pread", "file"],
        &["held-pwrite", "file"],
        &["held-read", "file"],
        &["held-write", "file"],
        &["held-list", "folder"],
        &["held-allocate", "file"],
        &["held-truncate", "file"],
        &["held-sendfile", "file"],
        &["held-splice", "file"],
        &["held-splice-to", "file"],
        &["held-copy", "file"],
        &["held-map", "file"],
        &["held-map-shared", "file"],
        &["held-uring-read", "file"],
        &["held-pread", "removed"],
        &["held-pwrite", "removed"],
        &["held-pwrite", "unnamed"],
        &["held-pread", "unnamed"],
        &["kept-reopen", "removed"],
        &["kept-reopen-write", "unnamed"],
    ];
    all(&mut probe, operations, "");
    probe.revoke("file");
    all(&mut probe, operations, "EACCES");
    let incident =
        bed().incident(&probe.name, |found| found.operation == "file.use" && found.path() == FILE);
    assert_eq!((incident.reason.as_str(), incident.verdict.as_str()), ("revoked", "denied"));
    assert_eq!(incident.would_allow, ["file"]);
    bed().incident(&probe.name, |found| found.operation == "file.map" && found.path() == FILE);
    probe.grant("file");
    all(&mut probe, operations, "");
    bed().remit(["session", "quarantine", &probe.name]).expect(0);
    for (operation, error) in outcomes(&mut probe, operations) {
        // A read that a kernel (6.18, 7) hands to a worker is cancelled: a quarantined session gets no new thread.
        let is_cancelled = operation.starts_with("held-uring") && error == "E125";
        assert!(error == "EACCES" || is_cancelled, "{operation}: {error}");
    }
    bed().remit(["session", "resume", &probe.name]).expect(0);
    all(&mut probe, operations, "");
}

#[test]
fn what_a_session_was_given_stays_usable() {
    prepare();
    let given = "/srv/test/held/file/given";
    fs::write(given, "0123456789abcdef").unwrap();
    let script = r#"exec "$@" 7<>/srv/test/held/file/given 8</srv/test/held/file/given"#;
    let builder = bed().session("p").option("--pass-fd", "7");
    let mut probe = builder.through(["sh", "-c", script, "sh"]).interactive();
    let use_it: &[&[&str]] = &[
        &["fd-read", "7"],
        &["fd-write", "7"],
        &["open-both", "/dev/fd/7"],
        &["open-read", given],
    ];
    all(&mut probe, use_it, "");
    // What was not passed is closed.
    all(&mut probe, &[&["fd-read", "8"]], "EBADF");
    bed().remit(["session", "quarantine", &probe.name]).expect(0);
    all(&mut probe, use_it, "");
    bed().remit(["session", "resume", &probe.name]).expect(0);
    // After its end too: it can say that it was ended.
    bed().remit(["session", "end", &probe.name]).expect(0);
    all(&mut probe, use_it, "");
    all(&mut probe, &[&["open-read", FILE]], "EACCES");
}

/// A server at a path that sends one descriptor to each who connects.
fn giver(path: &str, file: File) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let files = [std::os::fd::AsFd::as_fd(&file)];
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&files));
            // One that went away needs none.
            let _ = sendmsg(&stream, &[IoSlice::new(b"x")], &mut control, SendFlags::empty());
        }
    });
}

#[test]
fn descriptor_that_comes_is_taken_only_for_what_the_session_may_open() {
    let mut probe = session();
    let outside = "/srv/test/held/outside";
    fs::write(outside, "secret").unwrap();
    let open = |path: &str| OpenOptions::new().read(true).write(true).open(path).unwrap();
    giver("/srv/test/held/door/inside", open(FILE));
    giver("/srv/test/held/door/outside", open(outside));
    for tool in ["door", "file"] {
        probe.grant(tool);
    }
    let take = |name: &str| words!["receive", name, format!("/srv/test/held/door/{name}")];
    assert_eq!(probe.ask(take("inside")).error(), "");
    all(&mut probe, &[&["held-pread", "inside"]], "");
    // The message comes without its descriptor.
    assert_eq!(probe.ask(take("outside")).error(), "EACCES");
    let incident = bed().incident(&probe.name, |found| found.operation == "file.receive");
    assert_eq!((incident.path(), incident.reason.as_str()), (outside, "no_tool"));
    assert_eq!(untagged(&[take("outside")])[0].error(), "");
    probe.revoke("file");
    all(&mut probe, &[&["held-pread", "inside"]], "EACCES");
}

#[test]
fn tool_that_recalls_only_opens_leaves_what_is_open() {
    let mut probe = session();
    probe.grant("lasting");
    all(&mut probe, &[&["keep-both", "file", LASTING]], "");
    let use_it: &[&[&str]] = &[&["held-pread", "file"], &["held-pwrite", "file"]];
    all(&mut probe, use_it, "");
    probe.revoke("lasting");
    all(&mut probe, use_it, "");
    all(&mut probe, &[&["open-read", LASTING]], "EACCES");
    // A quarantine stops everything.
    bed().remit(["session", "quarantine", &probe.name]).expect(0);
    all(&mut probe, use_it, "EACCES");
}

#[test]
fn what_nobody_has_a_path_to_is_of_who_holds_it() {
    let mut probe = session();
    all(&mut probe, &[&["hold-memory", "memory"], &["hold-pair", "one", "other"]], "");
    let use_it: &[&[&str]] = &[
        &["held-pread", "memory"],
        &["held-pwrite", "memory"],
        &["held-map-shared", "memory"],
        &["held-send", "one"],
        &["held-recv", "other"],
    ];
    all(&mut probe, use_it, "");
    probe.grant("file");
    probe.revoke("file");
    all(&mut probe, use_it, "");
}

#[test]
fn expiry_cuts_what_is_open_with_the_daemon_stopped() {
    let mut probe = session();
    bed().remit(["grant", &probe.name, "file", "--ttl", "6s", "--reason", "x"]).expect(0);
    all(&mut probe, &[&["keep-both", "file", FILE]], "");
    all(&mut probe, &[&["held-pread", "file"]], "");
    let paused = bed().pause();
    eventually("the time to be up", Duration::from_secs(60), || {
        (probe.ask(words!["held-pread", "file"]).error() == "EACCES").then_some(())
    });
    all(&mut probe, &[&["held-pwrite", "file"]], "EACCES");
    drop(paused);
    bed().incident(&probe.name, |found| found.operation == "file.use" && found.reason == "expired");
}

/// Whether the log says that.
fn log_says(session: &str, act: &str, reason: &str) -> bool {
    let lines = bed().remit(["incidents", "--all", "--json", "--session", session]).expect(0);
    lines.stdout.lines().any(|line| {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON lines");
        line["act"] == act && line["reason"] == reason
    })
}

#[test]
fn process_with_a_mapping_is_killed_or_left_as_the_tool_says() {
    let mut left = session();
    let mut other = bed().session("p").interactive();
    for tool in ["file", "deadly"] {
        left.grant(tool);
    }
    other.grant("deadly");
    let map = |path| [words!["keep-read", "file", path], words!["held-keep-map", "file"]];
    for operation in map(FILE) {
        assert_eq!(left.ask(operation).error(), "");
    }
    for operation in map(DEADLY) {
        assert_eq!(other.ask(operation).error(), "");
    }
    left.revoke("deadly");
    left.revoke("file");
    // It never mapped the file that others are killed for.
    all(&mut left, &[&["nothing"]], "");
    let mapped = format!("process {} has `{FILE}` mapped", left.pid);
    assert!(log_says(&left.name, "leave_mapped", &mapped));
    assert!(!log_says(&left.name, "kill", &mapped));
    all(&mut other, &[&["nothing"]], "");
    other.revoke("deadly");
    let reason = format!("process {} used it, or has it from one that did", other.pid);
    assert!(log_says(&other.name, "kill", &reason));
    let status = fs::read_to_string(format!("/proc/{}/stat", other.pid)).unwrap_or_default();
    assert!(status.is_empty() || status.contains(") Z"), "{status}");
}

#[test]
fn uses_are_looked_at_only_while_something_can_be_lost() {
    let link = Path::new(layout::PINS).join("v1/links/file_permission");
    let looked_at = |wanted: bool| {
        for _ in 0..100 {
            if link.exists() == wanted {
                return true;
            }
            thread::sleep(Duration::from_millis(100));
        }
        false
    };
    prepare();
    assert!(looked_at(false), "no session is there");
    let lasting = bed().session("lasting").interactive();
    assert!(!link.exists(), "nothing of what it has open can be lost");
    bed().remit(["session", "quarantine", &lasting.name]).expect(0);
    assert!(link.exists(), "in force when it returns");
    bed().remit(["session", "resume", &lasting.name]).expect(0);
    lasting.grant("file");
    assert!(link.exists());
    drop(lasting);
    assert!(looked_at(false), "the session has ended");
    let ordinary = bed().session("p").interactive();
    assert!(link.exists(), "what it holds runs out with it");
    drop(ordinary);
    assert!(looked_at(false));
}

#[test]
fn revocation_stops_two_hundred_descriptors_in_use() {
    let mut probe = session();
    let server = UdpSocket::bind("127.0.0.1:7402").unwrap();
    let act: Vec<OsString> =
        words!["start", "all", "0", "rotate", "200", FILE, FILE, "127.0.0.1:7402"];
    for round in 0..if layout::is_long() { 100 } else { 10 } {
        for tool in ["file", "datagrams"] {
            probe.grant(tool);
        }
        assert_eq!(probe.ask(&act).error(), "");
        probe.wait_for_turn("all", |counts| counts.allowed > 0);
        for tool in ["file", "datagrams"] {
            probe.revoke(tool);
        }
        let revoked = now();
        probe.wait_for_turn("all", |counts| counts.last_refused > revoked);
        let counts = Counts::from(probe.ask(words!["stop", "all"]));
        assert!(counts.allowed > 0 && counts.refused > 0, "{round}: {counts:?}");
        assert_eq!(counts.other, 0, "{round}: {counts:?}");
        assert!(counts.last_allowed < revoked, "{round}: allowed after it was revoked");
    }
    drop(server);
}

#[test]
fn nobody_else_is_refused_anything() {
    let probe = session();
    let _server = TcpListener::bind("127.0.0.1:7401").unwrap();
    bed().remit(["session", "quarantine", &probe.name]).expect(0);
    let answers = untagged(&[
        words!["keep-both", "file", FILE],
        words!["held-pread", "file"],
        words!["held-pwrite", "file"],
        words!["held-map-shared", "file"],
        words!["hold-tcp", "tcp", "127.0.0.1:7401"],
        words!["held-send", "tcp"],
        words!["held-recv", "tcp"],
        words!["hold-listen", "port", "127.0.0.1:7403"],
    ]);
    assert!(answers.iter().all(|answer| answer.error().is_empty()), "{answers:?}");
    let (one, other) = UnixDatagram::pair().unwrap();
    one.send(b"x").unwrap();
    assert_eq!(other.recv(&mut [0; 4]).unwrap(), 1);
}

#[test]
fn watch_tells_nothing_in_a_quarantine() {
    let mut probe = session();
    probe.grant("file");
    assert_eq!(probe.ask(words!["watch-keep", "watch", FOLDER]).error(), "");
    let told = |probe: &mut Interactive| {
        fs::write(FILE, "changed").unwrap();
        probe.ask(words!["kept-read", "watch"]).error().to_owned()
    };
    assert_eq!(told(&mut probe), "");
    bed().remit(["session", "quarantine", &probe.name]).expect(0);
    assert_eq!(told(&mut probe), "EACCES");
    bed().remit(["session", "resume", &probe.name]).expect(0);
    assert_eq!(told(&mut probe), "");
    bed().remit(["session", "end", &probe.name]).expect(0);
    assert_eq!(told(&mut probe), "EACCES");
}
