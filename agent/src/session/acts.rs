//! Acts of control, and the interface by which they get into the log.

use serde::Serialize;

use super::{Actor, Id, Session};

/// The kinds of acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// A session started.
    Start,
    /// A tool was granted.
    Grant,
    /// A tool was revoked.
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
    /// A process was killed because it used a tool that its session lost.
    Kill,
    /// A process kept a file mapping by a tool that its session lost.
    LeaveMapped,
}

/// How an act went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in force.
    Done,
    /// The actor may not do it.
    Refused,
    /// It failed; nothing changed.
    Failed,
}

/// The part of a session that a record names.
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
    /// The kind of act.
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
    /// Who did it.
    pub by: Actor,
    /// The reason that was given.
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
    /// More on how it went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The session of the process that did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by_session: Option<Id>,
    /// How many such acts it sums up; `None` for a single act.
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

/// The log of control acts. It is called with the registry locked: it must neither call back nor wait long.
pub trait ActLog: Send {
    /// Logs one act. The log itself reports what it can't write.
    fn record(&mut self, control: Control);
}
