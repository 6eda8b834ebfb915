//! Turns the registry's acts into lines of the log.

use crate::{
    incident::{Act, Actor, Control, Outcome, Session, Time},
    session::acts::{self, Subject},
};

/// The lines of one act: one for each tool if it concerns several.
pub(super) fn records(host: &str, control: &acts::Control) -> Vec<Control> {
    let Some((act, reason)) = act(control.act) else { return Vec::new() };
    let by = Actor {
        uid: control.by.uid,
        user: Some(control.by.user.clone()),
        pid: control.by.pid,
        session: control.by_session.map(|id| id.to_string()),
    };
    let base = Control {
        session: control.session.as_ref().map(named),
        until: control.until.map(Time::new),
        reason: control.reason.clone().or_else(|| reason.map(str::to_owned)),
        policy: control.generation,
        outcome: outcome(control.outcome),
        detail: control.detail.clone(),
        count: control.count,
        ..Control::new(host, act, by)
    };
    if matches!((control.act, control.outcome), (acts::Act::Start, acts::Outcome::Done)) {
        let tools = control.tools.join(", ");
        let remark = base.detail.as_ref().map(|remark| format!("; {remark}")).unwrap_or_default();
        return vec![Control { detail: Some(format!("tools: {tools}{remark}")), ..base }];
    }
    if let Some(digest) = &control.digest {
        return vec![Control { detail: Some(format!("policy {digest}")), ..base }];
    }
    if control.tools.is_empty() {
        return vec![base];
    }
    let of_tool = |tool: &String| Control {
        id: Control::new(host, act, base.by.clone()).id,
        tool: Some(tool.clone()),
        ..base.clone()
    };
    control.tools.iter().map(of_tool).collect()
}

/// The log's name of an act, and the reason that the act implies. Taking over a session is not logged: nobody did
/// anything.
fn act(act: acts::Act) -> Option<(Act, Option<&'static str>)> {
    Some(match act {
        acts::Act::Start => (Act::Start, None),
        acts::Act::Grant => (Act::Grant, None),
        acts::Act::Revoke => (Act::Revoke, None),
        acts::Act::Expire => (Act::Revoke, Some("expired")),
        acts::Act::Drop => (Act::Revoke, Some("the policy no longer has it")),
        acts::Act::Quarantine => (Act::Quarantine, None),
        acts::Act::Resume => (Act::Resume, None),
        acts::Act::End => (Act::End, None),
        acts::Act::Reload => (Act::Reload, None),
        acts::Act::Push => (Act::Push, None),
        acts::Act::DaemonStart => (Act::DaemonStart, None),
        acts::Act::Kill => (Act::Kill, None),
        acts::Act::LeaveMapped => (Act::LeaveMapped, None),
        acts::Act::Adopt => return None,
    })
}

fn outcome(outcome: acts::Outcome) -> Outcome {
    match outcome {
        acts::Outcome::Done => Outcome::Done,
        acts::Outcome::Refused => Outcome::Refused,
        acts::Outcome::Failed => Outcome::Failed,
    }
}

fn named(subject: &Subject) -> Session {
    Session {
        id: subject.id.to_string(),
        name: subject.name.clone(),
        profile: subject.profile.clone(),
        task: subject.task.clone().unwrap_or_default(),
        lineage: subject.lineage.iter().map(ToString::to_string).collect(),
    }
}
