//! Network endpoints and kinds of sockets that no tool of the session covers.

use tests::Answer;

use crate::{
    catalogue::{Attack, attack, steps},
    scene::Scene,
};

pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = streams();
    all.extend(datagrams());
    all.extend(local());
    all.extend(kinds());
    all.extend(ways());
    all
}

fn streams() -> Vec<Attack> {
    let connect = |name, act| {
        attack(name, "socket_connect", "net.connect", act, "tcp 127.0.0.1:7301")
    };
    vec![
        connect("connect to another port", "tcp 127.0.0.1:7302"),
        connect("connect by an IPv4 address in an IPv6 one", "tcp [::ffff:127.0.0.1]:7302"),
        connect("connect to the unspecified address", "tcp 0.0.0.0:7302"),
        connect("connect by MPTCP", "mptcp 127.0.0.1:7302"),
        connect("connect again to another port", "tcp-again 127.0.0.1:7301 127.0.0.1:7302"),
        connect("connect by io_uring", "tcp-uring 127.0.0.1:7302"),
        connect("connect in a thread", "in-thread tcp 127.0.0.1:7302"),
        attack(
            "send with a TCP fast open",
            "socket_sendmsg",
            "net.send",
            "fastopen 127.0.0.1:7302",
            "fastopen 127.0.0.1:7301",
        ),
    ]
}

fn datagrams() -> Vec<Attack> {
    let send = |name, act, control| attack(name, "socket_sendmsg", "net.send", act, control);
    vec![
        attack(
            "connect a datagram socket",
            "socket_connect",
            "net.connect",
            "udp 127.0.0.1:7302",
            "udp 127.0.0.1:7301",
        ),
        attack(
            "connect a datagram socket again",
            "socket_connect",
            "net.connect",
            "udp-again 127.0.0.1:7301 127.0.0.1:7302",
            "udp-again 127.0.0.1:7301 127.0.0.1:7301",
        ),
        send("send a datagram", "udp-sendto 127.0.0.1:7302", "udp-sendto 127.0.0.1:7301"),
        send("send a datagram by a message", "udp-sendmsg 127.0.0.1:7302", "udp-sendmsg 127.0.0.1:7301"),
        send(
            "send a datagram aside of the connection",
            "udp-aside 127.0.0.1:7301 127.0.0.1:7302",
            "udp-aside 127.0.0.1:7301 127.0.0.1:7301",
        ),
        send(
            "send a datagram to an address without a family",
            "udp-unspec 127.0.0.1:7302",
            "udp-unspec 127.0.0.1:7301",
        ),
        send(
            "send a datagram to an IPv4 address over IPv6",
            "udp6-as-v4 127.0.0.1:7302",
            "udp6-as-v4 127.0.0.1:7301",
        ),
        send(
            "send many datagrams at once",
            "udp-sendmmsg 127.0.0.1:7302 127.0.0.1:7302",
            "udp-sendmmsg 127.0.0.1:7301 127.0.0.1:7301",
        ),
        attack(
            "connect to the unspecified address from another",
            "socket_connect",
            "net.connect",
            "all hold-socket s 2 2 and held-bind s 127.0.0.9:0 and held-connect s 0.0.0.0:7301",
            "all hold-socket s 2 2 and held-bind s 127.0.0.1:0 and held-connect s 0.0.0.0:7301",
        ),
        attack(
            "send a datagram to half an address",
            "socket_sendmsg",
            "net.send",
            "all hold-socket s 2 2 and held-send-name s 02001c857f000001",
            "all hold-socket s 2 2 and held-send-name s 02001c857f0000010000000000000000",
        )
        .plain("EINVAL"),
        attack(
            "receive datagrams on a port that the kernel chose",
            "socket_recvmsg",
            "net.use",
            "all hold-udp-bound s 127.0.0.1:0 and held-recv-wait s",
            "all hold-udp-unconnected s 127.0.0.1:7301 and held-recv-wait s",
        ),
        send("ask a name server", "udp-sendto 127.0.0.1:53", "udp-sendto 127.0.0.1:7301"),
    ]
}

fn local() -> Vec<Attack> {
    vec![
        attack(
            "bind to a port",
            "socket_bind",
            "net.bind",
            "bind tcp 127.0.0.1:7312",
            "bind tcp 127.0.0.1:7311",
        ),
        attack(
            "bind a datagram socket to a port",
            "socket_bind",
            "net.bind",
            "bind udp 127.0.0.1:7312",
            "bind udp 127.0.0.1:7311",
        ),
        attack(
            "listen on a port that the kernel chooses",
            "socket_listen",
            "net.listen",
            "sys listen socket=2,1,0 8",
            "listen 127.0.0.1:7311",
        ),
        attack(
            "listen on a port that the kernel chose when it was bound",
            "socket_listen",
            "net.listen",
            "listen 127.0.0.1:0",
            "listen 127.0.0.1:7311",
        ),
        attack(
            "say which port the kernel chooses",
            "socket_setsockopt",
            "net.option",
            "sys setsockopt socket=2,2,0 0 51 x=409c409c 4",
            "sys setsockopt socket=2,2,0 0 2 x=20000000 4",
        ),
        attack(
            "bind to a port of the system's",
            "socket_bind",
            "net.bind",
            "bind tcp 127.0.0.1:80",
            "bind tcp 127.0.0.1:7311",
        )
        .privileged(),
    ]
}

fn kinds() -> Vec<Attack> {
    let make = |name, act| attack(name, "socket_create", "net.socket", act, "socket 2 1 0");
    let control = |name, act| attack(name, "capable", "priv.capability", act, "socket 2 1 0");
    vec![
        make("make a packet socket", "socket 17 3 768").privileged(),
        make("make a raw socket", "socket 2 3 1").privileged(),
        make("make a raw IPv6 socket", "socket 10 3 58").privileged(),
        make("listen to the kernel's audit", "socket 16 3 9").plain("EPROTONOSUPPORT"),
        make("listen to the kernel's device events", "socket 16 3 15"),
        make("ask the kernel by generic netlink", "socket 16 3 16"),
        make("ask the kernel for sockets", "socket 16 3 4"),
        make("use the kernel's ciphers", "socket 38 5 0"),
        control("pass for another host", "sys setsockopt socket=2,1,0 0 19 x=01000000 4").privileged(),
        control(
            "take an interface down",
            "sys ioctl socket=2,2,0 0x8914 x=6c6f0000000000000000000000000000490000000000000000000000000000000000000000000000",
        )
        .privileged(),
    ]
}

/// Packets that leave for another host than the one that was asked for.
fn ways() -> Vec<Attack> {
    let plainly =
        || steps(|scene| seen(scene, "udp-plainly 127.0.0.1:7301", "127.0.0.1"));
    let by_option = |scene: &mut Scene| {
        seen(scene, "udp-by-way 127.0.0.1:7301 127.0.0.9", "127.0.0.9")
    };
    let by_message = |scene: &mut Scene| {
        seen(scene, "udp-by-way-of-message 127.0.0.1:7301 127.0.0.9", "127.0.0.9")
    };
    vec![
        attack(
            "send a datagram by way of another host",
            "socket_setsockopt",
            "net.option",
            steps(by_option),
            plainly(),
        )
        .then("capable")
        .anywhere()
        .privileged_on(&["6.1", "6.12", "7"]),
        attack(
            "send a datagram with a way beside it",
            "socket_sendmsg",
            "net.option",
            steps(by_message),
            plainly(),
        )
        .then("capable")
        .anywhere()
        .privileged_on(&["6.1", "6.12", "7"]),
    ]
}

/// Whether a packet to `address` leaves when the session does something.
fn seen(scene: &mut Scene, act: &str, address: &str) -> Answer {
    assert_eq!(scene.operator("sniff").error(), "", "packets can be watched");
    let answer = scene.ask(act);
    let seen = scene.operator(&format!("sniffed {address}"));
    if answer.error().is_empty() { seen } else { answer }
}
