//! A session as the daemon knows it and writes it to its state directory.

use std::collections::BTreeMap;

use agent_common::{
    authority::Mode,
    decision::Reason,
    id::{BootNanos, Slot, ToolBit},
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

    /// Whether the moment is in the time for which it was given.
    fn covers(&self, at: BootNanos) -> bool {
        self.from.boot <= at.0 && self.until.is_none_or(|until| at.0 < until.boot)
    }
}

impl Past {
    /// When it ended: what has run out is noticed a little later.
    fn end(&self) -> BootNanos {
        let until = self.grant.until.map_or(self.lost.boot, |until| until.boot);
        BootNanos(until.min(self.lost.boot))
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

    /// What it holds and held, as far as it is remembered.
    pub fn ever(&self) -> impl Iterator<Item = &Grant> {
        self.grants.iter().chain(self.history.iter().map(|past| &past.grant))
    }

    /// Whether it held a tool at that moment, as far as it is remembered.
    pub fn held_at(&self, tool: &str, at: BootNanos) -> bool {
        let now = self.grants.iter().any(|grant| grant.tool == tool && grant.covers(at));
        let then =
            |past: &Past| past.grant.tool == tool && past.grant.covers(at) && at.0 < past.lost.boot;
        now || self.history.iter().any(then)
    }

    /// Why the session did not hold a tool at that moment which it had held before: `revoked` or
    /// `expired`. None for a tool that it held then, or had never held.
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
        for grant in &gone {
            self.forget(|past| past.grant.tool == grant.tool, HISTORY_OF_TOOL);
        }
        self.forget(|_| true, HISTORY);
        gone
    }

    /// Forgets the oldest of some lost grants, where there are more than `most`.
    fn forget(&mut self, some: impl Fn(&Past) -> bool, most: usize) {
        let count = self.history.iter().filter(|past| some(past)).count();
        let mut surplus = count.saturating_sub(most);
        self.history.retain(|past| {
            let goes = surplus > 0 && some(past);
            surplus -= usize::from(goes);
            !goes
        });
    }
}

/// Lost grants of one tool that a session remembers: the newest. A tool that is granted and taken back all
/// the time would else make each change write them all.
const HISTORY_OF_TOOL: usize = 8;

/// Lost grants that a session remembers: the newest.
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
    fn reason_is_that_of_the_moment_asked_for() {
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
