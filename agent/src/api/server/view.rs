//! Turns the registry's types into those of the interface.

use std::collections::BTreeMap;

use jiff::{Timestamp, Unit};

use super::question::Question;
use crate::{
    api,
    policy::{self, Policy, RuleOwner, RuleRef, Severity, links::Led},
    session::{
        Actor, Registry, Session,
        clock::Moment,
        model::{Condition, Enforcement, Grant, Loss, Origin, PassedFd, Past},
        registry::{Installed, Verdict},
    },
};

/// The programs that some of these profiles are for.
pub(super) fn programs(registry: &Registry, profiles: &[String]) -> BTreeMap<String, Vec<String>> {
    let programs = |name: &String| {
        let profile = registry.policy().profiles.get(name)?;
        let all: Vec<_> = profile.programs.iter().chain(&profile.match_exe).cloned().collect();
        (!all.is_empty()).then(|| (name.clone(), all))
    };
    profiles.iter().filter_map(programs).collect()
}

/// A session as clients see it.
pub(super) fn session(registry: &Registry, session: &Session) -> api::Session {
    let now = registry.clock().now();
    let live = session.is_live();
    api::Session {
        id: session.id.to_string(),
        name: session.name.clone(),
        profile: session.profile.clone(),
        task: session.task.clone(),
        owner: actor(&session.owner),
        workdir: session.workdir.clone(),
        variables: session.variables.clone(),
        mode: match session.mode {
            Enforcement::Enforce => "enforce".into(),
            Enforcement::Audit => "audit".into(),
        },
        state: match session.state {
            Condition::Active => "active".into(),
            Condition::Quarantined => "quarantined".into(),
            Condition::Ended => "ended".into(),
        },
        started: time(session.started),
        expires: time(session.expires),
        left_seconds: if live { left(session.expires, now) } else { 0 },
        pid: session.pid,
        tasks: if live { registry.tasks_of(session).ok() } else { None },
        parent: session.parent.map(|id| id.to_string()),
        lineage: session.lineage.iter().map(ToString::to_string).collect(),
        slot: session.slot,
        tools: if live {
            session.grants.iter().map(|held| grant(session, held, now)).collect()
        } else {
            Vec::new()
        },
        history: session.history.iter().map(past).collect(),
        passed_fds: session.passed_fds.iter().map(passed).collect(),
        ended: session.ended.as_ref().map(|ending| api::Ending {
            at: time(ending.at),
            by: actor(&ending.by),
            reason: ending.reason.clone(),
        }),
        control_group: registry
            .groups()
            .of(&session.id.to_string())
            .map(|group| group.display().to_string()),
    }
}

/// What a session's profile changes in the environment of its command.
pub(super) fn environment(registry: &Registry, session: &Session) -> api::Environment {
    let Ok(profile) = registry.profile(&session.profile) else {
        return api::Environment::default();
    };
    let policy::Environment { set, drop } = &profile.environment;
    let filled = |(name, value): (&String, &policy::EnvValue)| {
        Some((name.clone(), value.fill(&session.variables)?))
    };
    api::Environment { set: set.iter().filter_map(filled).collect(), drop: drop.clone() }
}

fn grant(session: &Session, grant: &Grant, now: Moment) -> api::Grant {
    api::Grant {
        tool: grant.tool.clone(),
        from: time(grant.from),
        until: grant.until.map(time),
        left_seconds: left(grant.until.unwrap_or(session.expires), now),
        given_by: actor(&grant.given_by),
        reason: grant.reason.clone(),
        source: match grant.source {
            Origin::Profile => "profile".into(),
            Origin::Grant => "grant".into(),
        },
    }
}

fn past(past: &Past) -> api::Past {
    api::Past {
        tool: past.grant.tool.clone(),
        from: time(past.grant.from),
        until: past.grant.until.map(time),
        lost: time(past.lost),
        how: match past.how {
            Loss::Revoked => "revoked".into(),
            Loss::Expired => "expired".into(),
            Loss::Dropped => "dropped".into(),
        },
        by: actor(&past.by),
    }
}

fn passed(fd: &PassedFd) -> api::PassedFd {
    api::PassedFd { fd: fd.fd, target: fd.target.clone() }
}

/// An actor, as clients see it.
pub(super) fn actor(actor: &Actor) -> api::Actor {
    api::Actor { uid: actor.uid, user: actor.user.clone(), pid: actor.pid }
}

/// Wall time, to the millisecond.
fn time(moment: Moment) -> Timestamp {
    moment.wall.round(Unit::Millisecond).unwrap_or(moment.wall)
}

fn left(until: Moment, now: Moment) -> u64 {
    until.boot.saturating_sub(now.boot).div_ceil(1_000_000_000)
}

/// The policy in force, as clients see it.
pub(super) fn policy(registry: &Registry, dir: &std::path::Path) -> api::PolicyView {
    let policy = registry.policy();
    let holders = registry.holders();
    api::PolicyView {
        generation: registry.generation().0,
        digest: policy.digest.clone(),
        dir: dir.display().to_string(),
        tools: policy
            .tools
            .iter()
            .map(|(name, tool)| api::ToolView {
                name: name.clone(),
                description: tool.description.clone(),
                holders: holders.get(name.as_str()).copied().unwrap_or(0) as u64,
            })
            .collect(),
        profiles: policy
            .profiles
            .iter()
            .map(|(name, profile)| api::ProfileView {
                name: name.clone(),
                description: profile.description.clone(),
                mode: match Enforcement::from(profile.mode) {
                    Enforcement::Enforce => "enforce".into(),
                    Enforcement::Audit => "audit".into(),
                },
                tools: profile.tools.clone(),
                requests: profile.requests.keys().cloned().collect(),
                session_ttl_seconds: profile.session_ttl.as_secs(),
                variables: profile.variables.iter().cloned().collect(),
            })
            .collect(),
        warnings: warnings(policy),
    }
}

/// The warnings on a policy.
pub(super) fn warnings(policy: &Policy) -> Vec<policy::Diagnostic> {
    policy.warnings.iter().filter(|d| d.severity == Severity::Warning).cloned().collect()
}

/// The changes by a policy, as clients see them.
pub(super) fn change(installed: Installed, policy: &Policy, dry_run: bool) -> api::PolicyChange {
    api::PolicyChange {
        generation: installed.generation,
        dry_run,
        size: api::PolicySize::of(policy),
        added: installed.added,
        dropped: installed.dropped,
        lost: installed
            .lost
            .into_iter()
            .map(|(session, tools)| api::SessionLoss { session, tools })
            .collect(),
        warnings: warnings(policy),
    }
}

/// What would be decided, as clients see it.
pub(super) fn explanation(
    session: &Session,
    request: api::ExplainRequest,
    question: Question,
    verdict: Verdict,
) -> api::Explanation {
    let decided = match (verdict.refusal, session.mode) {
        (None, _) => "allowed",
        (Some(_), Enforcement::Enforce) => "denied",
        (Some(_), Enforcement::Audit) => "would_deny",
    };
    api::Explanation {
        session: session.name.clone(),
        operation: request.operation,
        object: request.object,
        leads: question.led.map(|Led { link, to }| api::Leads { link, to }),
        access: question.rights.iter().map(|right| right.name().into()).collect(),
        verdict: decided.into(),
        reason: verdict.refusal.map(|reason| reason.name().into()),
        allowed_by: verdict.allowed_by,
        would_allow: verdict.would_allow,
        denied_by: verdict.denial.map(rule),
        rules: verdict.rules.into_iter().map(rule).collect(),
    }
}

fn rule(rule: RuleRef) -> api::RuleView {
    let (kind, tool) = match rule.owner {
        RuleOwner::Tool(tool) => ("tool", Some(tool)),
        RuleOwner::Deny => ("deny", None),
        RuleOwner::Data => ("data", None),
        RuleOwner::Builtin => ("builtin", None),
    };
    api::RuleView {
        file: rule.file.display().to_string(),
        line: rule.line,
        text: rule.text,
        kind: kind.into(),
        tool,
    }
}

impl api::PolicySize {
    /// How much a policy says.
    pub fn of(policy: &Policy) -> Self {
        let files = policy.tools.values().flat_map(|tool| &tool.files);
        let network = policy.tools.values().flat_map(|tool| &tool.network);
        Self {
            tools: policy.tools.len(),
            profiles: policy.profiles.len(),
            path_rules: files.map(|rule| rule.paths.len() + rule.except.len()).sum::<usize>()
                + policy
                    .denials
                    .iter()
                    .map(|denial| denial.paths.len() + denial.except.len())
                    .sum::<usize>()
                + policy
                    .data
                    .iter()
                    .map(|data| data.paths.len() + data.except.len())
                    .sum::<usize>(),
            network_rules: network
                .map(|rule| (rule.cidrs.len() + rule.hosts.len()) * rule.ports.len().max(1))
                .sum(),
        }
    }
}
