//! Lines on acts of control: who did what to which session, and how it went.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Session, new_id};
use crate::incident::time::Time;

/// An act of control.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// A ULID.
    pub id: String,
    /// When.
    pub time: Time,
    /// The host's name.
    pub host: String,
    /// What was done.
    pub act: Act,
    /// Who did it.
    pub by: Actor,
    /// The session.
    pub session: Option<Session>,
    /// The tool, of acts that concern one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Until when it is granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// The reason that was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The generation of the policy in force afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<u32>,
    /// How it went.
    pub outcome: Outcome,
    /// More of how it went: the error's text, or what a reload changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How many attempts it sums up, if it is the summary of attempts without a line each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl Control {
    /// An act that was done now, without further details.
    pub fn new(host: impl Into<String>, act: Act, by: Actor) -> Self {
        let time = Time::now();
        Self {
            id: new_id(time),
            time,
            host: host.into(),
            act,
            by,
            session: None,
            tool: None,
            until: None,
            reason: None,
            policy: None,
            outcome: Outcome::Done,
            detail: None,
            count: None,
        }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// A session was started.
    Start,
    /// A running process was made a session.
    Attach,
    /// A tool was granted.
    Grant,
    /// A tool was revoked.
    Revoke,
    /// A session asked for a tool.
    Request,
    /// A request was approved.
    Approve,
    /// A request was turned down.
    Deny,
    /// A session was ended.
    End,
    /// A process was killed because it used a tool that its session lost.
    Kill,
    /// A process kept a file mapping by a tool that its session lost.
    LeaveMapped,
    /// A session was put in quarantine.
    Quarantine,
    /// A quarantined session was resumed.
    Resume,
    /// The policy was read again.
    Reload,
    /// Policy files were sent.
    Push,
    /// The daemon started.
    DaemonStart,
    /// The daemon stopped.
    DaemonStop,
    /// Enforcement was removed from the host.
    Teardown,
}

impl Act {
    /// The name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Attach => "attach",
            Self::Grant => "grant",
            Self::Revoke => "revoke",
            Self::Request => "request",
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::End => "end",
            Self::Kill => "kill",
            Self::LeaveMapped => "leave_mapped",
            Self::Quarantine => "quarantine",
            Self::Resume => "resume",
            Self::Reload => "reload",
            Self::Push => "push",
            Self::DaemonStart => "daemon_start",
            Self::DaemonStop => "daemon_stop",
            Self::Teardown => "teardown",
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// How an act of control went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in force.
    Done,
    /// The actor may not do it.
    Refused,
    /// It failed; nothing changed.
    Failed,
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// User id.
    pub uid: u32,
    /// User name, if the id has one.
    pub user: Option<String>,
    /// Process id.
    pub pid: u32,
    /// The identity of the session that the process belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}
