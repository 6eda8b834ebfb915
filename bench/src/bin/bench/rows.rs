//! What is measured, as data.

/// A policy's profile under which operations are measured, and what is there while they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    /// The profile's name in [`POLICY`].
    pub(crate) profile: &'static str,
    /// What is measured.
    pub(crate) rows: &'static [Row],
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// As the table names it.
    pub(crate) operation: &'static str,
    /// The loop that measures it.
    pub(crate) of: &'static str,
    /// Whether each measurement takes new files and, in a session, a session that never saw them.
    pub(crate) fresh: bool,
    /// Whether it is an operation that every confinement is to refuse.
    pub(crate) refused: bool,
}

impl Row {
    /// A row of the loop of the same name.
    const fn of(operation: &'static str) -> Self {
        Self { operation, of: operation, fresh: false, refused: false }
    }
}

/// A host with Remit and without a session; untagged only.
pub(crate) const NO_SESSION: Row = Row { of: "open+close", ..Row::of("no session on the host") };

/// Everything else. A scene more is another profile in [`POLICY`] and an entry here: hooks that are attached
/// while a session of it is live are in its floor too.
pub(crate) const SCENES: &[Scene] = &[
    // Nothing live that could be recalled.
    Scene {
        profile: "bench",
        rows: &[
            Row::of("open+close"),
            Row { fresh: true, ..Row::of("open+close, first time") },
            Row::of("stat"),
            Row::of("access"),
            Row::of("read of 1 byte"),
            Row::of("write of 1 byte"),
            Row::of("read of 4 KiB"),
            Row::of("write of 4 KiB"),
            Row::of("UDP connect"),
            Row::of("TCP connect+close"),
            Row::of("unlink"),
            Row::of("rename"),
            Row::of("mkdir"),
            Row::of("fork+exit"),
            Row::of("fork+exec+exit"),
            Row { refused: true, ..Row::of("refused open") },
        ],
    },
    Scene {
        profile: "recallable",
        rows: &[
            Row { of: "read of 1 byte", ..Row::of("read of 1 byte, recallable") },
            Row { of: "write of 1 byte", ..Row::of("write of 1 byte, recallable") },
            Row { of: "read of 4 KiB", ..Row::of("read of 4 KiB, recallable") },
            Row { of: "write of 4 KiB", ..Row::of("write of 4 KiB, recallable") },
        ],
    },
];

/// How often a row that needs new files is measured; the least counts.
pub(crate) const REPEATS: u32 = 5;

/// A tool that leaves open what was opened, and its profile.
macro_rules! opens {
    () => {
        r#"
schema = 1

[tool.bench]
recall = "opens"
files = [
  { paths = ["/usr/**", "/run/remit-bench/bin/**"], access = ["read", "exec"] },
  { paths = ["/etc/**"], access = ["read"] },
  { paths = ["/dev/null", "/dev/zero", "/dev/urandom"], access = ["read", "write"] },
  { paths = ["{workdir}/**"], access = ["read", "write", "create", "delete"] },
]
network = [
  { cidrs = ["127.0.0.1/32"], ports = [9], protocol = "udp" },
  { cidrs = ["127.0.0.1/32"], ports = [7077] },
  { cidrs = ["127.0.0.1/32"], ports = [7077], direction = "listen" },
]

[profile.bench]
tools = ["bench"]
"#
    };
}

/// The part of the policy that is needed where nothing is recalled.
pub(crate) const OPENS: &str = opens!();

/// The policy.
pub(crate) const POLICY: &str = concat!(
    opens!(),
    r#"
[tool.recallable]
files = [
  { paths = ["/usr/**", "/run/remit-bench/bin/**"], access = ["read", "exec"] },
  { paths = ["/etc/**"], access = ["read"] },
  { paths = ["/dev/null", "/dev/zero", "/dev/urandom"], access = ["read", "write"] },
  { paths = ["{workdir}/**"], access = ["read", "write", "create", "delete"] },
]

[profile.recallable]
tools = ["recallable"]
"#
);

/// The same as [`POLICY`] for AppArmor.
pub(crate) const APPARMOR: &str = "
profile remit-bench {
  /usr/** rix,
  /run/remit-bench/bin/** rix,
  /etc/** r,
  /dev/null rw,
  /dev/zero rw,
  /dev/urandom rw,
  /srv/bench/** rw,
  deny /srv/refused/** r,
  network inet dgram,
  network inet stream,
}
";
