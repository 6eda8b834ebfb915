//! What processes share without a connection: System V IPC, message queues, shared memory, keyrings.

use std::{thread, time::Duration};

use tests::Answer;

use crate::{
    catalogue::{Attack, attack, steps},
    scene::Scene,
};

pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = found();
    all.extend(by_number());
    all.extend(addresses());
    all.extend(others());
    all
}

/// An attack on a System V object that a process outside makes before.
fn share(
    name: &'static str,
    hook: &'static str,
    before: &'static str,
    act: &'static str,
    control: &'static str,
) -> Attack {
    attack(name, hook, "process.ipc", act, control).error("EACCES").before(before).anywhere()
}

/// System V objects that are looked for by their keys.
fn found() -> Vec<Attack> {
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
    ]
}

/// System V objects whose numbers are known, or guessed: what the kernel asks nobody's mode for.
fn by_number() -> Vec<Attack> {
    vec![
        share(
            "remove shared memory by its number",
            "shm_shmctl",
            "shm-make {key}",
            "sys shmctl {made} 0 0",
            "all shm-make {own-key} and shm-remove {own-key}",
        ),
        share(
            "remove a queue by its number",
            "msg_queue_msgctl",
            "msg-make {key}",
            "sys msgctl {made} 0 0",
            "all msg-make {own-key} and msg-remove {own-key}",
        ),
        share(
            // `IPC_SET`: of root, without a mode, for no bytes.
            "close a queue to everybody",
            "msg_queue_msgctl",
            "msg-make {key}",
            "sys msgctl {made} 1 z=120",
            "all msg-make {own-key} and msg-send {own-key}",
        ),
        share(
            "remove a semaphore by its number",
            "sem_semctl",
            "sem-make {key}",
            "sys semctl {made} 0 0",
            "all sem-make {own-key} and sem-remove {own-key}",
        ),
    ]
}

/// System V objects that lie where some of the session's own were: the kernel tells whose one is by that.
fn addresses() -> Vec<Attack> {
    let place = |name, hook, act: fn(&mut Scene) -> Answer, control| {
        attack(name, hook, "process.ipc", steps(act), control).error("EACCES").anywhere()
    };
    vec![
        place(
            "use shared memory made where one's own was",
            "shm_free_security",
            |scene| in_their_place(scene, "shm"),
            "shm-come-and-go 1",
        ),
        place(
            "use a queue made where one's own was",
            "msg_queue_free_security",
            |scene| in_their_place(scene, "msg"),
            "msg-come-and-go 1",
        ),
        place(
            "use a semaphore made where one's own was",
            "sem_free_security",
            |scene| in_their_place(scene, "sem"),
            "sem-come-and-go 1",
        ),
    ]
}

/// The session makes objects and removes them, then a process outside makes as many: the session tries to
/// use each.
fn in_their_place(scene: &mut Scene, kind: &str) -> Answer {
    let gone = scene.ask(&format!("{kind}-come-and-go 32"));
    if !gone.error().is_empty() {
        return gone;
    }
    // The kernel gives their memory back when no processor can see them any more.
    thread::sleep(Duration::from_millis(200));
    let made = scene.outside(&format!("{kind}-make-many 32")).value();
    let answer = scene.ask(&format!("{kind}-use-any {made}"));
    scene.outside(&format!("{kind}-remove-all {made}")).value();
    answer
}

/// What is no System V object.
fn others() -> Vec<Attack> {
    let key = |name, before, act, control| {
        let attack = attack(name, "key_permission", "process.key", act, control);
        // The kernel does not find what may not be searched for.
        attack.error("ENOKEY").before(before).anywhere()
    };
    vec![
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
            "inode_create",
            "file.create",
            "queue-make own{key}",
            "socketpair stream",
        )
        .then("file_open")
        .anywhere(),
        attack(
            "remove another process's POSIX queue",
            "inode_unlink",
            "file.delete",
            "queue-remove q{key}",
            "unlink @rw/link",
        )
        .before("queue-make q{key}")
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
