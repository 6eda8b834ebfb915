//! The world that a program meets: objects that its session may use and others, each with what it holds. See
//! [`crate::outside`] for what is around it.

/// Everything that the hunt lays out.
pub(crate) const ROOT: &str = "/srv/hunt";
/// The work folder of every session.
pub(crate) const WORK: &str = "/srv/hunt/own";

/// Which authority an object needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The session holds it from the start.
    Held,
    /// To read alone.
    ReadOnly,
    /// To write alone.
    WriteOnly,
    /// The tool `spare`, which is given and taken back meanwhile.
    Spare,
    /// The tool `deadly`, which the session holds from the start, and whose loss kills who used it.
    Deadly,
    /// No session may.
    Never,
}

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// A file with a text that anybody may know.
    Text,
    /// A file with a secret, by its number.
    Secret(u32),
    Folder,
    Program,
    /// Nothing: the name can be given to something.
    Nothing,
    /// Not made by the hunt.
    Found,
}

/// An object that has a name.
pub(crate) struct Object {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) class: Class,
    pub(crate) content: Content,
}

const fn object(name: &'static str, path: &'static str, class: Class, content: Content) -> Object {
    Object { name, path, class, content }
}

/// The secrets, by their numbers, and where they are.
pub(crate) const SECRETS: [&str; 24] = [
    "a file that no tool covers",
    "a denied file",
    "a file before its tool was given",
    "a file after its tool was taken back",
    "a deadly file before its tool was given",
    "a deadly file after its tool was taken back",
    "an extended attribute of a file that no tool covers",
    "the memory of a process outside",
    "a shared memory of others",
    "a message queue of others",
    "a POSIX message queue of others",
    "what others wrote into a pipe of which the session has the other end",
    "what a server says that no tool covers",
    "what a server says after its tool was taken back",
    "what others send to where the session may not listen",
    "what others send to a session without standing",
    "a file two levels below a folder of which one level is covered",
    "a file in a folder that no tool covers",
    "a file of the session's after it lost its standing",
    "a denied file on a file system without case",
    "a key of others",
    "a file that the session may only write",
    "",
    "",
];

/// All objects: one a line.
pub(crate) const OBJECTS: &[Object] = &[
    object("own", "/srv/hunt/own", Class::Held, Content::Folder),
    object("own/a", "/srv/hunt/own/a", Class::Held, Content::Text),
    object("own/b", "/srv/hunt/own/b", Class::Held, Content::Text),
    object("own/dir", "/srv/hunt/own/dir", Class::Held, Content::Folder),
    object("own/dir/c", "/srv/hunt/own/dir/c", Class::Held, Content::Text),
    object("own/run", "/srv/hunt/own/run", Class::Held, Content::Program),
    object("own/new", "/srv/hunt/own/new", Class::Held, Content::Nothing),
    object("own/dir/new", "/srv/hunt/own/dir/new", Class::Held, Content::Nothing),
    object("own/moved", "/srv/hunt/own/moved", Class::Held, Content::Nothing),
    object("own/moved/key", "/srv/hunt/own/moved/key", Class::Held, Content::Nothing),
    object("own/key", "/srv/hunt/own/key", Class::Never, Content::Secret(1)),
    object("ro", "/srv/hunt/ro", Class::ReadOnly, Content::Folder),
    object("ro/a", "/srv/hunt/ro/a", Class::ReadOnly, Content::Text),
    object("ro/new", "/srv/hunt/ro/new", Class::ReadOnly, Content::Nothing),
    object("put/a", "/srv/hunt/put/a", Class::WriteOnly, Content::Secret(21)),
    object("no", "/srv/hunt/no", Class::Never, Content::Folder),
    object("no/a", "/srv/hunt/no/a", Class::Never, Content::Secret(0)),
    object("no/dir", "/srv/hunt/no/dir", Class::Never, Content::Folder),
    object("no/dir/b", "/srv/hunt/no/dir/b", Class::Never, Content::Secret(17)),
    object("no/new", "/srv/hunt/no/new", Class::Never, Content::Nothing),
    object("spare", "/srv/hunt/spare", Class::Spare, Content::Folder),
    object("spare/a", "/srv/hunt/spare/a", Class::Spare, Content::Secret(2)),
    object("spare/new", "/srv/hunt/spare/new", Class::Spare, Content::Nothing),
    object("deadly/a", "/srv/hunt/deadly/a", Class::Deadly, Content::Text),
    object("star", "/srv/hunt/star", Class::Never, Content::Folder),
    object("star/sub", "/srv/hunt/star/sub", Class::Never, Content::Folder),
    object("star/sub/key", "/srv/hunt/star/sub/key", Class::Never, Content::Secret(16)),
    object("fat/key", "/srv/hunt/fat/secret.key", Class::Never, Content::Secret(19)),
    object("tty", "/dev/tty", Class::Never, Content::Found),
    object("given-0", "/proc/self/fd/0", Class::Never, Content::Found),
    object("given-1", "/proc/self/fd/1", Class::Never, Content::Found),
    object("victim-mem", "/run/hunt-victim/mem", Class::Never, Content::Found),
    object("victim-score", "/run/hunt-victim/oom_score_adj", Class::Never, Content::Found),
    object("group", "/sys/fs/cgroup", Class::Never, Content::Found),
    object("control", "/run/remit-test/socket/control.sock", Class::Never, Content::Found),
];

/// The family of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
    Unix,
    /// A unix socket whose name is no file's.
    Abstract,
}

impl Family {
    /// The number that the kernel has for it.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::V4 => libc::AF_INET,
            Self::V6 => libc::AF_INET6,
            Self::Unix | Self::Abstract => libc::AF_UNIX,
        }
    }
}

/// An endpoint.
pub(crate) struct Endpoint {
    pub(crate) name: &'static str,
    pub(crate) family: Family,
    /// `SOCK_STREAM` and so on.
    pub(crate) kind: i32,
    /// An address, a path, or an abstract name.
    pub(crate) host: &'static str,
    pub(crate) port: u16,
    pub(crate) class: Class,
    /// Whether a server of the hunt's is there; else it is one that the session may bind.
    pub(crate) served: bool,
}

const fn tcp(
    name: &'static str,
    family: Family,
    host: &'static str,
    port: u16,
    class: Class,
) -> Endpoint {
    Endpoint { name, family, kind: libc::SOCK_STREAM, host, port, class, served: true }
}

const fn udp(
    name: &'static str,
    family: Family,
    host: &'static str,
    port: u16,
    class: Class,
) -> Endpoint {
    Endpoint { name, family, kind: libc::SOCK_DGRAM, host, port, class, served: true }
}

const fn unix(name: &'static str, kind: i32, host: &'static str, class: Class) -> Endpoint {
    Endpoint { name, family: Family::Unix, kind, host, port: 0, class, served: true }
}

const fn own(
    name: &'static str,
    family: Family,
    kind: i32,
    host: &'static str,
    port: u16,
    class: Class,
) -> Endpoint {
    Endpoint { name, family, kind, host, port, class, served: false }
}

/// All endpoints: one a line.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    tcp("tcp-held", Family::V4, "127.0.0.1", 7801, Class::Held),
    tcp("tcp-never", Family::V4, "127.0.0.1", 7802, Class::Never),
    tcp("tcp-spare", Family::V4, "127.0.0.1", 7803, Class::Spare),
    tcp("tcp-host", Family::V4, "10.66.0.9", 7801, Class::Never),
    tcp("tcp6-held", Family::V6, "::1", 7801, Class::Held),
    tcp("tcp6-never", Family::V6, "::1", 7802, Class::Never),
    tcp("tcp6-spare", Family::V6, "::1", 7803, Class::Spare),
    udp("udp-held", Family::V4, "127.0.0.1", 7801, Class::Held),
    udp("udp-never", Family::V4, "127.0.0.1", 7802, Class::Never),
    udp("udp-spare", Family::V4, "127.0.0.1", 7803, Class::Spare),
    udp("udp-host", Family::V4, "10.66.0.9", 7801, Class::Never),
    udp("udp6-held", Family::V6, "::1", 7801, Class::Held),
    udp("udp6-never", Family::V6, "::1", 7802, Class::Never),
    udp("udp6-spare", Family::V6, "::1", 7803, Class::Spare),
    unix("stream-held", libc::SOCK_STREAM, "/srv/hunt/sock/held.s", Class::Held),
    unix("stream-never", libc::SOCK_STREAM, "/srv/hunt/sock/never.s", Class::Never),
    unix("stream-spare", libc::SOCK_STREAM, "/srv/hunt/sock/spare.s", Class::Spare),
    unix("datagram-held", libc::SOCK_DGRAM, "/srv/hunt/sock/held.d", Class::Held),
    unix("datagram-never", libc::SOCK_DGRAM, "/srv/hunt/sock/never.d", Class::Never),
    unix("datagram-spare", libc::SOCK_DGRAM, "/srv/hunt/sock/spare.d", Class::Spare),
    unix("packet-held", libc::SOCK_SEQPACKET, "/srv/hunt/sock/held.q", Class::Held),
    unix("packet-never", libc::SOCK_SEQPACKET, "/srv/hunt/sock/never.q", Class::Never),
    unix("packet-spare", libc::SOCK_SEQPACKET, "/srv/hunt/sock/spare.q", Class::Spare),
    own("own-tcp", Family::V4, libc::SOCK_STREAM, "127.0.0.1", 7811, Class::Held),
    own("own-tcp6", Family::V6, libc::SOCK_STREAM, "::1", 7811, Class::Held),
    own("own-udp6", Family::V6, libc::SOCK_DGRAM, "::1", 7811, Class::Held),
    own("own-udp", Family::V4, libc::SOCK_DGRAM, "127.0.0.1", 7811, Class::Held),
    own("other-udp", Family::V4, libc::SOCK_DGRAM, "127.0.0.1", 7812, Class::Never),
    own("other-tcp6", Family::V6, libc::SOCK_STREAM, "::1", 7812, Class::Never),
    own("own-stream", Family::Unix, libc::SOCK_STREAM, "/srv/hunt/own/own.s", 0, Class::Held),
    own("own-datagram", Family::Unix, libc::SOCK_DGRAM, "/srv/hunt/own/own.d", 0, Class::Held),
    own("own-packet", Family::Unix, libc::SOCK_SEQPACKET, "/srv/hunt/own/own.q", 0, Class::Held),
    own("own-abstract", Family::Abstract, libc::SOCK_STREAM, "hunt-own", 0, Class::Held),
];

/// Ports at which the session may listen.
pub(crate) const OWN_PORT: u16 = 7811;

/// In force throughout. `games` is the ordinary user.
pub(crate) const POLICY: &str = r#"
[tool.work]
files = [
  { paths = ["{workdir}/**"], access = ["read", "write", "create", "delete", "exec", "connect"] },
  { paths = ["/srv/hunt/star/*", "/srv/hunt/fat/*"], access = ["read", "write", "create", "delete"] },
  { paths = ["/srv/hunt/ro/**"], access = ["read"] },
  { paths = ["/srv/hunt/put/**"], access = ["write"] },
  { paths = ["/srv/hunt/sock/held.*"], access = ["connect"] },
]
network = [
  { cidrs = ["127.0.0.1/32", "::1/128"], ports = [7801] },
  { cidrs = ["127.0.0.1/32", "::1/128"], ports = [7801], protocol = "udp" },
  { cidrs = ["127.0.0.1/32", "0.0.0.0/32", "::1/128"], ports = [7811], direction = "listen" },
  { cidrs = ["127.0.0.1/32", "0.0.0.0/32", "::1/128"], ports = [7811], protocol = "udp", direction = "listen" },
]

[tool.spare]
files = [
  { paths = ["/srv/hunt/spare/**"], access = ["read", "write", "create", "delete"] },
  { paths = ["/srv/hunt/sock/spare.*"], access = ["connect"] },
]
network = [
  { cidrs = ["127.0.0.1/32", "::1/128"], ports = [7803] },
  { cidrs = ["127.0.0.1/32", "::1/128"], ports = [7803], protocol = "udp" },
]

[tool.deadly]
files = [{ paths = ["/srv/hunt/deadly/**"], access = ["read", "write"] }]
on_revoke = "kill"

[[deny]]
paths = ["/srv/hunt/own/key", "/srv/hunt/fat/secret.key"]
access = ["read", "write", "create", "delete", "exec"]

[profile.hunt]
tools = ["system", "work", "deadly"]
may_start = { users = ["games"] }
"#;

/// The user and the group of an ordinary user.
pub(crate) const ORDINARY: (u32, u32) = (5, 60);
