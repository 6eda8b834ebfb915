//! Sockets that a session may not have at all, beside those that every program needs.

use std::ffi::OsString;

use serde_json::{Value, json};
use tests::{Answer, allowed, bed, judge, refused, untagged, words};

fn socket(family: i32, kind: i32, protocol: i32) -> Vec<OsString> {
    words!["socket", family.to_string(), kind.to_string(), protocol.to_string()]
}

/// A socket for echo requests, which the host gives to some groups only.
const PING: [i32; 3] = [2, 2, 1];

/// Family, type and protocol by number, and as the incident shows them.
fn closed() -> Vec<([i32; 3], Value)> {
    let object = |family: &str, kind: &str, protocol: Value| json!({"family": family, "type": kind, "protocol": protocol});
    vec![
        ([2, 3, 1], object("inet", "raw", json!("icmp"))),
        ([2, 3, 255], object("inet", "raw", json!("raw"))),
        ([10, 3, 58], object("inet6", "raw", json!("icmpv6"))),
        (PING, object("inet", "dgram", json!("icmp"))),
        ([2, 2, 136], object("inet", "dgram", json!("udplite"))),
        ([2, 1, 132], object("inet", "stream", json!("sctp"))),
        ([10, 5, 132], object("inet6", "seqpacket", json!("sctp"))),
        ([17, 3, 768], object("packet", "raw", json!(768))),
        ([17, 2, 768], object("packet", "dgram", json!(768))),
        ([16, 3, 4], object("netlink", "raw", json!("sock_diag"))),
        ([16, 3, 12], object("netlink", "raw", json!("netfilter"))),
        ([16, 2, 15], object("netlink", "dgram", json!("kobject_uevent"))),
        ([16, 3, 16], object("netlink", "raw", json!("generic"))),
        ([16, 3, 9], object("netlink", "raw", json!("audit"))),
        ([15, 3, 2], object("key", "raw", json!(2))),
        ([38, 5, 0], object("alg", "seqpacket", json!(0))),
        ([40, 1, 0], object("vsock", "stream", json!(0))),
        ([44, 3, 0], object("xdp", "raw", json!(0))),
        ([30, 5, 0], object("tipc", "seqpacket", json!(0))),
        ([29, 3, 1], object("can", "raw", json!(1))),
        ([31, 5, 0], object("bluetooth", "seqpacket", json!(0))),
        ([43, 1, 0], object("smc", "stream", json!(0))),
    ]
}

#[test]
fn families_beyond_a_libcs_needs_are_refused() {
    bed().policy(
        r#"
        [tool.everywhere]
        network = [
          { cidrs = ["0.0.0.0/0", "::/0"], protocol = "tcp" },
          { cidrs = ["0.0.0.0/0", "::/0"], protocol = "udp" },
        ]
        [profile.p]
        tools = ["system", "everywhere"]
        "#,
    );
    let mut cases = vec![
        allowed(socket(2, 1, 0)),
        allowed(socket(2, 1, 6)),
        allowed(socket(2, 2, 0)),
        allowed(socket(2, 2, 17)),
        allowed(socket(10, 1, 0)),
        allowed(socket(10, 2, 0)),
        allowed(socket(1, 1, 0)),
        allowed(socket(1, 2, 0)),
        allowed(socket(1, 5, 0)),
        allowed(socket(16, 3, 0)),
        allowed(socket(16, 2, 0)),
    ];
    for ([family, kind, protocol], object) in closed() {
        let words = socket(family, kind, protocol);
        cases.push(refused("net.socket", "guard", words).object(object).would_allow(&[]));
    }
    let incidents = judge(bed().session("p"), &cases);
    assert_eq!(incidents.len(), closed().len());
}

#[test]
fn families_are_left_alone_outside_of_sessions() {
    let operations: Vec<_> = closed()
        .into_iter()
        .filter(|(socket, _)| *socket != PING)
        .map(|([family, kind, protocol], _)| socket(family, kind, protocol))
        .collect();
    let mut made = 0;
    for (operation, answer) in operations.iter().zip(untagged(&operations)) {
        match answer {
            Answer::Done(_) => made += 1,
            // Not every kernel has every family; nobody refuses it.
            Answer::Failed(error) => {
                assert!(error != "EACCES" && error != "EPERM", "{operation:?}: {error}");
            }
        }
    }
    assert!(made >= 8, "only {made} families are there to compare with");
}

#[test]
fn names_and_interfaces_can_be_looked_up() {
    bed().policy(
        r#"
        [tool.names]
        files = [{ paths = ["/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/gai.conf"],
                   access = ["read"] }]
        [profile.p]
        tools = ["system", "names"]
        "#,
    );
    let operations = [words!["getaddrinfo", "localhost"], words!["getifaddrs"]];
    let (_, answers) = bed().session("p").probe(&operations);
    assert_eq!(answers, untagged(&operations));
    assert!(answers.iter().all(|answer| *answer != Answer::Done("0".into())), "{answers:?}");
}
