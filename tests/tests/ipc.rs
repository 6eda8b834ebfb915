//! What processes share without a file: System V IPC and keys of the own session are used, those of others not.

use tests::{Builder, Case, Interactive, allowed, bed, fails, judge, refused, words};

fn session() -> Builder {
    bed().policy("[profile.p]\ntools = [\"system\"]");
    bed().session("p")
}

fn op(text: &str) -> Vec<std::ffi::OsString> {
    text.split(' ').map(Into::into).collect()
}

fn refusal(operation: &str, text: &str) -> Case {
    refused(operation, "guard", op(text)).would_allow(&[])
}

#[test]
fn system_v_objects_of_the_session_are_its_own() {
    judge(
        session(),
        &[
            allowed(op("all shm-make 60001 and shm-use 60001 and in-child shm-use 60001")),
            allowed(op("all msg-make 60001 and msg-send 60001 and in-child msg-take 60001")),
            allowed(op("all sem-make 60001 and in-child sem-use 60001 and sem-use 60001")),
            allowed(op("shm-remove 60001")),
            // `MSG_INFO`, `SHM_INFO` and `SEM_INFO` name no object.
            allowed(op("sys msgctl 0 12 z=128")),
            allowed(op("sys shmctl 0 14 z=128")),
            allowed(op("sys semctl 0 0 19 z=128")),
        ],
    );
}

#[test]
fn system_v_objects_of_others_are_refused() {
    let mut outside = Interactive::untagged();
    let mut make = |text: &str| {
        let answer = outside.ask(op(text));
        assert_eq!(answer.error(), "", "{text}");
        answer.value()
    };
    let shm = make("shm-make 60010");
    let msg = make("msg-make 60010");
    let sem = make("sem-make 60010");
    make("msg-send 60010");
    let of_others = |text: &str| refusal("process.ipc", text);
    judge(
        session(),
        &[
            allowed(op("all shm-make 60011 and shm-use 60011 and shm-remove 60011")),
            of_others("shm-use 60010"),
            of_others("msg-send 60010"),
            of_others("msg-take 60010"),
            of_others("sem-use 60010"),
            // By number, and as those who only look: `IPC_STAT`, `IPC_RMID`, `SHM_STAT_ANY`.
            of_others(&format!("sys shmat {shm} 0 0")),
            of_others(&format!("sys shmctl {shm} 2 z=128")),
            of_others(&format!("sys shmctl {shm} 0 0")),
            of_others(&format!("sys msgctl {msg} 0 0")),
            of_others(&format!("sys semctl {sem} 0 0 0")),
            of_others(&format!("sys msgsnd {msg} x=01000000000000000000000000000000 8 2048")),
        ],
    );
    // All there still, and one session's are not another's.
    make("all shm-use 60010 and msg-take 60010 and sem-use 60010");
    let mut other = session().interactive();
    assert_eq!(other.ask(op("shm-make 60012")).error(), "");
    judge(session(), &[of_others("shm-use 60012"), allowed(words!["nothing"])]);
    assert_eq!(other.ask(op("all shm-use 60012 and shm-remove 60012")).error(), "");
    make("shm-use 60010");
    for text in ["shm-remove 60010", "sys msgctl ID 0 0", "sys semctl ID 0 0 0"] {
        let id = if text.contains("msg") { &msg } else { &sem };
        make(&text.replace("ID", id));
    }
}

#[test]
fn keys_of_the_session_are_its_own_and_those_of_others_refused() {
    // Not root, of which the kernel would ask more.
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut outside = Interactive::untagged_through(user);
    assert_eq!(outside.ask(op("key-add ours-60020 user")).error(), "");
    // The kernel does not find what may not be searched for.
    let of_others = |text: &str| refusal("process.key", text).error("ENOKEY");
    judge(
        session(),
        &[
            allowed(op("set-user 65534")),
            allowed(op("key-add mine process")),
            // A keyring of a session of its own: `KEYCTL_JOIN_SESSION_KEYRING`.
            allowed(op("sys keyctl 1 0")),
            of_others("key-add mine user"),
            of_others("key-read ours-60020"),
            // `KEYCTL_CLEAR`, `KEYCTL_INVALIDATE` and `KEYCTL_LINK` of the user's keyring (-4), the last to the
            // process's (-2).
            of_others("sys keyctl 7 -4"),
            of_others("sys keyctl 21 -4"),
            of_others("sys keyctl 8 -4 -2"),
        ],
    );
    assert_eq!(outside.ask(op("key-read ours-60020")).error(), "");
}

/// Where the queues' file system is mounted.
const QUEUES: &str = "/srv/test/queues/all";

#[test]
fn posix_queue_is_made_and_removed_as_a_rule_on_its_path_says() {
    let folder = bed().folder("queues");
    std::fs::create_dir(folder.join("all")).unwrap();
    let mount = |command: &str| {
        let words: Vec<&str> = command.split(' ').collect();
        tests::Outcome::of(std::process::Command::new(words[0]).args(&words[1..]), &[]).expect(0);
    };
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mounted =
        mounts.lines().filter_map(|line| line.split(' ').collect::<Vec<_>>().try_into().ok());
    for [_, place, kind, ..] in mounted.map(|words: [&str; 6]| words) {
        if kind == "mqueue" {
            mount(&format!("umount {place}"));
        }
    }
    let mut outside = Interactive::untagged();
    assert_eq!(outside.ask(op("queue-make others")).error(), "");
    let of_others = |operation: &str, reason: &str, text: &str| {
        refused(operation, reason, op(text)).would_allow(&[])
    };
    // Not mounted: a queue has no path.
    judge(
        session(),
        &[
            of_others("file.delete", "unresolved", "queue-remove others"),
            of_others("file.create", "unresolved", "queue-make own"),
            fails("ENOENT", op("queue-remove own")),
        ],
    );
    mount(&format!("mount -t mqueue none {QUEUES}"));
    bed().policy(
        "[tool.queues]\nfiles = [{ paths = [\"/srv/test/queues/all/own*\"], \
         access = [\"read\", \"write\", \"create\", \"delete\"] }]\n\
         [profile.p]\ntools = [\"system\", \"queues\"]",
    );
    let at = |name: &str| format!("{QUEUES}/{name}");
    judge(
        bed().session("p"),
        &[
            allowed(words!["open-create", at("own")]),
            allowed(op("queue-remove own")),
            allowed(words!["create", at("own-too")]),
            allowed(words!["unlink", at("own-too")]),
            refused("file.delete", "no_tool", op("queue-remove others")).at(at("others")),
            refused("file.delete", "no_tool", words!["unlink", at("others")]).at(at("others")),
            refused("file.create", "no_tool", op("queue-make mine")).at(at("mine")),
            fails("ENOENT", op("queue-remove mine")),
        ],
    );
    assert!(std::fs::exists(at("others")).unwrap());
    assert_eq!(outside.ask(op("queue-remove others")).error(), "");
    mount(&format!("umount {QUEUES}"));
}
