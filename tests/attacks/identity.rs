//! Losing the tag, or passing for somebody else.

use crate::catalogue::{Attack, attack};

pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = vec![
        attack(
            "fill the map of processes by a flood of forks",
            "task_alloc",
            "file.open",
            "flood 1100 open-read @no/file",
            "flood 40 open-read @rw/file",
        ),
    ];
    let read = |name, act, control| attack(name, "file_open", "file.open", act, control);
    let fork = |name, act, control| attack(name, "task_alloc", "file.open", act, control);
    all.extend([
        fork("read in a child", "in-child open-read @no/file", "in-child open-read @rw/file"),
        fork("read in a child by clone3", "in-clone3 open-read @no/file", "in-clone3 open-read @rw/file"),
        fork("read in a child by vfork", "in-vfork open-read @no/file", "in-vfork open-read @rw/file"),
        fork("read in a thread", "in-thread open-read @no/file", "in-thread open-read @rw/file"),
        fork(
            "read in a child whose parent is gone",
            "in-orphan open-read @no/file",
            "in-orphan open-read @rw/file",
        ),
        fork("read as a daemon", "in-daemon open-read @no/file", "in-daemon open-read @rw/file"),
        fork(
            "read in a thread of a child's child",
            "in-child in-child in-thread open-read @no/file",
            "in-child in-child in-thread open-read @rw/file",
        ),
        fork(
            "read in a session of terminals of one's own",
            "in-new-session open-read @no/file",
            "in-new-session open-read @rw/file",
        ),
        read(
            "be called as the daemon",
            "in-child all sys prctl 15 s=remitd and open-read @no/file",
            "in-child all sys prctl 15 s=remitd and open-read @rw/file",
        ),
        read(
            "be called as a system service",
            "in-child all sys prctl 15 s=systemd and open-read @no/file",
            "in-child all sys prctl 15 s=systemd and open-read @rw/file",
        ),
        read(
            "run a program with the daemon's name",
            "by-program @run/remitd open-read @no/file",
            "by-program @run/remitd open-read @rw/file",
        )
        .before("copy /run/remit-test/bin/probe @run/remitd"),
        read(
            "run a program anew",
            "by-program /run/remit-test/bin/probe open-read @no/file",
            "by-program /run/remit-test/bin/probe open-read @rw/file",
        ),
        attack(
            "run a set-id program",
            "bprm_creds_from_file",
            "file.exec",
            "in-child all first-of set-user 5 or nothing and by-program @run/set-id nothing",
            "in-child all first-of set-user 5 or nothing and by-program @run/plain nothing",
        )
        .before_by_root(
            "all copy /run/remit-test/bin/probe @run/set-id and copy /run/remit-test/bin/probe @run/plain \
             and chmod @run/set-id 06755 and chmod @run/plain 0755",
        ),
        read(
            "read in a set-id program",
            "by-program @run/trusted open-read @no/file",
            "by-program @run/trusted open-read @rw/file",
        )
        .before_by_root("all copy /run/remit-test/bin/probe @run/trusted and chmod @run/trusted 06755"),
        fork(
            "lose the tag by a fork that the kernel refuses for its limit",
            "in-child all first-of set-user 5 or nothing and fail-fork limit and sleep 300 and open-read @no/file",
            "in-child all first-of set-user 5 or nothing and fail-fork limit and sleep 300 and open-read @rw/file",
        ),
        fork(
            "lose the tag by a fork that is refused its user namespace",
            "in-child all fail-fork namespace and sleep 300 and open-read @no/file",
            "in-child all fail-fork namespace and sleep 300 and open-read @rw/file",
        ),
        read(
            "become another user",
            "in-child all set-user 5 and open-read @no/file",
            "in-child all set-user 5 and open-read @rw/file",
        )
        .privileged(),
    ]);
    all
}
