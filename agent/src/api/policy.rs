//! The interface's types on the policy.

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
    /// Warnings: parts that have no effect yet.
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

/// The size of a policy.
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
    /// Its text.
    pub text: String,
}

/// `POST /v1/policy` and `POST /v1/policy/check`: files to add to the policy's folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushRequest {
    /// The files; one with the name of an existing file replaces that.
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

/// What a policy changed, or would change.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PolicyChange {
    /// The generation of the policy.
    pub generation: u32,
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// Its size.
    pub size: PolicySize,
    /// New tools.
    pub added: Vec<String>,
    /// Tools that the policy no longer has.
    pub dropped: Vec<String>,
    /// Sessions that lost tools.
    pub lost: Vec<SessionLoss>,
    /// Warnings: parts that have no effect yet.
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
    /// The policy's size.
    pub size: PolicySize,
    /// Warnings: parts that have no effect yet.
    pub warnings: Vec<Diagnostic>,
}

/// `POST /v1/policy/explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The session, by name or id.
    pub session: String,
    /// The operation (`file.open`), or an access right (`read`).
    pub operation: String,
    /// The object: a path, or `ADDRESS:PORT`.
    pub object: String,
}

/// What would be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The session's name.
    pub session: String,
    /// The operation.
    pub operation: String,
    /// The object.
    pub object: String,
    /// Where its path leads, if there is a symbolic link on its way. What is there is explained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leads: Option<Leads>,
    /// The rights asked for.
    pub access: Vec<String>,
    /// `allowed`, `denied` or `would_deny`.
    pub verdict: String,
    /// Why it would be refused.
    pub reason: Option<String>,
    /// The tools that the session holds and that cover it.
    pub allowed_by: Vec<String>,
    /// The tools whose grant would allow it.
    pub would_allow: Vec<String>,
    /// The rule that denies it, whatever tools are held.
    pub denied_by: Option<RuleView>,
    /// The rules of the policy that concern it.
    pub rules: Vec<RuleView>,
}

/// Where a path leads by symbolic links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leads {
    /// The first link.
    pub link: String,
    /// The path without links.
    pub to: String,
}

/// A rule of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleView {
    /// The policy file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The rule's path or address range.
    pub text: String,
    /// `tool`, `deny`, `data`, or `builtin` for Remit's own.
    pub kind: String,
    /// The tool that it belongs to.
    pub tool: Option<String>,
}
