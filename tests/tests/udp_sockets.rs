//! Datagrams over UDP: those that wait to be sent, those that nobody sent for, and those without a family.

use tests::{Interactive, bed};

use crate::sockets::{arrived, datagrams, each, error, session, stops_with_its_session, value};

#[test]
fn datagram_without_a_family_goes_to_the_connection_and_is_judged_so() {
    let mut probe = session();
    let servers = ["127.0.0.1:7501", "[::1]:7501"].map(datagrams);
    probe.grant("near");
    each(
        &mut probe,
        &[
            "hold-socket six 10 2",
            "held-connect six [::1]:7501",
            "hold-socket four 2 2",
            "held-connect four 127.0.0.1:7501",
        ],
        "",
    );
    let lines = |_| {
        let none = "00".repeat(28);
        [
            format!("held-send-name six {none}"),
            "held-send-name six 0000".to_owned(),
            "held-send four".to_owned(),
        ]
        .to_vec()
    };
    each(&mut probe, &lines(0), "");
    assert_eq!(servers.each_ref().map(arrived), [vec![1], vec![1, 1]]);
    probe.revoke("near");
    each(&mut probe, &lines(0), "EACCES");
    probe.grant("near");
    stops_with_its_session(&mut probe, lines);
    assert_eq!(servers.each_ref().map(arrived), [vec![1; 2], vec![1; 4]], "what was allowed");
}

#[test]
fn datagrams_that_nobody_sent_for_take_a_rule() {
    let mut probe = session();
    let servers = ["127.0.0.1:7501", "[::1]:7501"].map(datagrams);
    let outside = ["127.0.0.1:0", "[::1]:0"].map(datagrams);
    probe.grant("near");
    for (own, at, server) in [("four", "127.0.0.1", 0), ("six", "[::1]", 1)] {
        let family = if own == "four" { 2 } else { 10 };
        each(
            &mut probe,
            &[
                format!("hold-udp-bound {own} {at}:0"),
                format!("hold-udp-bound quiet-{own} {at}:0"),
                // Sent nothing, and has a port since it tried.
                format!("hold-socket tried-{own} {family} 2"),
            ],
            "",
        );
        assert_eq!(error(&mut probe, &format!("held-send tried-{own}")), "EDESTADDRREQ");
        let to = |probe: &mut Interactive, key: &str| {
            format!("{at}:{}", value(probe, &format!("held-port {key}")))
        };
        let hear = |probe: &mut Interactive| {
            for key in [own.to_owned(), format!("tried-{own}")] {
                let to = to(probe, &key);
                outside[server].send_to(b"x", to).unwrap();
            }
        };
        hear(&mut probe);
        let receive = [
            format!("held-recv {own}"),
            format!("held-peek {own}"),
            format!("held-read {own}"),
            format!("held-recv-wait {own}"),
            format!("held-count {own}"),
            format!("held-uring-recv {own}"),
            format!("held-recv tried-{own}"),
        ];
        each(&mut probe, &receive, "EACCES");
        let incident = bed().incident(&probe.name, |found| found.access == ["listen"]);
        assert_eq!((&*incident.operation, &*incident.reason), ("net.use", "no_tool"));
        // Who looks whether there is something, and there is not, is told so; who waits, waits for others.
        each(&mut probe, &[format!("held-recv quiet-{own}")], "");
        each(&mut probe, &[format!("held-recv-wait quiet-{own}")], "EACCES");
        // With a rule; and without again.
        probe.grant("hear");
        assert_eq!(value(&mut probe, &format!("held-recv {own}")), "1");
        assert_eq!(value(&mut probe, &format!("held-recv tried-{own}")), "1");
        hear(&mut probe);
        probe.revoke("hear");
        each(&mut probe, &receive, "EACCES");
        // A client's socket, bound or not: it asks, and hears the answer.
        for key in [format!("quiet-{own}"), format!("client-{own}")] {
            if key.starts_with("client") {
                each(&mut probe, &[format!("hold-socket {key} {family} 2")], "");
            }
            each(&mut probe, &[format!("held-send-to {key} {at}:7501")], "");
            let (_, client) = servers[server].recv_from(&mut [0; 4]).unwrap();
            servers[server].send_to(b"x", client).unwrap();
            assert_eq!(value(&mut probe, &format!("held-recv {key}")), "1");
        }
        stops(&mut probe, &format!("held-recv client-{own}"));
    }
}

/// Refused in quarantine.
#[track_caller]
fn stops(probe: &mut Interactive, line: &str) {
    bed().remit(["session", "quarantine", &probe.name]).expect(0);
    each(probe, &[line], "EACCES");
    bed().remit(["session", "resume", &probe.name]).expect(0);
    each(probe, &[line], "");
}

#[test]
fn datagram_that_waits_is_judged_by_where_it_goes() {
    let mut probe = session();
    const CORK: &str = "17 1";
    for (family, at) in [("2", "127.0.0.1"), ("10", "[::1]"), ("10", "[::ffff:127.0.0.1]")] {
        let near = datagrams(&format!("{}:7501", at.replace("[::ffff:127.0.0.1]", "127.0.0.1")));
        let second = datagrams(&format!("{}:7502", at.replace("[::ffff:127.0.0.1]", "127.0.0.1")));
        for tool in ["near", "second"] {
            probe.grant(tool);
        }
        let [aside, again, corked] =
            ["aside", "again", "corked"].map(|name| format!("{name}-{at}"));
        let all = [&aside, &again, &corked];
        let made: Vec<_> = all.iter().map(|key| format!("hold-socket {key} {family} 2")).collect();
        each(&mut probe, &made, "");
        let begin = [
            // By an address; by the option; over a connection that then leads elsewhere.
            format!("held-send-more-to {aside} {at}:7501"),
            format!("held-option {corked} {CORK} 1"),
            format!("held-send-to {corked} {at}:7501"),
            format!("held-connect {again} {at}:7501"),
            format!("held-send-more {again}"),
            format!("held-connect {again} {at}:7502"),
        ];
        let finish =
            [format!("held-send-to {aside} {at}:7502"), format!("held-option {corked} {CORK} 0")];
        let finish_again = format!("held-send {again}");
        // While both are held, the kernel adds up what is of one datagram. One that was begun over a connection goes
        // after the new one by IPv4, and on newer kernels by IPv6.
        each(&mut probe, &begin, "");
        each(&mut probe, &finish, "");
        assert_eq!(arrived(&near), [2, 1]);
        each(&mut probe, &[&finish_again], "");
        let follows = arrived(&second) == [2];
        assert_eq!(arrived(&near).len(), usize::from(!follows));
        each(&mut probe, &begin, "");
        probe.revoke("near");
        each(&mut probe, &finish, "EACCES");
        each(&mut probe, &[&finish_again], if follows { "" } else { "EACCES" });
        let incident = bed().incident(&probe.name, |found| found.reason == "revoked");
        assert_eq!((&*incident.operation, &incident.object["port"]), ("net.use", &7501.into()));
        // What does not wait goes to the second.
        each(
            &mut probe,
            &[
                format!("hold-socket fresh-{at} {family} 2"),
                format!("held-send-to fresh-{at} {at}:7502"),
            ],
            "",
        );
        assert!(arrived(&near).is_empty());
        assert_eq!(arrived(&second).len(), 1 + usize::from(follows));
        probe.grant("near");
        bed().remit(["session", "quarantine", &probe.name]).expect(0);
        each(&mut probe, &finish, "EACCES");
        assert!(arrived(&near).is_empty());
        bed().remit(["session", "resume", &probe.name]).expect(0);
        each(&mut probe, &finish, "");
        assert_eq!((arrived(&near), arrived(&second)), (vec![2, 1], vec![]));
    }
}
