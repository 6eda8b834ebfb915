//! What processes share without a connection: System V IPC, message queues, shared memory, keyrings.

use crate::catalogue::{Attack, attack};

pub(crate) fn attacks() -> Vec<Attack> {
    let share = |name, hook, before, act, control| {
        attack(name, hook, "process.ipc", act, control).error("EACCES").before(before).anywhere()
    };
    let key = |name, before, act, control| {
        let attack = attack(name, "key_permission", "process.key", act, control);
        // The kernel does not find what may not be searched for.
        attack.error("ENOKEY").before(before).anywhere()
    };
    vec![
        share(
            "attach another process's shared memory",
            "ipc_permission",
            "shm-make {key}",
            "shm-use {key}",
            "all shm-make {own-key} and shm-use {own-key}",
        ),
        share(
            "remove another process's shared memory",
            "ipc_permission",
            "shm-make {key}",
            "shm-remove {key}",
            "all shm-make {own-key} and shm-remove {own-key}",
        ),
        share(
            "send to another process's queue",
            "ipc_permission",
            "msg-make {key}",
            "msg-send {key}",
            "all msg-make {own-key} and msg-send {own-key}",
        ),
        share(
            "take from another process's queue",
            "ipc_permission",
            "all msg-make {key} and msg-send {key}",
            "msg-take {key}",
            "all msg-make {own-key} and msg-send {own-key} and msg-take {own-key}",
        ),
        share(
            "change another process's semaphore",
            "ipc_permission",
            "sem-make {key}",
            "sem-use {key}",
            "all sem-make {own-key} and sem-use {own-key}",
        ),
        attack(
            "open another process's POSIX queue",
            "file_open",
            "file.open",
            "queue-open q{key}",
            "socketpair stream",
        )
        .before("queue-make q{key}")
        .anywhere(),
        attack(
            "make a POSIX queue",
            "file_open",
            "file.open",
            "queue-make own{key}",
            "socketpair stream",
        )
        .anywhere(),
        attack(
            "open another process's POSIX shared memory",
            "file_open",
            "file.open",
            "open-both /dev/shm/attack-{key}",
            "open-both @rw/file",
        )
        .before("open-create /dev/shm/attack-{key}")
        .anywhere(),
        key(
            "read a key of the user's",
            "key-add k{key} user",
            "key-read k{key}",
            "key-add k{key} process",
        ),
        key(
            "add to the user's keys",
            "nothing",
            "key-add k{key} user",
            "key-add k{key} process",
        ),
        attack(
            "list the host's shared memory",
            "file_open",
            "file.open",
            "open-read /proc/sysvipc/shm",
            "open-read /proc/self/status",
        ),
        attack(
            "list the keys",
            "file_open",
            "file.open",
            "open-read /proc/keys",
            "open-read /proc/self/status",
        ),
    ]
}
