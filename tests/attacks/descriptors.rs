//! Descriptors that were opened while a tool allowed it, after the tool was taken back; and descriptors
//! that others opened.

use crate::catalogue::{Attack, attack};

pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = files();
    all.extend(sockets());
    all
}

fn files() -> Vec<Attack> {
    let both = "keep-both a @lent/file";
    let used = |name, hook, operation, act: &'static str| {
        attack(name, hook, operation, act, act).lent(both)
    };
    vec![
        used("read what was open", "file_permission", "file.use", "kept-read a"),
        used("write what was open", "file_permission", "file.use", "kept-write a x"),
        used("copy from what was open", "file_permission", "file.use", "kept-copy a @rw/second"),
        used("splice from what was open", "file_permission", "file.use", "kept-splice a"),
        used("extend what was open", "file_permission", "file.use", "sys fallocate k=a 0 0 4096"),
        used("map what was open", "mmap_file", "file.map", "kept-map a"),
        used("use a mapping made before", "none", "file.use", "mapping-use")
            .lent("mapping-keep @lent/file")
            .not_stopped("no hook sees the use of a mapping: `on_revoke = \"kill\"` kills who used the tool"),
        used("read what was open by io_uring", "file_permission", "file.use", "ring-kept-read a"),
        used("empty what was open", "file_truncate", "file.setattr", "kept-truncate a")
            .stopped_by_on(&["6.1"], "path_truncate"),
        used("change the mode of what was open", "path_chmod", "file.setattr", "kept-chmod a 0600"),
        used("change the owner of what was open", "path_chown", "file.setattr", "sys fchown k=a {uid} {gid}"),
        used("lock what was open", "file_lock", "file.use", "sys 73 k=a 1"),
        used("open again what was open", "file_open", "file.open", "kept-reopen a"),
        attack(
            "link what was open",
            "path_link",
            "file.link",
            "kept-link a @rw/new",
            "kept-link a @rw/good",
        )
        .lent(both),
        attack(
            "set flags of what was open",
            "file_ioctl",
            "file.ioctl",
            "sys ioctl k=a 0x40086602 x=4000000000000000",
            "sys ioctl k=a 0x40086602 x=4000000000000000",
        )
        .lent(both),
        used("open below a folder that was open", "file_open", "file.open", "kept-open-at a inner")
            .lent("keep-read a @lent/folder"),
        used("list a folder that was open", "file_permission", "file.use", "sys getdents64 k=a z=4096 4096")
            .lent("keep-read a @lent/folder"),
        used("open a file after the tool was taken back", "file_open", "file.open", "open-read @lent/file")
            .lent("open-read @lent/file"),
        attack(
            "take a descriptor that a process outside sends",
            "file_receive",
            "file.receive",
            "receive b /srv/test/sockets/open/passing",
            "keep-both b @rw/file",
        )
        .anywhere(),
        attack(
            "open again a descriptor that a process outside sent",
            "file_receive",
            "file.receive",
            "all receive b /srv/test/sockets/open/passing and kept-reopen b",
            "all keep-both b @rw/file and kept-reopen b",
        )
        .then("file_open")
        .anywhere(),
    ]
}

fn sockets() -> Vec<Attack> {
    let used = |name, hook, operation, lent, act: &'static str| {
        attack(name, hook, operation, act, act).lent(lent)
    };
    vec![
        used(
            "send over a connection that was made",
            "socket_sendmsg",
            "net.use",
            "keep-tcp t 127.0.0.1:7303",
            "kept-write t x",
        ),
        used(
            "listen again on a socket that was bound",
            "socket_listen",
            "net.listen",
            "keep-listen l 127.0.0.1:7313",
            "sys listen k=l 8",
        ),
        used(
            "send datagrams over a unix socket that was connected",
            "unix_may_send",
            "unix.connect",
            "unix-keep lent-dgram dgram /srv/test/sockets/lent/dgram",
            "unix-send lent-dgram",
        )
        .anywhere(),
        used(
            "send over a unix connection that was made",
            "socket_sendmsg",
            "net.use",
            "unix-keep lent-stream stream /srv/test/sockets/lent/stream",
            "unix-send lent-stream",
        ),
        used(
            "send to a name over a connection of packets that was made",
            "socket_sendmsg",
            "net.use",
            "hold-seqpacket q /srv/test/sockets/lent/seqpacket",
            "held-send-name q 01002f616e7900",
        )
        .anywhere(),
        used(
            "send without a family over a datagram socket that was connected",
            "socket_sendmsg",
            "net.use",
            "all hold-socket u 10 2 and held-connect u [::1]:7303",
            "held-send-name u 00000000000000000000000000000000000000000000000000000000",
        ),
        used(
            "count what arrives over a connection that was made",
            "file_ioctl",
            "net.use",
            "keep-tcp t 127.0.0.1:7303",
            "held-count t",
        ),
        used(
            "receive over a connection that was made",
            "socket_recvmsg",
            "net.use",
            "keep-tcp t 127.0.0.1:7303",
            "held-recv t",
        ),
        used(
            "receive datagrams over a socket that was connected",
            "socket_recvmsg",
            "net.use",
            "hold-udp u 127.0.0.1:7303",
            "held-recv u",
        ),
        used(
            "receive over a unix connection that was made",
            "socket_recvmsg",
            "net.use",
            "hold-unix s /srv/test/sockets/lent/stream",
            "held-recv s",
        )
        .anywhere(),
        used(
            "receive by io_uring over a unix connection that was made",
            "socket_recvmsg",
            "net.use",
            "hold-unix s /srv/test/sockets/lent/stream",
            "held-uring-recv s",
        )
        .anywhere(),
        used(
            "take what arrived without a copy",
            "socket_getsockopt",
            "net.use",
            "keep-tcp t 127.0.0.1:7303",
            "held-zerocopy t",
        ),
        used(
            "accept on a socket that listens",
            "socket_accept",
            "net.use",
            "all keep-listen l 127.0.0.1:7314 and keep-tcp c 127.0.0.1:7314 and keep-tcp d 127.0.0.1:7314",
            "held-accept l t",
        ),
        used(
            "connect after the tool was taken back",
            "socket_connect",
            "net.connect",
            "tcp 127.0.0.1:7303",
            "tcp 127.0.0.1:7303",
        ),
    ]
}
