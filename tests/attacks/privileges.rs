//! What only root may do, and no session.

use crate::catalogue::{Attack, attack};

pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = kernel();
    all.extend(mounts());
    all.extend(own());
    all
}

const OWN: &str = "open-both @rw/file";

fn capable(name: &'static str, act: &'static str) -> Attack {
    attack(name, "capable", "priv.capability", act, OWN).privileged()
}

fn kernel() -> Vec<Attack> {
    vec![
        attack("list the kernel's programs", "bpf", "priv.bpf", "bpf next-program", OWN)
            .privileged(),
        attack("count the host's events", "perf_event_open", "priv.perf", "perf", OWN).privileged(),
        attack(
            "count events of one's own",
            "perf_event_open",
            "priv.perf",
            "sys perf_event_open x=01000000400000000000000000000000000000000000000000000000000000000000000000000000600000000000000000000000000000000000000000000000 0 -1 -1 0",
            OWN,
        ),
        capable("load a module from a file", "module @rw/file")
            .then("kernel_read_file")
            .plain("ENOEXEC"),
        capable("load a module from memory", "module-image")
            .then("kernel_load_data")
            .plain("ENOEXEC"),
        capable("remove a module", "sys delete_module s=nothing 0").plain("ENOENT"),
        capable("load another kernel", "sys kexec_load 0 0 0 0"),
        capable("restart the machine", "sys reboot 0 0 0 0").plain("EINVAL"),
        capable("set the clock", "sys settimeofday 0 0"),
        attack("read the kernel's log", "syslog", "priv.capability", "sys syslog 3 z=64 64", OWN),
        capable("make the console silent", "sys syslog 8 0 7").then("syslog"),
        capable("reach all ports of the machine", "in-child sys iopl 3"),
        capable("reach a port of the machine", "in-child sys ioperm 128 1 1"),
        capable("swap to a file", "sys swapon s=@rw/file 0").plain("EINVAL"),
        capable("stop swapping", "sys swapoff s=@rw/file").plain("EINVAL"),
        capable(
            "have all processes accounted for in a file",
            "all sys acct s=@rw/file and sys acct 0",
        ),
        capable("give a file an attribute of the system's", "setxattr @rw/file trusted.a"),
        capable("make a file unchangeable", "sys ioctl w=@rw/file 0x40086602 x=1000000000000000"),
    ]
}

fn mounts() -> Vec<Attack> {
    let mount =
        |name, act| attack(name, "sb_mount", "priv.mount", act, OWN).then("capable").privileged();
    vec![
        mount("mount a file system", "mount-tmpfs @rw/empty"),
        mount("mount a folder elsewhere", "mount-bind /usr @rw/empty"),
        mount("mount a folder anew with other flags", "sys mount s=none s=@rw/empty 0 0x1020 0")
            .before("mount-tmpfs @rw/empty"),
        mount("mount over a protected folder", "mount-bind @rw @no"),
        capable("unmount", "umount @rw/empty")
            .then("sb_umount")
            .before("mount-tmpfs @rw/empty"),
        capable("change the root", "pivot-root @rw @rw")
            .then("sb_pivotroot")
            .plain("EINVAL"),
        capable("copy a tree of mounts", "tree-clone /usr"),
        capable("move a mount", "mount-move @rw/empty @rw/folder")
            .then("move_mount")
            .before("mount-tmpfs @rw/empty"),
        capable("open a file system", "fsopen tmpfs"),
        capable("change a mount's flags", "sys mount_setattr -100 s=@rw 0 z=32 32"),
    ]
}

/// What would be root's to take for itself.
fn own() -> Vec<Attack> {
    vec![
        capable("run before all others", "in-child sys setpriority 0 0 -5").error("EACCES"),
        capable("run in real time", "in-child sys sched_setscheduler 0 1 x=01000000"),
        capable(
            "have more descriptors than the host allows",
            "in-child all sys prlimit64 0 7 x=10000000000000001000000000000000 0 \
             and sys prlimit64 0 7 x=11000000000000001100000000000000 0",
        )
        .unrecorded(),
        capable("hang up a terminal", "in-new-session hang-up"),
        attack("watch a file by fanotify", "path_notify", "file.open", "mark @no/file", "mark @rw/file"),
    ]
}
