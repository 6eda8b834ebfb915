//! A session, as the daemon has it in memory and writes it to the state directory.

use std::collections::BTreeMap;

use agent_common::{
    authority::Mode,
    decision::Reason,
    id::{BootNanos, Slot, ToolBit},
};
use serde::{Deserialize, Serialize};

use super::{Id, clock::Moment};
use crate::policy::OnRevoke;

/// The user and process that did something.
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
    /// The daemon itself: it ends what has expired, and sessions without a process.
    pub fn daemon() -> Self {
        Self { uid: 0, user: "remitd".into(), pid: std::process::id() }
    }
}

/// Whether operations that the policy does not allow are refused, or only reported.
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

/// The state of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It can use its tools.
    Active,
    /// Everything is refused until an operator resumes it.
    Quarantined,
    /// It has ended.
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
    /// Its bit when it was granted. If the tool's name has another bit now, this grant is void.
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
    /// The tool's bit as its type.
    pub const fn tool_bit(&self) -> ToolBit {
        ToolBit(self.bit)
    }

    /// Whether it was in force at a moment.
    fn covers(&self, at: BootNanos) -> bool {
        self.from.boot <= at.0 && self.until.is_none_or(|until| at.0 < until.boot)
    }
}

impl Past {
    /// When it ended. The daemon notices an expiry a little later.
    fn end(&self) -> BootNanos {
        let until = self.grant.until.map_or(self.lost.boot, |until| until.boot);
        BootNanos(until.min(self.lost.boot))
    }
}

/// How a tool was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// It was revoked.
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

/// A tool that a session lost, and that some process may still profit from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The session.
    pub session: Id,
    /// The tool.
    pub tool: String,
    /// Its bit when it was held.
    pub bit: ToolBit,
    /// What the policy said happens to the processes that used it.
    pub on_revoke: OnRevoke,
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

/// A descriptor that the session was given at its start, as its starter described it.
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
    /// Its slot in the kernel's tables.
    pub slot: u32,
    /// Its name, unique among the live ones.
    pub name: String,
    /// Its profile.
    pub profile: String,
    /// What it is for.
    pub task: Option<String>,
    /// Who started it.
    pub owner: Actor,
    /// Its work folder, absolute.
    pub workdir: String,
    /// The values of the policy's `{variables}`, `workdir` included.
    pub variables: BTreeMap<String, String>,
    /// Whether operations that the policy does not allow are refused, or only reported.
    pub mode: Enforcement,
    /// Its state.
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
    /// The tools that it holds.
    pub grants: Vec<Grant>,
    /// The tools that it held, the oldest first.
    pub history: Vec<Past>,
    /// How it ended.
    pub ended: Option<Ending>,
    /// Whether a process was tagged. From then on the session ends when it has no process left.
    pub tagged: bool,
}

impl Session {
    /// The slot as its type.
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

    /// All grants, held or lost, that are remembered.
    pub fn ever(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().chain(self.history.iter().map(|past| &past.grant))
    }

    /// Whether it held a tool at a moment, by the grants that are remembered.
    pub fn held_at(&self, tool: &str, at: BootNanos) -> bool {
        let now = self.grants.iter().any(|grant| grant.tool == tool && grant.covers(at));
        let then =
            |past: &Past| past.grant.tool == tool && past.grant.covers(at) && at.0 < past.lost.boot;
        now || self.history.iter().any(then)
    }

    /// Why the session no longer held a tool at a moment: `revoked` or `expired`. None if it held the tool then, or
    /// never had.
    pub fn reason_for(&self, tool: &str, at: BootNanos) -> Option<Reason> {
        if self.held_at(tool, at) {
            return None;
        }
        if self.grant(tool).is_some_and(|grant| grant.from.boot <= at.0) {
            return Some(Reason::Expired);
        }
        let lost = |past: &&Past| past.grant.tool == tool && past.end() <= at;
        self.history.iter().rev().find(lost).map(|past| match past.how {
            Loss::Revoked | Loss::Dropped => Reason::Revoked,
            Loss::Expired => Reason::Expired,
        })
    }

    /// Removes grants, and adds them to the history with how they were lost.
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
        for grant in &gone {
            self.forget(|past| past.grant.tool == grant.tool, HISTORY_OF_TOOL);
        }
        self.forget(|_| true, HISTORY);
        gone
    }

    /// Forgets the oldest of the lost grants that match, if there are more than `most`.
    fn forget(&mut self, matches: impl Fn(&Past) -> bool, most: usize) {
        let count = self.history.iter().filter(|past| matches(past)).count();
        let mut surplus = count.saturating_sub(most);
        self.history.retain(|past| {
            let goes = surplus > 0 && matches(past);
            surplus -= usize::from(goes);
            !goes
        });
    }
}

/// How many lost grants of one tool a session remembers, the newest. Each change writes them all, so a tool that is
/// granted and revoked all the time must not add up.
const HISTORY_OF_TOOL: usize = 8;

/// How many lost grants a session remembers, the newest.
const HISTORY: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(boot: u64) -> Moment {
        Moment { wall: jiff::Timestamp::UNIX_EPOCH, boot }
    }

    fn grant(from: u64) -> Grant {
        Grant {
            tool: "github".into(),
            bit: 1,
            from: moment(from),
            until: None,
            given_by: Actor::daemon(),
            reason: None,
            source: Origin::Grant,
        }
    }

    #[test]
    fn reason_for_a_lost_tool_depends_on_the_moment() {
        let mut session = Session {
            id: Id::new(1, 1),
            slot: 0,
            name: "s".into(),
            profile: "p".into(),
            task: None,
            owner: Actor::daemon(),
            workdir: "/".into(),
            variables: BTreeMap::new(),
            mode: Enforcement::Enforce,
            state: Condition::Active,
            started: moment(0),
            expires: moment(100),
            pid: 1,
            parent: None,
            lineage: Vec::new(),
            passed_fds: Vec::new(),
            grants: vec![grant(10)],
            history: Vec::new(),
            ended: None,
            tagged: true,
        };
        session.lose(|_| true, Loss::Revoked, moment(20), &Actor::daemon());
        session.grants = vec![grant(30)];
        session.lose(|_| true, Loss::Expired, moment(40), &Actor::daemon());
        session.grants = vec![Grant { until: Some(moment(70)), ..grant(50) }];
        let reason = |at| session.reason_for("github", BootNanos(at));
        let all = [5, 10, 19, 20, 29, 30, 40, 50, 60, 70].map(reason);
        let (revoked, expired) = (Some(Reason::Revoked), Some(Reason::Expired));
        assert_eq!(all, [None, None, None, revoked, revoked, None, expired, None, None, expired]);
        assert!(session.held_at("github", BootNanos(15)));
        assert!(!session.held_at("github", BootNanos(25)));
        assert!(!session.held_at("other", BootNanos(15)));
    }
}
