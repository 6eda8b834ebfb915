//! Unix sockets that no tool of the session covers; those of service managers above all.

use crate::catalogue::{Attack, attack};

pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = ways();
    all.extend(services());
    all
}

const OPEN: &str = "unix-path /srv/test/sockets/open/stream";

fn ways() -> Vec<Attack> {
    let connect = |name, act| attack(name, "unix_stream_connect", "unix.connect", act, OPEN).anywhere();
    let send = |name, act, control| {
        attack(name, "unix_may_send", "unix.connect", act, control).anywhere()
    };
    let sent = "unix-sendto /srv/test/sockets/open/dgram";
    vec![
        connect("connect to a socket", "unix-path /srv/test/sockets/shut/stream"),
        connect("connect to a seqpacket socket", "unix seqpacket /srv/test/sockets/shut/seqpacket"),
        connect(
            "connect by a symbolic link",
            "all symlink /srv/test/sockets/shut/stream @rw/hop and unix-path @rw/hop",
        ),
        connect(
            "connect by a link to the folder",
            "all symlink /srv/test/sockets/shut @rw/hop and unix-path @rw/hop/stream",
        ),
        connect("connect by /proc/self/root", "unix-path /proc/self/root/srv/test/sockets/shut/stream"),
        connect(
            "connect below a descriptor",
            "all keep-path s /srv/test/sockets/shut and kept-unix s stream",
        ),
        connect(
            "connect in the working folder",
            "in-child all chdir /srv/test/sockets/shut and unix-path stream",
        ),
        connect("connect to a name that is no text", "unix-path /srv/test/sockets/shut/{raw}"),
        connect("connect to a long name", "unix-path /srv/test/sockets/shut/{name-of-80}"),
        connect("connect to an abstract name", "unix stream {abstract}outside-of-all"),
        connect("connect to another session's socket", "unix stream {abstract}of-another-session"),
        send("send to a socket", "unix-sendto /srv/test/sockets/shut/dgram", sent),
        send(
            "connect a datagram socket to another",
            "unix dgram /srv/test/sockets/shut/dgram",
            "unix dgram /srv/test/sockets/open/dgram",
        ),
        send(
            "send to another socket than the connected one",
            "unix-aside /srv/test/sockets/open/dgram /srv/test/sockets/shut/dgram",
            "unix-aside /srv/test/sockets/open/dgram /srv/test/sockets/open/dgram",
        ),
        send(
            "send by a symbolic link",
            "all symlink /srv/test/sockets/shut/dgram @rw/hop and unix-path-send @rw/hop",
            sent,
        ),
        send("send to a name that is no text", "unix-path-send /srv/test/sockets/shut/{raw}-dgram", sent),
        send("send to an abstract name", "unix-sendto {abstract}outside-of-all-dgram", sent),
        attack(
            "take an abstract name that others expect",
            "socket_bind",
            "unix.connect",
            "unix-bind stream {abstract}expected-{key}",
            "unix-bind stream @rw/socket",
        )
        .not_stopped("an abstract name is its who takes it first, and no rule says whose one is"),
        attack(
            "be taken for a stranger by one's own session",
            "socket_post_create",
            "",
            "unix stream {abstract}outside-of-all",
            "all unix-bind stream {abstract}own-{key} and unix stream {abstract}own-{key}",
        )
        .unrecorded(),
    ]
}

fn services() -> Vec<Attack> {
    let connect = |name, act| attack(name, "unix_stream_connect", "unix.connect", act, OPEN);
    vec![
        connect("have systemd run a unit", "unix-path /run/systemd/private"),
        connect("ask the system bus", "unix-path /run/dbus/system_bus_socket"),
        connect("ask a user's bus", "unix-path /run/user/5/bus"),
        connect("ask a user's systemd", "unix-path /run/user/5/systemd/private"),
        connect("have Docker run a container", "unix-path /run/docker.sock"),
        connect("have containerd run a container", "unix-path /run/containerd/containerd.sock"),
        connect("have Podman run a container", "unix-path /run/podman/podman.sock"),
        connect("ask the SSH agent", "unix-path /run/user/5/ssh-agent"),
        connect("ask the display server", "unix-path /tmp/.X11-unix/X0"),
        attack(
            "write to the journal",
            "unix_may_send",
            "unix.connect",
            "unix-path-send /run/systemd/journal/socket",
            "unix-sendto /srv/test/sockets/open/dgram",
        ),
        attack(
            "tell systemd that a service is ready",
            "unix_may_send",
            "unix.connect",
            "unix-path-send /run/systemd/notify",
            "unix-sendto /srv/test/sockets/open/dgram",
        ),
    ]
}
