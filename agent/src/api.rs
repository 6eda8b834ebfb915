//! The control interface: HTTP with JSON on the control socket, under `/v1/`.
//!
//! The types here are version 1 of the interface: plain data, without types of the kernel side or the registry, so that
//! neither can change what scripts see. [`server`] answers, [`client`] asks.

pub mod client;
mod policy;
pub mod server;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::policy::Diagnostic;

pub use policy::{
    CheckAnswer, ExplainRequest, Explanation, Leads, PolicyChange, PolicyFile, PolicySize,
    PolicyView, ProfileView, PushRequest, ReloadRequest, RuleView, SessionLoss, ToolView,
};

/// The header of answers to operators with what the daemon can't do at the moment, one for each trouble.
pub const WARNING: &str = "remit-warning";

/// The answer to a request that changed nothing, with a status of 400 or more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// What went wrong.
    pub error: FailureBody,
}

/// What went wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FailureBody {
    /// The kind of error, for programs.
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
    /// What would be right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// All that is wrong with a policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Diagnostic>,
}

/// `POST /v1/sessions`: starts a session and tags the process that asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The profile.
    pub profile: String,
    /// What the session is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Its work folder, absolute.
    pub workdir: String,
    /// How long it may last: `90s`, `15m`, `8h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Values of the policy's variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
    /// The descriptors that the session gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_fds: Vec<PassedFd>,
}

/// The answer to `POST /v1/sessions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// The session.
    #[serde(flatten)]
    pub session: Session,
    /// What the profile changes in the command's environment.
    #[serde(default)]
    pub environment: Environment,
    /// What the starter should know, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Changes to the environment of a session's command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// What is set.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Names to leave out, each with at most one `*`.
    #[serde(default)]
    pub drop: Vec<String>,
}

/// A descriptor that a session was given at its start, as its starter described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedFd {
    /// Its number.
    pub fd: u32,
    /// What it refers to: a path, `pipe:[…]`, `socket:[…]`.
    pub target: String,
}

/// `POST /v1/sessions/{s}/grants`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRequest {
    /// The tool.
    pub tool: String,
    /// For how long: `90s`, `15m`, `8h`.
    pub ttl: String,
    /// What for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The user and process that did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// User id.
    pub uid: u32,
    /// User name.
    pub user: String,
    /// Process id.
    pub pid: u32,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// 16 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its profile.
    pub profile: String,
    /// What it is for.
    pub task: Option<String>,
    /// Who started it.
    pub owner: Actor,
    /// Its work folder.
    pub workdir: String,
    /// Values of the policy's variables.
    pub variables: BTreeMap<String, String>,
    /// `enforce` or `audit`.
    pub mode: String,
    /// `active`, `quarantined` or `ended`.
    pub state: String,
    /// When it started.
    pub started: Timestamp,
    /// When it ends by itself.
    pub expires: Timestamp,
    /// Seconds until then; zero once it has ended.
    pub left_seconds: u64,
    /// The process that started it.
    pub pid: u32,
    /// Live tasks, by the kernel's count.
    pub tasks: Option<u64>,
    /// Its parent.
    pub parent: Option<String>,
    /// Its ancestors, the nearest first.
    pub lineage: Vec<String>,
    /// Its slot in the kernel's tables.
    pub slot: u32,
    /// The tools that it holds.
    pub tools: Vec<Grant>,
    /// The tools that it held and lost, the oldest first.
    pub history: Vec<Past>,
    /// The descriptors that it was given.
    pub passed_fds: Vec<PassedFd>,
    /// How it ended.
    pub ended: Option<Ending>,
    /// The folder of its control group, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_group: Option<String>,
}

/// A tool that a session holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// The tool.
    pub tool: String,
    /// Since when.
    pub from: Timestamp,
    /// Until when; the session's end if null.
    pub until: Option<Timestamp>,
    /// Seconds until then, or until the session's end.
    pub left_seconds: u64,
    /// By whom.
    pub given_by: Actor,
    /// What for.
    pub reason: Option<String>,
    /// `profile` or `grant`.
    pub source: String,
}

/// A tool that a session held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// The tool.
    pub tool: String,
    /// Since when.
    pub from: Timestamp,
    /// Until when it would have held it.
    pub until: Option<Timestamp>,
    /// When it lost it.
    pub lost: Timestamp,
    /// `revoked`, `expired`, or `dropped` with a policy.
    pub how: String,
    /// By whom.
    pub by: Actor,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: String,
}

/// `GET /v1/sessions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionList {
    /// The sessions, the oldest first.
    pub sessions: Vec<Session>,
    /// What the daemon can't do at the moment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `DELETE /v1/sessions/{s}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndAnswer {
    /// The session.
    pub session: Session,
    /// Processes that were killed.
    pub killed: u64,
}

/// `GET /v1/whoami`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WhoAmI {
    /// The session that the asking process belongs to.
    pub session: Option<Session>,
    /// The asking process.
    pub peer: Actor,
    /// Whether it is an operator.
    pub operator: bool,
    /// The profiles that it may start.
    pub may_start: Vec<String>,
    /// The programs that some of them are for: names and paths.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub programs: BTreeMap<String, Vec<String>>,
}

/// `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`, or `degraded` if there are warnings.
    pub status: String,
    /// The daemon's version.
    pub version: String,
    /// The policy in force.
    pub generation: u32,
    /// Live sessions.
    pub sessions: u64,
    /// Whether sessions have control groups, and where, in a sentence.
    #[serde(default)]
    pub control_groups: String,
    /// What the daemon can't do at the moment, for operators.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// `GET /v1/canary`: the canary's last report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// `ok`, `failed`, `late` (the last run is older than two intervals), `pending` (the first is to
    /// come), `off`, or `behind` (all was refused, and the log is too far behind to have all reports).
    pub state: String,
    /// How often it runs; null for never.
    pub interval_seconds: Option<u64>,
    /// When the last run ended.
    pub last_run: Option<Timestamp>,
    /// Seconds since then.
    pub age_seconds: Option<f64>,
    /// What the last run found, in one sentence.
    pub message: Option<String>,
    /// Runs since the daemon's start.
    pub runs: u64,
    /// Runs that found something wrong.
    pub failures: u64,
    /// The tries of the last run.
    pub tries: Vec<CanaryTry>,
}

pub use crate::incident::CanaryTry;

/// The query of `GET /v1/incidents`. Without `kind` and `all`: refusals, losses, and reports of the canary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IncidentQuery {
    /// Of this session, by name or id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Not before: a time, or an age (`90s`, `15m`, `8h`, `7d`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Before: a time or an age.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Of this operation, or of a family of them: `net.`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// With this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `denied` or `would_deny`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// `incident`, `control`, `lost`, `repaired` or `canary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// With this entry of a public list: `ASI02`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// At most so many, the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Control acts and repairs too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// One JSON object a line, as in the log.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub lines: bool,
    /// One JSON object a line, and then those still to come.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
}
