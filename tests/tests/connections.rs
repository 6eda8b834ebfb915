//! Connections and listening sockets that are open already: usable as long as the session holds what they take,
//! and reset, where the kernel can, when it does not any more.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixListener,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, setrlimit};
use tests::{Interactive, bed, layout, words};

use crate::held::{all, outcomes, prepare, session};

#[test]
fn connections_are_usable_only_while_the_tool_is_held() {
    let mut probe = session();
    let listener = TcpListener::bind("127.0.0.1:7401").unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:7402").unwrap();
    let door = UnixListener::bind("/srv/test/held/door/socket").unwrap();
    for tool in ["server", "datagrams", "door"] {
        probe.grant(tool);
    }
    let hold: &[&[&str]] = &[
        &["hold-tcp", "tcp", "127.0.0.1:7401"],
        &["hold-udp", "udp", "127.0.0.1:7402"],
        &["hold-udp-unconnected", "free", "127.0.0.1:7402"],
        &["hold-unix", "unix", "/srv/test/held/door/socket"],
        &["hold-pair", "pair", "other"],
    ];
    all(&mut probe, hold, "");
    let mut tcp = listener.accept().unwrap().0;
    let mut unix = door.accept().unwrap().0;
    // Something to receive, so that a hang or an empty read proves nothing.
    for _ in 0..64 {
        tcp.write_all(&[0; 64]).unwrap();
        unix.write_all(&[0; 64]).unwrap();
    }
    let operations: &[&[&str]] = &[
        &["held-send", "tcp"],
        &["held-write", "tcp"],
        &["held-recv", "tcp"],
        &["held-read", "tcp"],
        &["held-peek", "tcp"],
        &["held-splice", "tcp"],
        &["held-splice-to", "tcp"],
        &["held-uring-recv", "tcp"],
        &["held-uring-read", "tcp"],
        &["held-zerocopy", "tcp"],
        &["held-send", "udp"],
        &["held-recv", "udp"],
        &["held-recv", "free"],
        &["held-send", "unix"],
        &["held-recv", "unix"],
        &["held-splice", "unix"],
    ];
    all(&mut probe, operations, "");
    for tool in ["server", "datagrams", "door"] {
        probe.revoke(tool);
    }
    // Each operation on its own; and one that is refused has nothing to do with its neighbours.
    all(&mut probe, operations, "EACCES");
    all(&mut probe, &[&["held-send", "pair"], &["held-recv", "other"]], "");
    let incident = bed().incident(&probe.name, |found| {
        found.operation == "net.use" && found.object["port"] == 7401
    });
    assert_eq!((incident.reason.as_str(), incident.verdict.as_str()), ("revoked", "denied"));
    assert_eq!(incident.would_allow, ["server"]);
    bed().incident(&probe.name, |found| {
        found.operation == "net.use" && found.path() == "/srv/test/held/door/socket"
    });
    for tool in ["server", "datagrams", "door"] {
        probe.grant(tool);
    }
    let again: Vec<_> = outcomes(&mut probe, operations);
    assert!(again.iter().all(|(_, error)| error != "EACCES"), "{again:?}");
    drop(datagrams);
}

#[test]
fn connection_that_is_lost_is_reset_and_no_other() {
    let mut probe = session();
    for tool in ["server", "other"] {
        probe.grant(tool);
    }
    let listeners = ["127.0.0.1:7401", "[::1]:7401", "127.0.0.3:7404"]
        .map(|place| (place, TcpListener::bind(place).unwrap()));
    let accept = |listener: &TcpListener| {
        let stream = listener.accept().unwrap().0;
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        stream
    };
    let [lost, lost_too, kept] = listeners.each_ref().map(|(place, listener)| {
        all(&mut probe, &[&["hold-tcp", place, place]], "");
        accept(listener)
    });
    let _outsider = TcpStream::connect(listeners[0].0).unwrap();
    let others = accept(&listeners[0].1);
    let ends = || {
        let end = |mut stream: &TcpStream| stream.read(&mut [0; 64]).map_err(|error| error.kind());
        [&lost, &lost_too, &kept, &others].map(end)
    };
    let open = Err(ErrorKind::WouldBlock);
    let reset = if layout::kernel() == "6.1" { open } else { Err(ErrorKind::ConnectionReset) };
    // What is only refused for a while stays.
    bed().remit(["session", "quarantine", &probe.name]).expect(0);
    bed().remit(["session", "resume", &probe.name]).expect(0);
    assert_eq!(ends(), [open; 4]);
    probe.revoke("server");
    assert_eq!(ends(), [reset, reset, open, open]);
    all(&mut probe, &[&["held-send", "127.0.0.1:7401"]], "EACCES");
    all(&mut probe, &[&["held-send", "127.0.0.3:7404"]], "");
    assert!(ends()[2].is_ok());
    bed().remit(["session", "end", &probe.name]).expect(0);
    assert_eq!(ends()[2..], [reset, open]);
}

#[test]
fn listening_sockets_stop_accepting() {
    let mut probe = session();
    for tool in ["port", "door"] {
        probe.grant(tool);
    }
    let path = "/srv/test/held/door/own";
    all(
        &mut probe,
        &[&["hold-listen", "port", "127.0.0.1:7403"], &["hold-unix-listen", "path", path]],
        "",
    );
    let connect = || {
        let client = TcpStream::connect("127.0.0.1:7403").unwrap();
        (client, std::os::unix::net::UnixStream::connect(path).unwrap())
    };
    let clients = [connect(), connect()];
    let accept: &[&[&str]] =
        &[&["held-accept", "port", "accepted"], &["held-accept", "path", "local"]];
    all(&mut probe, accept, "");
    let accepted: &[&[&str]] = &[&["held-send", "accepted"], &["held-recv", "accepted"]];
    all(&mut probe, accepted, "");
    for tool in ["port", "door"] {
        probe.revoke(tool);
    }
    all(&mut probe, accept, "EACCES");
    // What was accepted is of the port that the session may not listen on any more.
    all(&mut probe, accepted, "EACCES");
    bed().incident(&probe.name, |found| {
        found.operation == "net.use" && found.object["port"] == 7403
    });
    for tool in ["port", "door"] {
        probe.grant(tool);
    }
    // Who waited to be accepted was reset, too, where the kernel can.
    all(&mut probe, accept, "");
    let errors = if layout::kernel() == "6.1" { [""; 2] } else { ["ECONNABORTED", "EPIPE"] };
    let found = outcomes(&mut probe, &[accepted[0], accepted[0]]);
    assert_eq!([0, 1].map(|index: usize| found[index].1.as_str()), errors);
    let later = connect();
    all(&mut probe, accept, "");
    all(&mut probe, accepted, "");
    drop((clients, later));
}

#[test]
fn connection_is_not_passed_off_as_one_that_was_accepted() {
    is_not_passed_off(&mut session());
}

#[test]
fn sockets_that_are_more_than_places_are_judged_alike() {
    prepare();
    // Twice as many as there are places for a socket's owner (`SOCKETS_KEPT` of `agent_common::limits`).
    let many = 16_384;
    let limit = Rlimit { current: Some(many + 256), maximum: Some(many + 256) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut probe = bed().session("p").interactive();
    assert_eq!(probe.ask(words!["hold-sockets", many.to_string()]).error(), "");
    is_not_passed_off(&mut probe);
}

/// A session that may listen on a port, and lost what it took to connect from it, uses the connection no more.
#[track_caller]
fn is_not_passed_off(probe: &mut Interactive) {
    let _server = TcpListener::bind("127.0.0.1:7401").unwrap();
    for tool in ["server", "port"] {
        probe.grant(tool);
    }
    all(probe, &[&["hold-tcp-from", "tcp", "127.0.0.1:7403", "127.0.0.1:7401"]], "");
    all(probe, &[&["held-send", "tcp"], &["held-recv", "tcp"]], "");
    probe.revoke("server");
    // It may still listen on the port that the connection comes from.
    all(probe, &[&["held-send", "tcp"], &["held-recv", "tcp"]], "EACCES");
    assert_ne!(probe.ask(words!["held-listen", "tcp"]).error(), "");
    all(probe, &[&["held-send", "tcp"], &["held-recv", "tcp"]], "EACCES");
}
