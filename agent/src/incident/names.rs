//! Names of the kernel's numbers, as incidents show them.
//!
//! Sources: `linux/bpf.h`, `linux/capability.h`, `linux/socket.h`, `linux/net.h`, `linux/in.h`,
//! `linux/netlink.h` and `asm-generic/signal.h` of Linux 6.12. A number without a name is shown as a
//! number, so newer kernels lose nothing.

const CAPABILITIES: &[&str] = &[
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

const BPF_COMMANDS: &[&str] = &[
    "map_create",
    "map_lookup_elem",
    "map_update_elem",
    "map_delete_elem",
    "map_get_next_key",
    "prog_load",
    "obj_pin",
    "obj_get",
    "prog_attach",
    "prog_detach",
    "prog_test_run",
    "prog_get_next_id",
    "map_get_next_id",
    "prog_get_fd_by_id",
    "map_get_fd_by_id",
    "obj_get_info_by_fd",
    "prog_query",
    "raw_tracepoint_open",
    "btf_load",
    "btf_get_fd_by_id",
    "task_fd_query",
    "map_lookup_and_delete_elem",
    "map_freeze",
    "btf_get_next_id",
    "map_lookup_batch",
    "map_lookup_and_delete_batch",
    "map_update_batch",
    "map_delete_batch",
    "link_create",
    "link_update",
    "link_get_fd_by_id",
    "link_get_next_id",
    "enable_stats",
    "iter_create",
    "link_detach",
    "prog_bind_map",
    "token_create",
];

const SIGNALS: &[&str] = &[
    "0", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

fn at(names: &[&'static str], number: u32) -> Option<&'static str> {
    names.get(usize::try_from(number).ok()?).copied()
}

/// A capability's name, in small letters and without `CAP_`.
pub fn capability(number: u32) -> Option<&'static str> {
    at(CAPABILITIES, number)
}

/// The name of a command of the `bpf` system call, in small letters and without `BPF_`.
pub fn bpf_command(number: u32) -> Option<&'static str> {
    at(BPF_COMMANDS, number)
}

/// A command on a descriptor (`fcntl`, `ioctl`) that is refused to every session; in lower case. The numbers of both
/// calls differ.
pub fn file_command(number: u32) -> Option<&'static str> {
    Some(match number {
        4 => "f_setfl",
        8 => "f_setown",
        10 => "f_setsig",
        15 => "f_setown_ex",
        0x5410 => "tiocspgrp",
        0x5412 => "tiocsti",
        0x541c => "tioclinux",
        0x5452 => "fioasync",
        0x8901 => "fiosetown",
        0x8902 => "siocspgrp",
        _ => return None,
    })
}

/// The name of a refused mount call, by the kernel programs' own numbers.
pub fn mount_call(number: u32) -> Option<&'static str> {
    at(&["mount", "umount", "pivot_root", "move_mount"], number)
}

/// The name of a socket's option, from its level (the upper half) and number.
pub fn socket_option(number: u32) -> Option<&'static str> {
    Some(match (number >> 16, number & 0xffff) {
        (0, 4) => "ip_options",
        (0, 7) => "ip_retopts",
        (0, 51) => "ip_local_port_range",
        (41, 5) => "ipv6_2292rthdr",
        (41, 6) => "ipv6_2292pktoptions",
        (41, 57) => "ipv6_rthdr",
        (41, 32) => "ipv6_flowlabel_mgr",
        _ => return None,
    })
}

/// A signal's name without `SIG`; real-time signals have none. `0` only asks whether the process exists.
pub fn signal(number: u32) -> Option<&'static str> {
    at(SIGNALS, number)
}

/// An address family's name, in small letters and without `AF_`.
pub fn family(number: u32) -> Option<&'static str> {
    Some(match number {
        0 => "unspec",
        1 => "unix",
        2 => "inet",
        3 => "ax25",
        4 => "ipx",
        5 => "appletalk",
        10 => "inet6",
        15 => "key",
        16 => "netlink",
        17 => "packet",
        21 => "rds",
        24 => "pppox",
        27 => "ib",
        28 => "mpls",
        29 => "can",
        30 => "tipc",
        31 => "bluetooth",
        33 => "rxrpc",
        38 => "alg",
        39 => "nfc",
        40 => "vsock",
        41 => "kcm",
        42 => "qipcrtr",
        43 => "smc",
        44 => "xdp",
        45 => "mctp",
        _ => return None,
    })
}

/// A socket type's name, in small letters and without `SOCK_`. The flags that `socket(2)` takes with
/// the type are left out.
pub fn socket_type(number: u32) -> Option<&'static str> {
    Some(match number & 0xf {
        1 => "stream",
        2 => "dgram",
        3 => "raw",
        4 => "rdm",
        5 => "seqpacket",
        6 => "dccp",
        10 => "packet",
        _ => return None,
    })
}

/// An IP protocol's name, in small letters.
pub fn ip_protocol(number: u32) -> Option<&'static str> {
    Some(match number {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        58 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        255 => "raw",
        262 => "mptcp",
        _ => return None,
    })
}

/// The name of a socket's protocol, which depends on the address family.
pub fn socket_protocol(family: u32, protocol: u32) -> Option<&'static str> {
    match family {
        2 | 10 => ip_protocol(protocol),
        16 => Some(match protocol {
            0 => "route",
            4 => "sock_diag",
            6 => "xfrm",
            9 => "audit",
            10 => "fib_lookup",
            11 => "connector",
            12 => "netfilter",
            15 => "kobject_uevent",
            16 => "generic",
            21 => "crypto",
            _ => return None,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_number_of_each_table_has_its_name() {
        assert_eq!(capability(21), Some("sys_admin"));
        assert_eq!(capability(31), Some("setfcap"));
        assert_eq!(capability(40), Some("checkpoint_restore"));
        assert_eq!(capability(41), None);
        assert_eq!(bpf_command(5), Some("prog_load"));
        assert_eq!(bpf_command(36), Some("token_create"));
        assert_eq!(signal(15), Some("TERM"));
        assert_eq!(signal(31), Some("SYS"));
        assert_eq!(signal(32), None);
    }

    #[test]
    fn socket_type_with_flags_keeps_its_name() {
        // SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK
        assert_eq!(socket_type(0o2_004_001), Some("stream"));
        assert_eq!(socket_type(9), None);
    }

    #[test]
    fn socket_protocol_depends_on_the_family() {
        assert_eq!(socket_protocol(2, 6), Some("tcp"));
        assert_eq!(socket_protocol(16, 6), Some("xfrm"));
        assert_eq!(socket_protocol(17, 768), None);
    }
}
