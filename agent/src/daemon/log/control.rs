//! From the registry's acts to the log's lines.

use crate::{
    incident::{Act, Actor, Control, Outcome, Session, Time},
    session::witness::{self, Subject},
};

/// The lines of one act: of one that concerns several tools, a line for each.
pub(super) fn records(host: &str, control: &witness::Control) -> Vec<Control> {
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
    if matches!((control.act, control.outcome), (witness::Act::Start, witness::Outcome::Done)) {
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

/// The log's word for an act, and the reason where the act is one. An adopted session is no act of
/// anybody's.
fn act(act: witness::Act) -> Option<(Act, Option<&'static str>)> {
    Some(match act {
        witness::Act::Start => (Act::Start, None),
        witness::Act::Grant => (Act::Grant, None),
        witness::Act::Revoke => (Act::Revoke, None),
        witness::Act::Expire => (Act::Revoke, Some("expired")),
        witness::Act::Drop => (Act::Revoke, Some("the policy no longer has it")),
        witness::Act::Quarantine => (Act::Quarantine, None),
        witness::Act::Resume => (Act::Resume, None),
        witness::Act::End => (Act::End, None),
        witness::Act::Reload => (Act::Reload, None),
        witness::Act::Push => (Act::Push, None),
        witness::Act::DaemonStart => (Act::DaemonStart, None),
        witness::Act::Kill => (Act::Kill, None),
        witness::Act::LeaveMapped => (Act::LeaveMapped, None),
        witness::Act::Adopt => return None,
    })
}

fn outcome(outcome: witness::Outcome) -> Outcome {
    match outcome {
        witness::Outcome::Done => Outcome::Done,
        witness::Outcome::Refused => Outcome::Refused,
        witness::Outcome::Failed => Outcome::Failed,
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
