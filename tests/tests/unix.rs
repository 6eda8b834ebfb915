//! Unix sockets: by the path that the peer is bound to, abstract ones not at all, those of the own session
//! always.

use std::ffi::OsString;

use serde_json::json;
use tests::{Answer, Interactive, allowed, bed, judge, layout::SOCKET, refused, untagged, words};

const POLICY: &str = r#"
[tool.open]
files = [{ paths = ["/srv/test/unix/open/**"], access = ["connect"] }]
[tool.shut]
files = [{ paths = ["/srv/test/unix/shut/**"], access = ["connect"] }]
# All but `connect`.
[tool.own]
files = [{ paths = ["/srv/test/unix/own/**", "/srv/test/unix/shut/**"],
           access = ["read", "write", "create", "delete"] }]
[profile.p]
tools = ["system", "open", "own"]
"#;

/// Servers of every kind in `open` and `shut`, and abstract ones, of a process that no session has.
fn servers() -> Interactive {
    bed().policy(POLICY);
    let folder = bed().folder("unix");
    let mut server = Interactive::untagged();
    for place in ["open", "shut", "own"] {
        std::fs::create_dir(folder.join(place)).unwrap();
    }
    for place in ["open", "shut"] {
        for kind in ["stream", "dgram", "seqpacket"] {
            let bound = server.ask(words!["unix-bind", kind, path(place, kind)]);
            assert_eq!(bound.error(), "", "{place} {kind}");
        }
    }
    for (kind, name) in [("stream", "@outside"), ("dgram", "@outside-datagrams")] {
        assert_eq!(server.ask(words!["unix-bind", kind, name]).error(), "");
    }
    server
}

fn path(place: &str, kind: &str) -> String {
    format!("/srv/test/unix/{place}/{kind}")
}

#[test]
fn socket_with_a_path_is_judged_by_it() {
    let _server = servers();
    let mut cases = Vec::new();
    let mut acts: Vec<Vec<OsString>> = Vec::new();
    for kind in ["stream", "dgram", "seqpacket"] {
        let (open, shut) = (path("open", kind), path("shut", kind));
        cases.push(allowed(words!["unix", kind, open]));
        cases.push(
            refused("unix.connect", "no_tool", words!["unix", kind, shut])
                .at(shut.as_str())
                .would_allow(&["shut"]),
        );
        acts.push(words!["unix", kind, shut]);
    }
    let (open, shut) = (path("open", "dgram"), path("shut", "dgram"));
    let no = |words: &Vec<OsString>| refused("unix.connect", "no_tool", words.clone()).at(&*shut);
    let sends = [words!["unix-sendto", shut], words!["unix-aside", open, shut]];
    cases.push(allowed(words!["unix-sendto", open]));
    cases.push(allowed(words!["unix-aside", open, open]));
    cases.extend(sends.iter().map(no));
    let incidents = judge(bed().session("p"), &cases);
    assert!(incidents.iter().all(|incident| incident.access == ["connect"]), "{incidents:?}");
    acts.extend(sends);
    let answers = untagged(&acts);
    assert!(answers.iter().all(|answer| answer.error().is_empty()), "{answers:?}");
}

#[test]
fn abstract_socket_is_reached_only_within_its_session() {
    let _server = servers();
    let object = |name: &str| json!({ "abstract": name });
    let acts = [words!["unix", "stream", "@outside"], words!["unix-sendto", "@outside-datagrams"]];
    judge(
        bed().session("p"),
        &[
            allowed(words!["unix-bind", "stream", "@inside"]),
            allowed(words!["unix", "stream", "@inside"]),
            allowed(words!["unix-bind", "dgram", "@inside-datagrams"]),
            allowed(words!["unix-sendto", "@inside-datagrams"]),
            refused("unix.connect", "no_tool", acts[0].clone())
                .object(object("outside"))
                .would_allow(&[]),
            refused("unix.connect", "no_tool", acts[1].clone())
                .object(object("outside-datagrams"))
                .would_allow(&[]),
        ],
    );
    let answers = untagged(&acts);
    assert!(answers.iter().all(|answer| answer.error().is_empty()), "{answers:?}");
}

#[test]
fn sockets_of_the_own_session_need_no_tool_and_others_do() {
    let _server = servers();
    let mut owner = bed().session("p").interactive();
    let own = |kind: &str| path("own", kind);
    for kind in ["stream", "dgram", "seqpacket"] {
        assert_eq!(owner.ask(words!["unix-bind", kind, own(kind)]).error(), "", "{kind}");
        assert_eq!(owner.ask(words!["unix", kind, own(kind)]).error(), "", "{kind}");
        // A child is of the session too.
        assert_eq!(owner.ask(words!["in-child", "unix", kind, own(kind)]).error(), "", "{kind}");
    }
    assert_eq!(owner.ask(words!["unix-bind", "stream", "@theirs"]).error(), "");
    let no = |words: Vec<OsString>| refused("unix.connect", "no_tool", words);
    judge(
        bed().session("p"),
        &[
            no(words!["unix", "stream", own("stream")]).at(own("stream")).would_allow(&[]),
            no(words!["unix", "dgram", own("dgram")]).at(own("dgram")),
            no(words!["unix", "seqpacket", own("seqpacket")]).at(own("seqpacket")),
            no(words!["unix-sendto", own("dgram")]).at(own("dgram")),
            no(words!["unix", "stream", "@theirs"]).object(json!({"abstract": "theirs"})),
            allowed(words!["unix", "stream", path("open", "stream")]),
        ],
    );
    assert_eq!(untagged(&[words!["unix", "stream", own("stream")]])[0].error(), "");
    assert_eq!(owner.incidents().len(), 0);
}

#[test]
fn connected_datagram_socket_is_judged_at_each_message() {
    let _server = servers();
    let mut probe = bed().session("p").interactive();
    let target = path("open", "dgram");
    assert_eq!(probe.ask(words!["unix-keep", "kept", "dgram", target]).error(), "");
    assert_eq!(probe.ask(words!["unix-send", "kept"]).error(), "");
    probe.revoke("open");
    assert_eq!(probe.ask(words!["unix-send", "kept"]).error(), "EACCES");
    let incident = bed().incident(&probe.name, |incident| incident.operation == "unix.connect");
    assert_eq!((incident.reason.as_str(), incident.path()), ("revoked", target.as_str()));
    probe.grant("open");
    assert_eq!(probe.ask(words!["unix-send", "kept"]).error(), "");
}

#[test]
fn pairs_need_no_tool() {
    bed().policy("");
    let pairs = ["stream", "dgram", "seqpacket"].map(|kind| words!["socketpair", kind]);
    let (finished, answers) = bed().session("plain").probe(&pairs);
    assert!(answers.iter().all(|answer| *answer == Answer::Done("1".into())), "{answers:?}");
    finished.unhindered();
}

#[test]
fn control_socket_is_within_every_sessions_reach() {
    let _server = servers();
    let whoami = words!["http", SOCKET, "GET", "/v1/whoami"];
    let (finished, answers) =
        bed().session("plain").probe(&[whoami, words!["unix", "stream", path("open", "stream")]]);
    assert!(answers[0].clone().value().contains(&finished.name), "{answers:?}");
    assert_eq!(answers[1].error(), "EACCES", "other sockets are not");
}
