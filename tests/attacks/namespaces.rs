//! Namespaces: made, joined, and what they name.

use crate::catalogue::{Attack, attack};

pub(crate) fn attacks() -> Vec<Attack> {
    let user = |name, act| attack(name, "userns_create", "priv.userns", act, "in-child open-read @rw/file");
    let other = |name, act| {
        attack(name, "capable", "priv.capability", act, "in-child open-read @rw/file").privileged()
    };
    vec![
        user("make a user namespace", "in-child sys unshare 0x10000000"),
        user("make a user and a mount namespace", "in-child sys unshare 0x10020000"),
        user("make a user and a network namespace", "in-child sys unshare 0x50000000"),
        user("make a user namespace by clone3", "in-child in-user-namespace nothing"),
        user("make a user namespace by the 32-bit entry", "in-child sys32 310 0x10000000"),
        other("make a mount namespace", "in-child sys unshare 0x20000"),
        other("make a network namespace", "in-child sys unshare 0x40000000"),
        other("make a namespace of process ids", "in-child sys unshare 0x20000000"),
        other("make a namespace of queues", "in-child sys unshare 0x8000000"),
        other("make a namespace of host names", "in-child sys unshare 0x4000000"),
        other("make a namespace of control groups", "in-child sys unshare 0x2000000"),
        other("make a namespace of clocks", "in-child sys unshare 0x80"),
        other("set the host's name", "sys sethostname s=guest 5"),
        other("set the host's domain", "sys setdomainname s=guest 5"),
        attack(
            "open another process's namespace",
            "ptrace_access_check",
            "process.trace",
            "open-read /proc/{victim}/ns/mnt",
            "open-read /proc/self/status",
        )
        .error("EACCES"),
    ]
}
