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
    environment::Environment,
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
    /// The denials, which beat every tool.
    pub denials: Vec<Denial>,
    /// The sensitivity of data.
    pub data: Vec<Data>,
    /// Conflicts of tools.
    pub conflicts: Vec<Conflict>,
    /// The sensitivities that `data` names; the index is the bit in a label.
    pub sensitivities: Vec<String>,
    /// Warnings: parts of the policy that have no effect yet.
    pub warnings: Vec<Diagnostic>,
    /// SHA-256 of the sources, in hexadecimal.
    pub digest: String,
}

/// A named bundle of authority.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// The place of its table.
    pub place: Place,
    /// For people.
    pub description: Option<String>,
    /// Files, and the rights on them.
    pub files: Vec<FileRule>,
    /// Endpoints.
    pub network: Vec<NetworkRule>,
    /// What happens to the processes that used it when it is lost.
    pub on_revoke: OnRevoke,
    /// What a revocation ends.
    pub recall: Recall,
    /// Whether set-id programs that it covers keep their privilege.
    pub setid: bool,
}

/// What happens to the processes that used a tool when their session loses it. The kernel keeps some things for a
/// process that no hook sees used: mappings, buffers registered with io_uring, pages in pipes, a copy that is under
/// way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRevoke {
    /// Nothing: new uses are refused.
    #[default]
    Block,
    /// Processes that used it are killed, with those that they forked since.
    Kill,
    /// If any process used it, all processes of the session are killed.
    KillSession,
}

/// What a session loses with a tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recall {
    /// Everything: open files and connections can't be used any more.
    #[default]
    Descriptors,
    /// Only new uses: open files and connections stay usable.
    Opens,
}

/// Paths, and the rights that the tool has on them.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRule {
    /// The paths.
    pub paths: Arc<[PathPattern]>,
    /// Where the rule does not hold.
    pub except: Arc<[PathPattern]>,
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
    /// The direction of a connection: which side opens it.
    pub direction: Direction,
}

/// The first port that the kernel chooses from: its range (`net.ipv4.ip_local_port_range`) begins after the privileged
/// ports.
const FIRST_CHOSEN: u16 = 1024;

impl NetworkRule {
    /// Whether the rule is on a port. Zero is the port of a socket that listens without being bound: whichever the
    /// kernel chooses.
    pub fn is_on(&self, port: u16) -> bool {
        let has = |port| self.ports.iter().any(|range| range.contains(port));
        let listens = self.direction == Direction::Listen;
        has(port) || (port == 0 && listens && (FIRST_CHOSEN..=u16::MAX).all(has))
    }
}

/// An address range and its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The range. A range of IPv4-mapped IPv6 addresses is given as the IPv4 range.
    pub net: IpNet,
    /// Its place in the file.
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

/// The direction of a connection: which side opens it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The session.
    #[default]
    Connect,
    /// The other side.
    Listen,
}

/// Paths that are denied, whatever tools are held.
#[derive(Clone, Debug, PartialEq)]
pub struct Denial {
    /// The place of its table.
    pub place: Place,
    /// The paths.
    pub paths: Arc<[PathPattern]>,
    /// Where the denial does not hold.
    pub except: Arc<[PathPattern]>,
    /// The rights that are denied.
    pub access: Rights,
}

/// The sensitivity of data, by whatever tool it is reached. Recorded in labels, and without effect yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// The place of its table.
    pub place: Place,
    /// The paths.
    pub paths: Arc<[PathPattern]>,
    /// Where the rule does not hold.
    pub except: Arc<[PathPattern]>,
    /// One of [`Policy::sensitivities`].
    pub sensitivity: String,
}

/// Tools that may never be held together. Only checked for the tools that a profile holds from the start.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The place of its table.
    pub place: Place,
    /// The tools, at least two.
    pub tools: Vec<String>,
}

/// A kind of agent or task.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The place of its table.
    pub place: Place,
    /// Whether operations are refused, or only reported.
    pub mode: Mode,
    /// For people.
    pub description: Option<String>,
    /// The tools held from the start.
    pub tools: Vec<String>,
    /// How long a session lasts at most.
    pub session_ttl: Duration,
    /// What may be requested, by tool. Not in force yet.
    pub requests: BTreeMap<String, Request>,
    /// The limits of its processes.
    pub limits: Limits,
    /// Who, besides operators, may start a session.
    pub may_start: MayStart,
    /// Patterns that the work folder has to match, with the variables `home` and `user`; empty for any folder that the
    /// starter may write.
    pub workdir: Vec<PathPattern>,
    /// The program that starts a session when it is started. Not in force yet.
    pub match_exe: Option<String>,
    /// Names and paths of programs by which `remit run` finds the profile.
    pub programs: Vec<String>,
    /// What follows from what a session has done. Not in force yet.
    pub when: Vec<When>,
    /// Changes to the environment of the session's command.
    pub environment: Environment,
    /// The variables that need a value in the environment, and in the paths of all tools that the profile can ever hold,
    /// of all denials, and of all data.
    pub variables: BTreeSet<String>,
}

/// The limits of all processes of a session together; `None` for no limit.
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
    /// Its place in the file.
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

/// Who may start a session, besides operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MayStart {
    /// Users, by name.
    pub users: Vec<String>,
    /// Groups, by name.
    pub groups: Vec<String>,
    /// How many sessions of the profile each of these users may have at once.
    pub sessions: u32,
}

impl MayStart {
    /// The default number of sessions.
    const SESSIONS: u32 = 20;
}

impl Default for MayStart {
    fn default() -> Self {
        Self { users: Vec::new(), groups: Vec::new(), sessions: Self::SESSIONS }
    }
}

/// What a session loses by what it did. Not in force yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// The place of its table.
    pub place: Place,
    /// The sensitivity touched.
    pub tainted: String,
    /// The tools that are lost.
    pub lose: Vec<String>,
}
