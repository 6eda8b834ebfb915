//! Control acts, as the log is told of them.

use serde::Serialize;

use super::{Actor, Id, Session};

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// A session started.
    Start,
    /// A tool was granted.
    Grant,
    /// A tool was taken back.
    Revoke,
    /// A grant ran out.
    Expire,
    /// A session was quarantined.
    Quarantine,
    /// A quarantined session was resumed.
    Resume,
    /// A session ended.
    End,
    /// A session was found at the daemon's start and taken over.
    Adopt,
    /// The policy was read again and put in force.
    Reload,
    /// Policy files were sent and put in force.
    Push,
    /// The daemon started and put the policy in force.
    DaemonStart,
    /// The policy no longer has a tool that a session held.
    Drop,
    /// A process was killed for what it has mapped.
    Kill,
    /// A process was left what it has mapped.
    LeaveMapped,
}

/// How an act went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in force.
    Done,
    /// Whoever asked may not.
    Refused,
    /// It could not be done; nothing changed.
    Failed,
}

/// A session, as far as a record names it.
#[derive(Clone, Debug, Serialize)]
pub struct Subject {
    /// Its identity.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// Its profile.
    pub profile: String,
    /// What it is for.
    pub task: Option<String>,
    /// Its ancestors.
    pub lineage: Vec<Id>,
}

impl From<&Session> for Subject {
    fn from(session: &Session) -> Self {
        Self {
            id: session.id,
            name: session.name.clone(),
            profile: session.profile.clone(),
            task: session.task.clone(),
            lineage: session.lineage.clone(),
        }
    }
}

/// One control act.
#[derive(Clone, Debug, Serialize)]
pub struct Control {
    /// What was done.
    pub act: Act,
    /// To which session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<Subject>,
    /// The tools concerned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Until when a grant holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::Timestamp>,
    /// By whom.
    pub by: Actor,
    /// Why, as far as somebody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The policy in force after a reload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// That policy's digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// How it went.
    pub outcome: Outcome,
    /// More of how it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The session that who did it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_session: Option<Id>,
    /// How many such acts it stands for, where it is not one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl Control {
    /// An act on a session.
    pub fn of(act: Act, session: &Session, by: &Actor) -> Self {
        Self { session: Some(session.into()), ..Self::new(act, by) }
    }

    /// An act on no session.
    pub fn new(act: Act, by: &Actor) -> Self {
        Self {
            act,
            session: None,
            tools: Vec::new(),
            until: None,
            by: by.clone(),
            reason: None,
            generation: None,
            digest: None,
            outcome: Outcome::Done,
            detail: None,
            by_session: None,
            count: None,
        }
    }
}

/// Who writes control acts down. Called with the registry held: it must not call back, nor wait long.
pub trait Witness: Send {
    /// Writes one act down. What can't be written is the witness's to report.
    fn record(&mut self, control: Control);
}
