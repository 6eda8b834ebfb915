//! Who may use whom, as tables: the only place to edit when a file is moved or made. `rules` applies them.
//!
//! A module is named by its path below the crate's `src`: `cache/folder`. `hooks/*` stands for all below `hooks`,
//! `hooks/**` for `hooks` and all below. An item of another crate is named by its path, and `aya::*` stands for all
//! paths that begin so.

/// The layers of `agent-ebpf`, the lowest first: a module uses modules of its own layer and of those above it in
/// this table, nothing else.
pub(super) const KERNEL_LAYERS: &[&[&str]] = &[
    &[
        "main",
        "macros",
        "atomic",
        "volatile",
        "loops",
        "verdict",
        "entries",
        "map_access",
        "kernel/**",
    ],
    &["cache", "cache/entry", "cache/basis", "expiry", "mounts", "request", "task_storage"],
    &["values", "socket_storage"],
    &["maps"],
    &["standing", "scratch", "subject", "given", "cache/file", "cache/endpoint"],
    &["object_owner", "session_tasks", "socket_owner", "socket_ends", "control_socket", "terminal"],
    &["matching", "check/judge"],
    &["walk"],
    &["emit", "cache/folder"],
    &["check/act", "check/endpoint", "check/folder"],
    &["check", "check/file", "check/option"],
    &["check/gain", "check/socket"],
    &["hooks/**", "iterators/**", "packets", "probe"],
];

/// Which modules some modules may use, besides themselves.
pub(super) struct Uses {
    pub(super) of: &'static [&'static str],
    pub(super) may: &'static [&'static str],
}

/// Who may use whom in `agent`: for each module the first line counts that names it.
pub(super) const USES: &[Uses] = &[
    Uses { of: &["policy/**"], may: &["policy/**"] },
    Uses { of: &["incident/**"], may: &["incident/**"] },
    // What the canary tries, and how the outcome is judged; which kernel that is it does not know.
    Uses { of: &["canary/**"], may: &["canary/**"] },
    Uses { of: &["troubles"], may: &[] },
    Uses { of: &["settings"], may: &["policy/value", "policy/diagnostic"] },
    Uses { of: &["groups"], may: &["settings", "policy/model"] },
    Uses { of: &["vitals"], may: &["canary/**", "incident/pipeline"] },
    // The ring's reader implements the trait that the pipeline takes events from.
    Uses { of: &["bpf/events"], may: &["bpf/**", "incident/pipeline"] },
    Uses { of: &["bpf/**"], may: &["bpf/**", "policy/tables"] },
    Uses {
        of: &["session/**"],
        may: &[
            "session/**",
            "policy/**",
            "groups",
            "troubles",
            "bpf/attachment",
            "bpf/enforcer",
            "bpf/error",
        ],
    },
    Uses {
        of: &["api", "api/policy", "api/client"],
        may: &["api", "api/policy", "incident/record", "policy/diagnostic", "settings"],
    },
    Uses {
        of: &["api/server/**"],
        may: &[
            "api/**",
            "session/**",
            "policy/**",
            "incident/**",
            "bpf/enforcer",
            "bpf/error",
            "bpf/sys",
            "canary/judge",
            "settings",
            "troubles",
            "vitals",
        ],
    },
    // What is done without a daemon.
    Uses {
        of: &["cli/teardown"],
        may: &["cli/**", "api", "api/client", "daemon/teardown", "groups", "settings"],
    },
    Uses {
        of: &["cli/**"],
        may: &[
            "cli/**",
            "api",
            "api/policy",
            "api/client",
            "policy/**",
            "incident/**",
            "settings",
            "bpf/doctor",
        ],
    },
    Uses { of: &["daemon/**", "bin/*", "lib"], may: &["*"] },
];

/// What some modules of a crate may not use.
pub(super) struct Ban {
    /// The crate's folder.
    pub(super) krate: &'static str,
    /// The modules that it is for.
    pub(super) of: &'static [&'static str],
    /// Modules among those that it is not for.
    pub(super) but: &'static [&'static str],
    /// Modules of the same crate, or items of others, that may not be used.
    pub(super) not: &'static [&'static str],
    /// What would be right.
    pub(super) instead: &'static str,
}

/// What may not be used, besides what the layers forbid.
pub(super) const BANS: &[Ban] = &[
    Ban {
        krate: "agent-ebpf",
        of: &["hooks/*"],
        but: &[],
        not: &["hooks/*"],
        instead: "no hook uses another; what both need belongs below `check`",
    },
    Ban {
        krate: "agent-ebpf",
        of: &["hooks/*"],
        but: &[],
        not: &["maps"],
        instead: "no hook touches a map; the module that keeps what is in the map does",
    },
    Ban {
        krate: "agent-ebpf",
        of: &["*"],
        but: &["check/judge"],
        not: &["agent_common::decision::decide"],
        instead: "`check/judge` alone calls the decision",
    },
    Ban {
        krate: "agent-ebpf",
        of: &["*"],
        but: &["kernel", "kernel/*"],
        // All ways by which memory of the kernel can be read or found: the helpers that copy, the instructions whose
        // offset the loader fills in, and where they are.
        not: &[
            "core::arch::*",
            "agent_common::offsets::*",
            "aya_ebpf::helpers::bpf_probe_read*",
            "aya_ebpf::helpers::generated::bpf_probe_read*",
            "aya_ebpf::helpers::generated::bpf_get_current_task*",
        ],
        instead: "`kernel` alone reads kernel structures: use `member!`, `offset!` or a function of it",
    },
    Ban {
        krate: "agent-ebpf",
        of: &["*"],
        but: &["maps"],
        not: &["aya_ebpf::macros::map", "aya_ebpf::macros::btf_map"],
        instead: "`maps` alone defines maps",
    },
    Ban {
        krate: "agent",
        of: &["*"],
        but: &["bpf/**"],
        not: &["aya::*", "aya_obj::*"],
        instead: "`bpf` alone uses aya",
    },
    Ban {
        krate: "agent",
        of: &["policy/**"],
        but: &[],
        not: &[
            "tokio::*",
            "rustix::*",
            "libc::*",
            "std::process::*",
            "std::os::*",
            "std::env::*",
            "std::fs::File*",
            "std::fs::OpenOptions*",
            "std::fs::write*",
            "std::fs::create*",
            "std::fs::remove*",
            "std::fs::rename*",
        ],
        instead: "`policy` reads files and does nothing else with the host",
    },
    Ban {
        krate: "agent",
        of: &["api", "api/policy", "api/client", "cli/**"],
        but: &["cli/policy/check"],
        not: &["agent_common::*"],
        instead: "what goes over the socket has no type of the kernel's side in it",
    },
    Ban {
        krate: "agent",
        of: &["*"],
        but: &[],
        not: &["libc::fanotify*", "libc::ptrace*", "libc::PTRACE*", "rustix::process::ptrace*"],
        instead: "nothing in user space decides an access",
    },
];
