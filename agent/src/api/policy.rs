//! What goes over the wire about the policy.

use serde::{Deserialize, Serialize};

use crate::policy::Diagnostic;

/// `GET /v1/policy`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PolicyView {
    /// Its number.
    pub generation: u32,
    /// SHA-256 of its files.
    pub digest: String,
    /// Its folder.
    pub dir: String,
    /// Its tools.
    pub tools: Vec<ToolView>,
    /// Its profiles.
    pub profiles: Vec<ProfileView>,
    /// What it says that is not in force.
    pub warnings: Vec<Diagnostic>,
}

/// A tool of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolView {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Live sessions that hold it.
    pub holders: u64,
}

/// A profile of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileView {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// `enforce` or `audit`.
    pub mode: String,
    /// Tools held from the start.
    pub tools: Vec<String>,
    /// Tools that may be requested.
    pub requests: Vec<String>,
    /// The longest session, in seconds.
    pub session_ttl_seconds: u64,
    /// Variables that its sessions need.
    pub variables: Vec<String>,
}

/// How much a policy says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySize {
    /// Tools.
    pub tools: usize,
    /// Profiles.
    pub profiles: usize,
    /// Path patterns, over tools, denials and data.
    pub path_rules: usize,
    /// Network endpoints.
    pub network_rules: usize,
}

/// A policy file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Its name in the policy's folder.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// `POST /v1/policy` and `POST /v1/policy/check`: files to put beside those that are there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushRequest {
    /// The files; one of a name that is there replaces it.
    #[serde(default)]
    pub files: Vec<PolicyFile>,
}

/// `POST /v1/policy/reload`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadRequest {
    /// Only say what would change.
    pub dry_run: bool,
}

/// What a policy has changed, or would change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PolicyChange {
    /// The number of the policy in force after it.
    pub generation: u32,
    /// Whether it was only tried.
    pub dry_run: bool,
    /// How much it says.
    pub size: PolicySize,
    /// Tools that were not there before.
    pub added: Vec<String>,
    /// Tools that are not there any more.
    pub dropped: Vec<String>,
    /// Sessions that lost tools by it.
    pub lost: Vec<SessionLoss>,
    /// What it says that is not in force.
    pub warnings: Vec<Diagnostic>,
}

/// What a session lost by a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionLoss {
    /// Its name.
    pub session: String,
    /// The tools.
    pub tools: Vec<String>,
}

/// The answer to `POST /v1/policy/check`, when nothing is wrong.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CheckAnswer {
    /// How much the policy says.
    pub size: PolicySize,
    /// What it says that is not in force.
    pub warnings: Vec<Diagnostic>,
}

/// `POST /v1/policy/explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The session, by name or id.
    pub session: String,
    /// What would be tried: an operation (`file.open`), or an access right (`read`).
    pub operation: String,
    /// On what: a path, or `ADDRESS:PORT`.
    pub object: String,
}

/// What would be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The session's name.
    pub session: String,
    /// What would be tried.
    pub operation: String,
    /// On what.
    pub object: String,
    /// The rights asked for.
    pub access: Vec<String>,
    /// `allowed`, `denied` or `would_deny`.
    pub verdict: String,
    /// Why it would be refused.
    pub reason: Option<String>,
    /// The tools held that cover it.
    pub allowed_by: Vec<String>,
    /// The tools whose grant would allow it.
    pub would_allow: Vec<String>,
    /// The rule that denies it to everybody.
    pub denied_by: Option<RuleView>,
    /// The rules of the policy that speak of it.
    pub rules: Vec<RuleView>,
}

/// A rule of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// The policy file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// What stands there.
    pub text: String,
    /// `tool`, `deny`, `data`, or `builtin` for Remit's own.
    pub kind: String,
    /// The tool that it belongs to.
    pub tool: Option<String>,
}
