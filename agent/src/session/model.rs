//! A session as the daemon knows it and writes it to its state directory.

use std::collections::BTreeMap;

use agent_common::{
    authority::Mode,
    decision::Reason,
    id::{Slot, ToolBit},
};
use serde::{Deserialize, Serialize};

use super::{Id, clock::Moment};

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// User id.
    pub uid: u32,
    /// User name, or the number where there is none.
    pub user: String,
    /// Process id.
    pub pid: u32,
}

impl Actor {
    /// The daemon itself: expiries, sessions without a process.
    pub fn daemon() -> Self {
        Self { uid: 0, user: "remitd".into(), pid: std::process::id() }
    }
}

/// Whether refusals are carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enforcement {
    /// Refuse.
    Enforce,
    /// Report only.
    Audit,
}

impl From<Mode> for Enforcement {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Enforce => Self::Enforce,
            Mode::Audit => Self::Audit,
        }
    }
}

impl From<Enforcement> for Mode {
    fn from(mode: Enforcement) -> Self {
        match mode {
            Enforcement::Enforce => Self::Enforce,
            Enforcement::Audit => Self::Audit,
        }
    }
}

/// What a session may do at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It uses what it holds.
    Active,
    /// Everything is refused until an operator resumes it.
    Quarantined,
    /// It is over.
    Ended,
}

/// Where a grant comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Held from the start, by the profile.
    Profile,
    /// Granted to the running session.
    Grant,
}

/// A tool that the session holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The tool's name.
    pub tool: String,
    /// Its bit when it was granted. A name that has another bit now is not this grant.
    pub bit: u16,
    /// Since when.
    pub from: Moment,
    /// Until when; the session's end if none.
    pub until: Option<Moment>,
    /// By whom.
    pub given_by: Actor,
    /// What for.
    pub reason: Option<String>,
    /// Profile or grant.
    pub source: Origin,
}

impl Grant {
    /// The tool's bit as a type of its own.
    pub const fn tool_bit(&self) -> ToolBit {
        ToolBit(self.bit)
    }
}

/// How a tool was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Somebody took it back.
    Revoked,
    /// Its time was up.
    Expired,
    /// The policy no longer has it.
    Dropped,
}

/// A tool that the session held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// What was granted.
    #[serde(flatten)]
    pub grant: Grant,
    /// When it was lost.
    pub lost: Moment,
    /// How.
    pub how: Loss,
    /// By whom.
    pub by: Actor,
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// When.
    pub at: Moment,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub reason: String,
}

/// A descriptor that the session was given at its start, as the one who started it described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedFd {
    /// Its number.
    pub fd: u32,
    /// What it refers to: a path, `pipe:[…]`, `socket:[…]`.
    pub target: String,
}

/// One run of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its identity.
    pub id: Id,
    /// Its place in the kernel's table.
    pub slot: u32,
    /// Its name, unique among the live ones.
    pub name: String,
    /// Its profile.
    pub profile: String,
    /// What it is for.
    pub task: Option<String>,
    /// Whose it is.
    pub owner: Actor,
    /// Its work folder, absolute.
    pub workdir: String,
    /// What fills the policy's `{variables}`, `workdir` among them.
    pub variables: BTreeMap<String, String>,
    /// Whether refusals are carried out.
    pub mode: Enforcement,
    /// Whether it uses what it holds.
    pub state: Condition,
    /// When it started.
    pub started: Moment,
    /// When it ends by itself.
    pub expires: Moment,
    /// The process that started it.
    pub pid: u32,
    /// Its parent session.
    pub parent: Option<Id>,
    /// Its ancestors, the nearest first.
    pub lineage: Vec<Id>,
    /// Descriptors given to it.
    pub passed_fds: Vec<PassedFd>,
    /// What it holds.
    pub grants: Vec<Grant>,
    /// What it held, the oldest first.
    pub history: Vec<Past>,
    /// How it ended.
    pub ended: Option<Ending>,
    /// Whether a process was tagged: from then on a session without a process is over.
    pub tagged: bool,
}

impl Session {
    /// The slot as a type of its own.
    pub const fn slot(&self) -> Slot {
        Slot(self.slot)
    }

    /// Whether it has not ended.
    pub fn is_live(&self) -> bool {
        self.state != Condition::Ended
    }

    /// The grant of a tool that it holds.
    pub fn grant(&self, tool: &str) -> Option<&Grant> {
        self.grants.iter().find(|grant| grant.tool == tool)
    }

    /// Why the session does not hold a tool that it held: `revoked` or `expired`. None for a tool
    /// that it holds, or never held.
    pub fn reason_for(&self, tool: &str) -> Option<Reason> {
        if self.grant(tool).is_some() {
            return None;
        }
        self.history.iter().rev().find(|past| past.grant.tool == tool).map(|past| match past.how {
            Loss::Revoked | Loss::Dropped => Reason::Revoked,
            Loss::Expired => Reason::Expired,
        })
    }

    /// Takes grants out and remembers how they were lost.
    pub(super) fn lose(
        &mut self,
        lost: impl Fn(&Grant) -> bool,
        how: Loss,
        at: Moment,
        by: &Actor,
    ) -> Vec<Grant> {
        let (gone, kept) = std::mem::take(&mut self.grants).into_iter().partition(lost);
        self.grants = kept;
        let gone: Vec<Grant> = gone;
        self.history.extend(gone.iter().cloned().map(|grant| Past {
            grant,
            lost: at,
            how,
            by: by.clone(),
        }));
        let surplus = self.history.len().saturating_sub(HISTORY);
        self.history.drain(..surplus);
        gone
    }
}

/// Lost grants that a session remembers: the newest.
const HISTORY: usize = 512;
