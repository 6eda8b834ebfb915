//! Sockets that are open, in all families and kinds: what serves, and what brings an address that the kernel does not
//! go by, while a tool is held, afterwards, in quarantine and after the end.

use std::{
    fs,
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
    },
    time::Duration,
};

use tests::{Interactive, bed, layout, untagged, words};

const POLICY: &str = r#"
[tool.near]
network = [
  { cidrs = ["127.0.0.1/32", "::1/128"], ports = [7501, 7502] },
  { cidrs = ["127.0.0.1/32", "::1/128"], ports = [7501], protocol = "udp" },
]
[tool.second]
network = [{ cidrs = ["127.0.0.1/32", "::1/128"], ports = [7502], protocol = "udp" }]
[tool.six]
network = [
  { cidrs = ["::1/128"], ports = [7501] },
  { cidrs = ["::1/128"], ports = [7501], protocol = "udp" },
]
[tool.hear]
network = [{ cidrs = ["0.0.0.0/0", "::/0"], protocol = "udp", direction = "listen" }]
[tool.serve]
network = [{ cidrs = ["127.0.0.1/32"], ports = [7503], direction = "listen" }]
[tool.door]
files = [{ paths = ["/srv/test/sockets/**"], access = ["connect", "create"] }]
[profile.p]
tools = ["system"]
[profile.six]
tools = ["system", "six"]
"#;

const FOLDER: &str = "/srv/test/sockets";

pub(crate) fn session() -> Interactive {
    in_profile("p")
}

fn in_profile(profile: &str) -> Interactive {
    bed().policy(POLICY);
    bed().folder("sockets");
    bed().session(profile).interactive()
}

/// Does one operation, whose words stand in a line, and returns its error; the empty one for none.
pub(crate) fn error(probe: &mut Interactive, line: &str) -> String {
    probe.ask(line.split(' ').collect::<Vec<_>>()).error().to_owned()
}

/// Does each operation: all have to end with that error.
#[track_caller]
pub(crate) fn each<T: AsRef<str>>(probe: &mut Interactive, lines: &[T], wanted: &str) {
    let found: Vec<_> =
        lines.iter().map(|line| (line.as_ref(), error(probe, line.as_ref()))).collect();
    assert!(found.iter().all(|(_, error)| error == wanted), "{wanted:?} expected: {found:#?}");
}

/// What one operation says.
#[track_caller]
pub(crate) fn value(probe: &mut Interactive, line: &str) -> String {
    probe.ask(line.split(' ').collect::<Vec<_>>()).value()
}

pub(crate) fn datagrams(at: &str) -> UdpSocket {
    let socket = UdpSocket::bind(at).unwrap_or_else(|error| panic!("{at}: {error}"));
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

/// The lengths of the datagrams that came.
pub(crate) fn arrived(socket: &UdpSocket) -> Vec<usize> {
    let mut buffer = [0; 16];
    (0..100).map_while(|_| socket.recv(&mut buffer).ok()).collect()
}

/// Quarantined, resumed and ended: what is refused in between and afterwards, with which reason.
#[track_caller]
pub(crate) fn stops_with_its_session(probe: &mut Interactive, lines: impl Fn(u32) -> Vec<String>) {
    each(probe, &lines(0), "");
    bed().remit(["session", "quarantine", &probe.name]).expect(0);
    each(probe, &lines(1), "EACCES");
    bed().incident(&probe.name, |found| found.reason == "quarantined");
    bed().remit(["session", "resume", &probe.name]).expect(0);
    each(probe, &lines(2), "");
    bed().remit(["session", "end", &probe.name]).expect(0);
    each(probe, &lines(3), "EACCES");
    bed().incident(&probe.name, |found| found.reason == "expired");
}

#[test]
fn sockets_that_a_session_serves_stop_with_it() {
    let mut probe = session();
    for tool in ["door", "hear", "serve"] {
        probe.grant(tool);
    }
    let [path, drop_box] = ["path", "datagrams"].map(|name| format!("{FOLDER}/{name}"));
    let made = [
        &*format!("hold-unix-listen path {path}"),
        "hold-abstract abstract of-a-session",
        &*format!("hold-unix-datagrams box {drop_box}"),
        "hold-pair one other",
        "hold-udp-bound udp 127.0.0.1:0",
        "hold-listen tcp 127.0.0.1:7503",
        "hold-socket raw 16 3",
    ];
    each(&mut probe, &made, "");
    let port = value(&mut probe, "held-port udp");
    // More than are accepted: nobody waits.
    let abstract_name = SocketAddr::from_abstract_name("of-a-session").unwrap();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stream = UnixStream::connect(&path).unwrap();
            let abstract_stream = UnixStream::connect_addr(&abstract_name).unwrap();
            (stream, abstract_stream, TcpStream::connect("127.0.0.1:7503").unwrap())
        })
        .collect();
    each(
        &mut probe,
        &["held-accept path conn", "held-accept abstract conn2", "held-accept tcp conn3"],
        "",
    );
    let outside = UnixDatagram::unbound().unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..4 {
        outside.send_to(b"x", &drop_box).unwrap();
        udp.send_to(b"x", format!("127.0.0.1:{port}")).unwrap();
    }
    let clients_write = |text: &[u8]| {
        use std::io::Write as _;
        for (mut stream, mut abstract_stream, _) in clients.iter().map(|(a, b, c)| (a, b, c)) {
            stream.write_all(text).unwrap();
            abstract_stream.write_all(text).unwrap();
        }
    };
    clients_write(&[0; 256]);
    let lines = |round: u32| {
        let mut lines: Vec<String> = [
            "held-send conn",
            "held-recv conn",
            "held-read conn",
            "held-write conn",
            "held-count conn",
            "held-send conn2",
            "held-recv conn2",
            "held-send conn3",
            "held-recv box",
            "held-recv udp",
            "held-count udp",
            "held-send one",
            "held-recv other",
            "held-send one",
            "held-read other",
            "socket 1 1 0",
            "socket 2 1 0",
            "socket 10 2 0",
            "socket 16 3 0",
            "socketpair stream",
            "socketpair dgram",
            "socketpair seqpacket",
            "bind udp 127.0.0.1:0",
            "bind tcp 127.0.0.1:0",
            "getifaddrs",
            "held-listen path",
            "held-send raw",
            "held-recv raw",
        ]
        .map(str::to_owned)
        .to_vec();
        lines.push(format!("unix-bind stream @new-{round}"));
        lines.push(format!("unix-bind dgram @datagrams-{round}"));
        lines.extend(["held-accept path p", "held-accept abstract a"].map(str::to_owned));
        lines
    };
    stops_with_its_session(&mut probe, lines);
    drop(clients);
}

#[test]
fn sockets_of_a_user_stop_with_its_session() {
    bed().policy(&POLICY.replace(
        "tools = [\"system\"]",
        "tools = [\"system\"]\nmay_start = { users = [\"games\"] }",
    ));
    bed().folder("sockets");
    let user = ["setpriv", "--reuid=games", "--regid=games", "--clear-groups"];
    let mut probe = bed().session("p").through(user).interactive();
    each(&mut probe, &["hold-abstract abstract of-a-user", "hold-pair one other"], "");
    let name = SocketAddr::from_abstract_name("of-a-user").unwrap();
    let clients = [0; 4].map(|_| UnixStream::connect_addr(&name).unwrap());
    let lines = |_| {
        ["held-send one", "held-recv other", "socket 2 2 0", "held-accept abstract a"]
            .map(str::to_owned)
            .to_vec()
    };
    stops_with_its_session(&mut probe, lines);
    drop(clients);
}

#[test]
fn connected_packets_are_judged_whatever_name_comes_with_them() {
    let mut probe = session();
    let path = format!("{FOLDER}/packets");
    // A listener of packets outside.
    let mut server = Interactive::untagged();
    assert_eq!(server.ask(words!["unix-bind", "seqpacket", path]).error(), "");
    probe.grant("door");
    each(&mut probe, &[format!("hold-seqpacket s {path}")], "");
    // The kernel ignores a name: one of unix sockets, of none, half a one.
    let lines = |_| {
        [
            "held-send s",
            "held-send-name s 01002f616e7900",
            "held-send-name s 0000",
            "held-send-name s 01",
        ]
        .map(str::to_owned)
        .to_vec()
    };
    each(&mut probe, &lines(0), "");
    probe.revoke("door");
    each(&mut probe, &lines(0), "EACCES");
    probe.grant("door");
    stops_with_its_session(&mut probe, lines);
}

#[test]
fn address_that_says_too_little_is_refused() {
    let mut probe = session();
    probe.grant("near");
    let _servers = [TcpListener::bind("127.0.0.1:7501").unwrap()];
    each(
        &mut probe,
        &[
            "hold-socket tcp 2 1",
            "hold-socket udp 2 2",
            "hold-socket udp6 10 2",
            "hold-tcp connected 127.0.0.1:7501",
        ],
        "",
    );
    let refused = [
        // `sockaddr_in` of eight bytes, of another family, of no byte.
        "held-send-name udp 02001d4d7f000001",
        "held-send-name udp 2b001d4d7f0000010000000000000000",
        "held-send-name udp -",
        "held-send-name udp6 0a001d4d00000000",
        "held-connect-name udp 02001d4d7f000001",
        "held-connect-name tcp 2b001d4d7f0000010000000000000000",
        "held-bind-name udp 02000000",
        "held-bind-name udp6 2b000000000000000000000000000000000000000000000000000000",
    ];
    each(&mut probe, &refused, "EACCES");
    // Kernel 7 refuses a name of one byte itself, before it asks.
    let short = probe.ask(words!["held-connect-name", "tcp", "02"]);
    assert!(["EACCES", "EINVAL"].contains(&short.error()), "{short:?}");
    let incident = bed().incident(&probe.name, |found| found.reason == "unresolved");
    assert_eq!(incident.object["type"], "dgram", "{incident:?}");
    each(
        &mut probe,
        &[
            "held-send-name udp 02001d4d7f0000010000000000000000",
            "held-send-name udp 00001d4d7f0000010000000000000000",
            "held-send-name connected -",
            "held-send-name connected 0000",
            "held-connect-name udp 02001d4d7f0000010000000000000000",
            // No connection any more.
            "held-connect-name udp 0000",
            "held-connect-name tcp 02001d4d7f0000010000000000000000",
        ],
        "",
    );
}

#[test]
fn unspecified_address_is_judged_as_what_it_reaches_from_where_the_socket_is_bound() {
    let mut probe = session();
    let _tcp =
        ["127.0.0.1:7501", "127.0.0.9:7501", "[::1]:7501"].map(|at| TcpListener::bind(at).unwrap());
    let udp = ["127.0.0.1:7501", "127.0.0.9:7501", "[::1]:7501"].map(datagrams);
    let mut outside = Interactive::untagged();
    probe.grant("near");
    // Family, kind, where it is bound, and the unspecified address; whether it reaches what is allowed.
    let ways = [
        ("2", "127.0.0.9:0", "0.0.0.0:7501", false),
        ("2", "127.0.0.1:0", "0.0.0.0:7501", true),
        ("10", "[::ffff:127.0.0.9]:0", "[::ffff:0.0.0.0]:7501", false),
        ("10", "[::ffff:127.0.0.1]:0", "[::ffff:0.0.0.0]:7501", true),
        // This one is the loopback address, whatever it is bound to.
        ("10", "[::ffff:127.0.0.1]:0", "[::]:7501", true),
        ("10", "[::1]:0", "[::]:7501", true),
    ];
    let mut count = 0;
    for (family, at, to, allowed) in ways {
        for (kind, call) in [("1", "held-connect"), ("2", "held-connect"), ("2", "held-send-to")] {
            count += 1;
            let lines = [
                format!("hold-socket s{count} {family} {kind}"),
                format!("held-bind s{count} {at}"),
                format!("{call} s{count} {to}"),
            ];
            each(&mut outside, &lines, "");
            each(&mut probe, &lines[..2], "");
            let wanted = if allowed { "" } else { "EACCES" };
            assert_eq!(error(&mut probe, &lines[2]), wanted, "{lines:?}");
        }
    }
    let incident = bed().incident(&probe.name, |found| found.object["port"] == 7501);
    assert_eq!(incident.object["address"], "127.0.0.9");
    // A device, and what stands beside a message, lay down the source as well.
    each(
        &mut probe,
        &["hold-socket device 2 1", "held-device device lo", "hold-socket beside 2 2"],
        "",
    );
    let to = "0.0.0.0:7501";
    each(
        &mut probe,
        &[format!("held-connect device {to}"), format!("held-send-from beside 127.0.0.9 {to}")],
        "EACCES",
    );
    each(&mut probe, &["held-send-from beside 127.0.0.1 127.0.0.1:7501"], "");
    assert_eq!(arrived(&udp[1]).len(), 2, "of the process outside alone");
    // By IPv6 alone: from an IPv4 address it is the loopback one of IPv4.
    let mut probe = in_profile("six");
    each(&mut probe, &["hold-socket s 10 1", "held-bind s [::ffff:127.0.0.1]:0"], "");
    assert_eq!(error(&mut probe, "held-connect s [::]:7501"), "EACCES");
    each(&mut probe, &["hold-socket t 10 1", "held-connect t [::]:7501"], "");
}

#[test]
fn what_waits_is_counted_only_while_the_tool_is_held() {
    let mut probe = session();
    let listener = TcpListener::bind("127.0.0.1:7501").unwrap();
    let path = format!("{FOLDER}/counted");
    let door = UnixListener::bind(&path).unwrap();
    probe.grant("near");
    probe.grant("door");
    each(&mut probe, &["hold-tcp tcp 127.0.0.1:7501", &format!("hold-unix unix {path}")], "");
    let ends = (listener.accept().unwrap(), door.accept().unwrap());
    let lines =
        |_| ["held-count tcp", "held-unsent tcp", "held-count unix"].map(str::to_owned).to_vec();
    each(&mut probe, &lines(0), "");
    probe.revoke("near");
    probe.revoke("door");
    each(&mut probe, &lines(0), "EACCES");
    // One end of a pair is its who has it.
    each(&mut probe, &["hold-pair one other", "held-count one"], "");
    drop(ends);
    probe.grant("near");
    probe.grant("door");
    let tcp = if layout::kernel() == "6.1" { 0 } else { 1 };
    // A connection that was reset tells of no more.
    let again: Vec<_> = lines(0).into_iter().skip(2 * tcp).collect();
    each(&mut probe, &again, "");
}

#[test]
fn nobody_else_is_refused_a_socket() {
    let probe = session();
    let _servers = ["127.0.0.1:7501", "127.0.0.1:7502"].map(datagrams);
    bed().remit(["session", "quarantine", &probe.name]).expect(0);
    let acts: Vec<Vec<_>> = [
        "hold-udp-bound u 127.0.0.1:0",
        "held-recv u",
        "held-recv-wait u",
        "held-send-more-to u 127.0.0.1:7501",
        "held-send-to u 127.0.0.1:7502",
        "held-option u 17 1 0",
        "held-count u",
        "hold-abstract a of-nobody",
        "hold-pair one other",
        "held-send one",
        "held-recv other",
        "getifaddrs",
    ]
    .iter()
    .map(|line| line.split(' ').map(Into::into).collect())
    .collect();
    let answers = untagged(&acts);
    assert!(answers.iter().all(|answer| answer.error().is_empty()), "{answers:?}");
    fs::metadata(FOLDER).unwrap();
}
