//! Connections: TCP and UDP by address, port and protocol, over IPv4 and IPv6, whichever call carries the
//! address.

use std::{
    net::{TcpListener, UdpSocket},
    time::Duration,
};

use serde_json::{Value, json};
use tests::{Answer, Builder, Case, allowed, bed, judge, refused, untagged, words};

/// TCP servers that nobody accepts from: the kernel does, until 128 wait.
fn tcp_servers(endpoints: &[&str]) -> Vec<TcpListener> {
    let bind = |endpoint: &&str| {
        TcpListener::bind(endpoint).unwrap_or_else(|error| panic!("{endpoint}: {error}"))
    };
    endpoints.iter().map(bind).collect()
}

fn udp_server(endpoint: &str) -> UdpSocket {
    let socket = UdpSocket::bind(endpoint).unwrap_or_else(|error| panic!("{endpoint}: {error}"));
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket
}

/// How many messages have come.
fn arrived(socket: &UdpSocket) -> usize {
    (0..100).take_while(|_| socket.recv(&mut [0; 16]).is_ok()).count()
}

fn endpoint(protocol: &str, address: &str, port: u16) -> Value {
    json!({"protocol": protocol, "address": address, "port": port})
}

/// A refused connection or message: `net.connect`, `no_tool`.
fn closed(operation: &str, words: Vec<std::ffi::OsString>, object: Value) -> Case {
    refused(operation, "no_tool", words).object(object)
}

/// All operations are done by a process that no session has.
#[track_caller]
fn possible_untagged(operations: &[Vec<std::ffi::OsString>]) {
    for (operation, answer) in operations.iter().zip(untagged(operations)) {
        assert!(matches!(answer, Answer::Done(_)), "{operation:?}: {answer:?}");
    }
}

const NEAR: &str = r#"
[tool.near]
network = [{ cidrs = ["127.0.0.0/30", "::1/128"], ports = [7001, "7010-7012"], protocol = "tcp" }]
[tool.far]
network = [{ cidrs = ["127.0.0.4/32"], ports = [7001], protocol = "tcp" }]
[tool.datagrams]
network = [{ cidrs = ["127.0.0.1/32", "::1/128"], ports = [7101], protocol = "udp" }]
[profile.p]
tools = ["system", "near", "datagrams"]
"#;

fn session() -> Builder {
    bed().policy(NEAR);
    bed().session("p")
}

#[test]
fn tcp_endpoints_are_judged_by_address_port_and_protocol() {
    let session = session();
    let _servers = tcp_servers(&[
        "0.0.0.0:7001",
        "127.0.0.1:7002",
        "127.0.0.1:7009",
        "127.0.0.1:7010",
        "127.0.0.1:7012",
        "127.0.0.1:7013",
        "127.0.0.1:7101",
    ]);
    let tcp = |to: &str| words!["tcp", to];
    let cases = [
        allowed(tcp("127.0.0.1:7001")),
        allowed(tcp("127.0.0.3:7001")),
        closed("net.connect", tcp("127.0.0.4:7001"), endpoint("tcp", "127.0.0.4", 7001))
            .would_allow(&["far"]),
        closed("net.connect", tcp("127.0.0.1:7002"), endpoint("tcp", "127.0.0.1", 7002))
            .would_allow(&[]),
        closed("net.connect", tcp("127.0.0.1:7009"), endpoint("tcp", "127.0.0.1", 7009)),
        allowed(tcp("127.0.0.1:7010")),
        allowed(tcp("127.0.0.1:7012")),
        closed("net.connect", tcp("127.0.0.1:7013"), endpoint("tcp", "127.0.0.1", 7013)),
        // The port is open to datagrams only.
        closed("net.connect", tcp("127.0.0.1:7101"), endpoint("tcp", "127.0.0.1", 7101)),
    ];
    let incidents = judge(session, &cases);
    assert!(incidents.iter().all(|incident| incident.access == ["connect"]), "{incidents:?}");
    possible_untagged(&[tcp("127.0.0.4:7001"), tcp("127.0.0.1:7002"), tcp("127.0.0.1:7013")]);
}

#[test]
fn ipv6_and_mapped_addresses_are_judged_as_what_they_are() {
    let session = session();
    let _servers = tcp_servers(&["[::1]:7001", "[::1]:7002", "127.0.0.1:7001", "127.0.0.4:7001"]);
    let tcp = |to: &str| words!["tcp", to];
    judge(
        session,
        &[
            allowed(tcp("[::1]:7001")),
            closed("net.connect", tcp("[::1]:7002"), endpoint("tcp", "::1", 7002)),
            allowed(tcp("[::ffff:127.0.0.1]:7001")),
            closed(
                "net.connect",
                tcp("[::ffff:127.0.0.4]:7001"),
                endpoint("tcp", "127.0.0.4", 7001),
            )
            .would_allow(&["far"]),
        ],
    );
    possible_untagged(&[tcp("[::1]:7002"), tcp("[::ffff:127.0.0.4]:7001")]);
}

#[test]
fn unspecified_address_means_the_own_host() {
    let session = session();
    let _servers = tcp_servers(&["127.0.0.1:7001", "127.0.0.1:7002", "[::1]:7001", "[::1]:7002"]);
    let tcp = |to: &str| words!["tcp", to];
    judge(
        session,
        &[
            allowed(tcp("0.0.0.0:7001")),
            closed("net.connect", tcp("0.0.0.0:7002"), endpoint("tcp", "127.0.0.1", 7002)),
            allowed(tcp("[::]:7001")),
            closed("net.connect", tcp("[::]:7002"), endpoint("tcp", "::1", 7002)),
        ],
    );
    possible_untagged(&[tcp("0.0.0.0:7002"), tcp("[::]:7002")]);
}

#[test]
fn tcp_is_judged_whichever_call_connects() {
    let session = session();
    let _servers = tcp_servers(&["127.0.0.1:7001", "127.0.0.1:7002"]);
    let (open, shut) = ("127.0.0.1:7001", "127.0.0.1:7002");
    let object = || endpoint("tcp", "127.0.0.1", 7002);
    judge(
        session,
        &[
            allowed(words!["fastopen", open]),
            closed("net.send", words!["fastopen", shut], object()),
            allowed(words!["tcp-uring", open]),
            closed("net.connect", words!["tcp-uring", shut], object()),
            // Disconnected and connected anew.
            allowed(words!["tcp-again", open, open]),
            closed("net.connect", words!["tcp-again", open, shut], object()),
        ],
    );
    possible_untagged(&[
        words!["fastopen", shut],
        words!["tcp-uring", shut],
        words!["tcp-again", open, shut],
    ]);
}

#[test]
fn multipath_tcp_is_judged_as_tcp() {
    if let Answer::Failed(error) = &untagged(&[words!["socket", "2", "1", "262"]])[0] {
        tests::skip!("this kernel makes no MPTCP sockets: {error}");
    }
    let session = session();
    let _servers = tcp_servers(&["127.0.0.1:7001", "127.0.0.1:7002"]);
    let object = endpoint("tcp", "127.0.0.1", 7002);
    judge(
        session,
        &[
            allowed(words!["mptcp", "127.0.0.1:7001"]),
            closed("net.connect", words!["mptcp", "127.0.0.1:7002"], object),
        ],
    );
    possible_untagged(&[words!["mptcp", "127.0.0.1:7002"]]);
}

#[test]
fn udp_is_judged_whichever_call_carries_the_address() {
    let session = session();
    let open = udp_server("127.0.0.1:7101");
    let shut = udp_server("127.0.0.1:7102");
    let (to_open, to_shut) = ("127.0.0.1:7101", "127.0.0.1:7102");
    let object = || endpoint("udp", "127.0.0.1", 7102);
    let refusals = [
        words!["udp", to_shut],
        words!["udp-again", to_open, to_shut],
        words!["udp-sendto", to_shut],
        words!["udp-aside", to_open, to_shut],
        words!["udp-sendmsg", to_shut],
        words!["udp-sendmmsg", to_shut],
        // An IPv4 socket takes an address without a family for IPv4.
        words!["udp-unspec", to_shut],
        words!["udp6-as-v4", to_shut],
    ];
    let mut cases = vec![
        allowed(words!["udp", to_open]),
        allowed(words!["udp-again", to_open, to_open]),
        allowed(words!["udp-sendto", to_open]),
        allowed(words!["udp-aside", to_open, to_open]),
        allowed(words!["udp-sendmsg", to_open]),
        allowed(words!["udp-sendmmsg", to_open, to_open]),
        allowed(words!["udp-unspec", to_open]),
        allowed(words!["udp6-as-v4", to_open]),
    ];
    for (place, words) in refusals.iter().enumerate() {
        let operation = if place < 2 { "net.connect" } else { "net.send" };
        cases.push(closed(operation, words.clone(), object()).would_allow(&[]));
    }
    judge(session, &cases);
    assert_eq!(arrived(&open), 9, "what is allowed arrives");
    assert_eq!(arrived(&shut), 0, "what is refused does not");
    possible_untagged(&refusals);
    assert_eq!(arrived(&shut), refusals.len());
}

#[test]
fn udp_over_ipv6_and_mapped_addresses_is_judged() {
    let session = session();
    let open = udp_server("[::1]:7101");
    let mapped = udp_server("127.0.0.1:7101");
    let shut = udp_server("127.0.0.2:7101");
    let refusal = words!["udp-sendto", "[::ffff:127.0.0.2]:7101"];
    judge(
        session,
        &[
            allowed(words!["udp-sendto", "[::1]:7101"]),
            allowed(words!["udp-sendto", "[::]:7101"]),
            allowed(words!["udp-sendto", "[::ffff:127.0.0.1]:7101"]),
            closed("net.send", refusal.clone(), endpoint("udp", "127.0.0.2", 7101)),
            closed("net.send", words!["udp-sendto", "[::1]:7102"], endpoint("udp", "::1", 7102)),
        ],
    );
    assert_eq!((arrived(&open), arrived(&mapped), arrived(&shut)), (2, 1, 0));
    possible_untagged(&[refusal]);
    assert_eq!(arrived(&shut), 1);
}

#[test]
fn message_of_many_to_a_closed_port_stops_the_rest() {
    let session = session();
    let open = udp_server("127.0.0.1:7101");
    let shut = udp_server("127.0.0.1:7102");
    let all = words!["udp-sendmmsg", "127.0.0.1:7101", "127.0.0.1:7102", "127.0.0.1:7101"];
    let (finished, answers) = session.probe(std::slice::from_ref(&all));
    // The call says how many went out.
    assert_eq!(answers[0], Answer::Done("1".into()));
    assert_eq!((arrived(&open), arrived(&shut)), (1, 0));
    let incidents = finished.incidents();
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    assert_eq!(incidents[0].operation, "net.send");
    assert_eq!(incidents[0].object, endpoint("udp", "127.0.0.1", 7102));
    assert_eq!(untagged(&[all])[0], Answer::Done("3".into()));
    assert_eq!((arrived(&open), arrived(&shut)), (2, 1));
}

#[test]
fn overlapping_ranges_add_up_for_who_holds_both() {
    bed().policy(
        r#"
        [tool.wide]
        network = [{ cidrs = ["127.0.0.0/8"], ports = [7020], protocol = "tcp" }]
        [tool.narrow]
        network = [{ cidrs = ["127.0.0.64/26"], ports = [7021], protocol = "tcp" }]
        [tool.single]
        network = [{ cidrs = ["127.0.0.65/32"], ports = ["7022-7023"], protocol = "tcp" }]
        [profile.wide]
        tools = ["system", "wide"]
        [profile.narrow]
        tools = ["system", "narrow"]
        [profile.all]
        tools = ["system", "wide", "narrow", "single"]
        "#,
    );
    let _servers = tcp_servers(&["0.0.0.0:7020", "0.0.0.0:7021", "0.0.0.0:7022", "0.0.0.0:7023"]);
    let tcp = |address: &str, port: u16| words!["tcp", format!("{address}:{port}")];
    let no = |address: &str, port: u16, tools: &[&str]| {
        closed("net.connect", tcp(address, port), endpoint("tcp", address, port)).would_allow(tools)
    };
    let yes = |address: &str, port: u16| allowed(tcp(address, port));
    let (single, narrow, wide) = ("127.0.0.65", "127.0.0.66", "127.1.0.1");
    judge(
        bed().session("wide"),
        &[
            yes(single, 7020),
            yes(narrow, 7020),
            yes(wide, 7020),
            no(single, 7021, &["narrow"]),
            no(single, 7022, &["single"]),
            no(narrow, 7022, &[]),
        ],
    );
    judge(
        bed().session("narrow"),
        &[
            no(single, 7020, &["wide"]),
            yes(single, 7021),
            yes(narrow, 7021),
            no(wide, 7021, &[]),
            no(wide, 7020, &["wide"]),
        ],
    );
    judge(
        bed().session("all"),
        &[
            yes(single, 7020),
            yes(single, 7021),
            yes(single, 7022),
            yes(single, 7023),
            yes(narrow, 7020),
            yes(narrow, 7021),
            no(narrow, 7022, &[]),
            yes(wide, 7020),
            no(wide, 7021, &[]),
        ],
    );
}

#[test]
fn local_endpoints_are_judged_by_listening_rules_only() {
    bed().policy(
        r#"
        [tool.serve]
        network = [
          { cidrs = ["127.0.0.1/32", "::1/128"], ports = ["7030-7039"], direction = "listen" },
          { cidrs = ["127.0.0.1/32"], ports = [7050], protocol = "udp", direction = "listen" },
        ]
        [tool.call]
        network = [{ cidrs = ["127.0.0.1/32"], ports = [7045], protocol = "tcp" }]
        [tool.anywhere]
        network = [{ cidrs = ["0.0.0.0/0"], ports = [7041], direction = "listen" }]
        [profile.p]
        tools = ["system", "serve", "call"]
        "#,
    );
    let _servers = tcp_servers(&["127.0.0.1:7039"]);
    let no = |words: Vec<std::ffi::OsString>, protocol: &str, address: &str, port: u16| {
        closed("net.bind", words, endpoint(protocol, address, port))
    };
    let incidents = judge(
        bed().session("p"),
        &[
            allowed(words!["bind", "tcp", "127.0.0.1:7030"]),
            allowed(words!["listen", "127.0.0.1:7031"]),
            allowed(words!["listen", "[::1]:7032"]),
            allowed(words!["listen", "[::ffff:127.0.0.1]:7033"]),
            no(words!["listen", "127.0.0.1:7041"], "tcp", "127.0.0.1", 7041)
                .would_allow(&["anywhere"]),
            no(words!["listen", "0.0.0.0:7030"], "tcp", "0.0.0.0", 7030),
            no(words!["listen", "[::]:7030"], "tcp", "::", 7030),
            // Where one may connect, one may not serve, nor the other way round.
            no(words!["bind", "tcp", "127.0.0.1:7045"], "tcp", "127.0.0.1", 7045),
            closed(
                "net.connect",
                words!["tcp", "127.0.0.1:7039"],
                endpoint("tcp", "127.0.0.1", 7039),
            ),
            allowed(words!["bind", "udp", "127.0.0.1:7050"]),
            no(words!["bind", "udp", "127.0.0.1:7030"], "udp", "127.0.0.1", 7030),
            no(words!["bind", "tcp", "127.0.0.1:7050"], "tcp", "127.0.0.1", 7050),
            // A port of the kernel's choice is what every client has.
            allowed(words!["bind", "tcp", "127.0.0.1:0"]),
            allowed(words!["bind", "udp", "0.0.0.0:0"]),
        ],
    );
    assert!(incidents.iter().any(|incident| incident.access == ["listen"]), "{incidents:?}");
    possible_untagged(&[
        words!["listen", "127.0.0.1:7041"],
        words!["listen", "0.0.0.0:7030"],
        words!["bind", "udp", "127.0.0.1:7030"],
        words!["tcp", "127.0.0.1:7039"],
    ]);
}

#[test]
fn port_of_the_kernels_choice_gives_no_server() {
    bed().policy(
        r#"
        [tool.serve]
        network = [{ cidrs = ["127.0.0.1/32"], ports = [7030], direction = "listen" }]
        [tool.any-port]
        network = [{ cidrs = ["127.0.0.0/8"], direction = "listen" }]
        [profile.p]
        tools = ["system", "serve"]
        [profile.free]
        tools = ["system", "any-port"]
        "#,
    );
    let words = || words!["listen", "127.0.0.1:0"];
    let incidents = judge(
        bed().session("p"),
        &[
            allowed(words!["listen", "127.0.0.1:7030"]),
            refused("net.listen", "no_tool", words()).would_allow(&["any-port"]),
        ],
    );
    assert_eq!(incidents[0].object["address"], "127.0.0.1");
    assert_ne!(incidents[0].object["port"], 0, "the port that it got");
    judge(bed().session("free"), &[allowed(words())]);
    possible_untagged(&[words()]);
}

#[test]
fn socket_listens_on_whichever_port_if_a_rule_covers_all_that_may_be_chosen() {
    bed().policy(
        r#"
        [tool.most]
        network = [{ cidrs = ["0.0.0.0/0", "::/0"], ports = ["1024-65534"], direction = "listen" }]
        [tool.all]
        network = [{ cidrs = ["0.0.0.0/0", "::/0"], ports = ["1024-65535"], direction = "listen" }]
        [tool.local]
        network = [{ cidrs = ["127.0.0.0/8"], ports = ["1-65535"], direction = "listen" }]
        [tool.clients]
        network = [{ cidrs = ["127.0.0.0/8", "::1/128"] }]
        [profile.most]
        tools = ["system", "clients", "most", "local"]
        [profile.all]
        tools = ["system", "clients", "all"]
        "#,
    );
    // `IP_BIND_ADDRESS_NO_PORT` is 24: the address is bound, and the port left to `listen`.
    let script = "
import errno, socket
def listen(family, protocol=0, address=None):
    with socket.socket(family, socket.SOCK_STREAM, protocol) as found:
        if address: found.setsockopt(socket.IPPROTO_IP, 24, 1); found.bind((address, 0))
        try: found.listen()
        except OSError as error: return errno.errorcode[error.errno]
        port = found.getsockname()[1]
        host = '127.0.0.1' if family == socket.AF_INET else '::1'
        with socket.socket(family) as client: client.connect((host, port))
        found.accept()[0].close()
        return 'done'
print(listen(socket.AF_INET), listen(socket.AF_INET6), listen(socket.AF_INET, 262), listen(socket.AF_INET, 0, '127.0.0.1'))";
    let listens = |profile: &str| bed().session(profile).run(["python3", "-c", script]).expect(0);
    let finished = listens("most");
    assert_eq!(finished.outcome.stdout, "EACCES EACCES EACCES done\n");
    for incident in finished.incidents() {
        let found = (incident.operation.as_str(), incident.reason.as_str());
        assert_eq!(found, ("net.listen", "no_tool"));
        assert_eq!(
            (&incident.object["port"], &*incident.would_allow),
            (&0.into(), &["all".to_owned()][..])
        );
    }
    assert_eq!(listens("all").unhindered().outcome.stdout, "done done done done\n");
}

#[test]
fn packets_are_not_sent_by_another_way() {
    bed().policy("[profile.p]\ntools = [\"system\"]");
    let set = |socket: &str, option: &str| -> Vec<std::ffi::OsString> {
        let text = format!("sys setsockopt socket={socket} {option}");
        text.split(' ').map(Into::into).collect()
    };
    let no = |socket: &str, option: &str, name: &str| {
        let object = serde_json::json!({ "option": name });
        refused("net.option", "guard", set(socket, option)).object(object)
    };
    judge(
        bed().session("p"),
        &[
            // `SO_REUSEADDR`, `IP_TTL`, `TCP_NODELAY`, `IPV6_V6ONLY`.
            allowed(set("2,1,0", "1 2 x=01000000 4")),
            allowed(set("2,2,0", "0 2 x=20000000 4")),
            allowed(set("2,1,0", "6 1 x=01000000 4")),
            allowed(set("10,1,0", "41 26 x=01000000 4")),
            // A loose source route, also for TCP over IPv6; no options at all, which is not told apart.
            no("2,2,0", "0 4 x=83070400000000 7", "ip_options"),
            no("2,1,0", "0 4 0 0", "ip_options"),
            no("10,1,0", "0 4 0 0", "ip_options"),
            no("10,2,0", "41 57 0 0", "ipv6_rthdr"),
            no("10,2,0", "41 5 0 0", "ipv6_2292rthdr"),
            no("10,2,0", "41 6 0 0", "ipv6_2292pktoptions"),
            // A flow label brings a routing header; a range makes the kernel's choice of a port the session's own.
            no("10,2,0", "41 32 z=64 64", "ipv6_flowlabel_mgr"),
            no("10,1,0", "41 32 z=64 64", "ipv6_flowlabel_mgr"),
            no("2,2,0", "0 51 x=409c409c 4", "ip_local_port_range"),
            no("2,1,0", "0 51 x=409c409c 4", "ip_local_port_range"),
            no("10,2,0", "0 51 x=409c409c 4", "ip_local_port_range"),
        ],
    );
    possible_untagged(&[set("2,1,0", "0 4 0 0"), set("10,2,0", "41 57 0 0")]);
}
