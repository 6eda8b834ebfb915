//! A checked policy: every reference resolves, every value is in range. Built by `check` alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use agent_common::{access::Rights, authority::Mode};
use ipnet::IpNet;

use super::{
    diagnostic::Diagnostic,
    pattern::PathPattern,
    place::Place,
    value::{Host, PortRange},
};

/// A whole policy: all files together.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The tools, by name.
    pub tools: BTreeMap<String, Tool>,
    /// The profiles, by name.
    pub profiles: BTreeMap<String, Profile>,
    /// What is denied, whatever is held.
    pub denials: Vec<Denial>,
    /// Sensitivity of data.
    pub data: Vec<Data>,
    /// Tools that are never held together.
    pub conflicts: Vec<Conflict>,
    /// The sensitivities that `data` names; the place is the bit in a label.
    pub sensitivities: Vec<String>,
    /// What the policy says that is not in force.
    pub warnings: Vec<Diagnostic>,
    /// SHA-256 of the sources, in hexadecimal.
    pub digest: String,
}

/// A named bundle of authority.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Where its table is.
    pub place: Place,
    /// For people.
    pub description: Option<String>,
    /// Files, and the rights on them.
    pub files: Vec<FileRule>,
    /// Endpoints.
    pub network: Vec<NetworkRule>,
    /// What happens to the processes that used it, when it is lost.
    pub on_revoke: OnRevoke,
    /// What a revocation takes back.
    pub recall: Recall,
    /// Whether set-id programs that it covers keep their privilege.
    pub setid: bool,
}

/// What happens to processes of a session that used a tool, when it is lost. The kernel lets go of nothing that it holds
/// without asking again: mappings, buffers that io_uring registered, pages in pipes, a copy that is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRevoke {
    /// Nothing: new uses are refused.
    #[default]
    Block,
    /// Who used it is killed, and what was forked by such since.
    Kill,
    /// Once one of them used it, all processes of the session are killed.
    KillSession,
}

/// What losing a tool takes from a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recall {
    /// Everything: what is open already can't be used any more.
    #[default]
    Descriptors,
    /// New uses alone: what is open stays usable.
    Opens,
}

/// Paths, and the rights that the tool has on them.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRule {
    /// The paths.
    pub paths: Arc<[PathPattern]>,
    /// The rights on each.
    pub access: Rights,
}

/// Endpoints that the tool may use.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkRule {
    /// Address ranges.
    pub cidrs: Vec<Cidr>,
    /// Host names. Not in force yet.
    pub hosts: Vec<Host>,
    /// Ports; never empty.
    pub ports: Vec<PortRange>,
    /// The transport.
    pub protocol: Protocol,
    /// Who opens the connection.
    pub direction: Direction,
}

/// An address range, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The range. A range of IPv4-mapped IPv6 addresses is given as the IPv4 range.
    pub net: IpNet,
    /// Where it stands.
    pub place: Place,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// Who opens the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The session.
    #[default]
    Connect,
    /// The other side.
    Listen,
}

/// Paths that are denied, whatever is held.
#[derive(Clone, Debug, PartialEq)]
pub struct Denial {
    /// Where its table is.
    pub place: Place,
    /// The paths.
    pub paths: Arc<[PathPattern]>,
    /// The rights that are denied.
    pub access: Rights,
}

/// Sensitivity of data, whichever tool reaches it. Recorded in labels; nothing follows from it yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// Where its table is.
    pub place: Place,
    /// The paths.
    pub paths: Arc<[PathPattern]>,
    /// One of [`Policy::sensitivities`].
    pub sensitivity: String,
}

/// Tools that are never held together. Not in force yet, but for what a profile holds from the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// Where its table is.
    pub place: Place,
    /// The tools, at least two.
    pub tools: Vec<String>,
}

/// A kind of agent or task.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Where its table is.
    pub place: Place,
    /// Whether refusals are carried out.
    pub mode: Mode,
    /// For people.
    pub description: Option<String>,
    /// The tools held from the start.
    pub tools: Vec<String>,
    /// How long a session lasts at most.
    pub session_ttl: Duration,
    /// What may be requested, by tool. Not in force yet.
    pub requests: BTreeMap<String, Request>,
    /// What its processes may take of the host at most.
    pub limits: Limits,
    /// Who, besides operators, may start a session.
    pub may_start: MayStart,
    /// Patterns of where its work folder may lie, of the variables `home` and `user`; none: anywhere that the
    /// starter may write.
    pub workdir: Vec<PathPattern>,
    /// The program whose start starts a session. Not in force yet.
    pub match_exe: Option<String>,
    /// What follows from what a session has done. Not in force yet.
    pub when: Vec<When>,
    /// The variables that the paths use of any tool that the profile can ever hold, of any denial or
    /// of any data.
    pub variables: BTreeSet<String>,
}

/// What all processes of a session together may take at most; what is none has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Processes and threads.
    pub tasks: Option<u32>,
    /// Bytes of memory.
    pub memory: Option<u64>,
}

impl Limits {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// How a tool may be requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where it stands.
    pub place: Place,
    /// How long a grant lasts at most.
    pub max_ttl: Duration,
    /// Who decides.
    pub approval: Approval,
    /// Whether a reason must be given.
    pub reason_required: bool,
}

/// Who decides on a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approval {
    /// The daemon, at once.
    Automatic,
    /// An operator.
    #[default]
    Operator,
}

/// Who may start a session; it gives no other right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MayStart {
    /// Users, by name.
    pub users: Vec<String>,
    /// Groups, by name.
    pub groups: Vec<String>,
    /// How many sessions of the profile each user of them may have at once.
    pub sessions: u32,
}

impl MayStart {
    /// How many sessions where the policy does not say.
    const SESSIONS: u32 = 20;
}

impl Default for MayStart {
    fn default() -> Self {
        Self { users: Vec::new(), groups: Vec::new(), sessions: Self::SESSIONS }
    }
}

/// What a session loses by what it has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// Where its table is.
    pub place: Place,
    /// The sensitivity touched.
    pub tainted: String,
    /// The tools that are lost.
    pub lose: Vec<String>,
}
