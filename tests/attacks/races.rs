//! Arguments and names that change between the check and the use.

use crate::catalogue::{Attack, attack};

pub(crate) fn attacks() -> Vec<Attack> {
    vec![
        attack(
            "rewrite the path that is opened",
            "file_open",
            "file.open",
            "rewrite-open @rw/file @no/file",
            "rewrite-open @ro/file @rw/file",
        ),
        attack(
            "rewrite the path that is run",
            "file_open",
            "file.exec",
            "rewrite-exec @run/true @no/false",
            "rewrite-exec @run/true @run/fail",
        )
        .before("all copy /usr/bin/false @no/false and copy /usr/bin/false @run/fail"),
        attack(
            "rewrite the address that is connected to",
            "socket_connect",
            "net.connect",
            "rewrite-connect 7301 7302",
            "rewrite-connect 7301 7301",
        ),
        attack(
            "rewrite the path of the socket that is connected to",
            "unix_may_send",
            "unix.connect",
            "rewrite-unix /srv/test/sockets/open/dgram /srv/test/sockets/shut/dgram",
            "rewrite-unix /srv/test/sockets/open/dgram /srv/test/sockets/open/dgram",
        ),
        attack(
            "change a symbolic link while it is followed",
            "file_open",
            "file.open",
            "relink-open @rw/hop @rw/file @no/file",
            "relink-open @rw/way @rw/second @rw/file",
        ),
        attack(
            "rename folders while another is opened",
            "file_open",
            "file.open",
            "exchange-open @rw/folder @rw/empty @no/file",
            "exchange-open @rw/folder @rw/empty @rw/file",
        ),
    ]
}
