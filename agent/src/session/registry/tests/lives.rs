//! Live sessions, also across restarts.

use agent_common::{
    authority::State,
    decision::Reason,
    id::{BootNanos, SessionId, Slot},
};

use super::*;
use crate::session::model::{Condition, Loss};

#[test]
fn grant_is_written_to_the_file_first_and_revocation_to_the_kernel_first() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    world.kernel.state().fail = Some("write");
    assert!(registry.grant(&session.name, "github", minutes(5), None, &root()).is_err());
    assert_eq!(tools(&world.file(&session).unwrap()), ["base", "workspace"]);
    let granted = registry.grant(&session.name, "github", minutes(5), None, &root()).unwrap();
    assert_eq!(tools(granted), ["base", "workspace", "github"]);
    let granted = granted.clone();
    assert_eq!(world.holds(&registry, &session), ["base", "github", "workspace"]);
    let (entry, expiries) = world.kernel.state().sessions[&0].clone();
    let bit = registry.bits().bit("github").unwrap();
    let until = granted.grant("github").unwrap().until.unwrap().nanos();
    assert_eq!(entry.nearest_expiry, until);
    assert_eq!(expiries[usize::from(bit.0)], until);

    world.kernel.state().fail = Some("write");
    assert!(registry.revoke(&session.name, Some("github"), &root()).is_err());
    assert!(world.file(&session).unwrap().grant("github").is_some());
    let revoked = registry.revoke(&session.name, Some("github"), &root()).unwrap().clone();
    assert_eq!(revoked.reason_for("github", BootNanos(u64::MAX)), Some(Reason::Revoked));
    assert_eq!(world.holds(&registry, &session), ["base", "workspace"]);
    assert_eq!(world.kernel.state().sessions[&0].0.nearest_expiry, BootNanos::NEVER);
    assert_eq!(world.file(&session), Some(revoked));
}

#[test]
fn revocation_holds_when_the_disk_is_full() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    std::fs::remove_dir_all(world.dir.path().join("sessions")).unwrap();
    registry.revoke(&session.name, Some("base"), &root()).unwrap();
    assert_eq!(world.holds(&registry, &session), ["workspace"]);
    assert!(registry.grant(&session.name, "github", minutes(1), None, &root()).is_err());
    assert_eq!(world.holds(&registry, &session), ["workspace"]);
}

#[test]
fn grant_is_refused_with_a_reason_or_the_later_end_counts() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    let mut grant =
        |tool: &str, ttl| registry.grant(&session.name, tool, ttl, None, &root()).cloned();
    let message = |result: Result<Session, Error>| result.unwrap_err().to_string();
    let no_tool = grant("gihtub", minutes(1)).unwrap_err();
    assert_eq!(no_tool.help().as_deref(), Some("did you mean `github`?"));
    assert_eq!(message(grant("github", Duration::ZERO)), "the time to live is zero");
    assert_eq!(
        message(grant("base", minutes(1))),
        "session `coder-1` holds `base` until its end already"
    );
    let long = grant("github", minutes(9)).unwrap();
    let kept = grant("github", minutes(1)).unwrap();
    let until = |session: &Session| session.grant("github").unwrap().until;
    assert_eq!(until(&kept), until(&long));
    let to_the_end = grant("github", minutes(60 * 24)).unwrap();
    assert_eq!(until(&to_the_end), Some(session.expires));
    let revoked = registry.revoke(&session.name, None, &root()).unwrap();
    assert_eq!(tools(revoked), [""; 0]);
    let error = registry.revoke(&session.name, Some("base"), &root()).unwrap_err();
    assert_eq!(error.to_string(), "session `coder-1` does not hold `base`");
}

#[test]
fn expired_grants_and_sessions_are_removed_and_logged() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    registry.grant(&session.name, "github", minutes(5), None, &root()).unwrap();
    world.clock.pass(299);
    registry.sweep_expired();
    assert!(registry.find("coder-1").unwrap().grant("github").is_some());
    world.clock.pass(1);
    registry.sweep_expired();
    let found = registry.find("coder-1").unwrap().clone();
    assert_eq!(found.reason_for("github", BootNanos(u64::MAX)), Some(Reason::Expired));
    assert_eq!(found.history.last().unwrap().how, Loss::Expired);
    assert_eq!(world.holds(&registry, &session), ["base", "workspace"]);
    assert_eq!(world.memory.acts().last().unwrap(), "Expire github");
    world.clock.pass(8 * 3600);
    registry.sweep_expired();
    assert_eq!(registry.live().count(), 0);
    let ended = registry.find("coder-1").unwrap();
    assert_eq!(ended.ended.as_ref().unwrap().reason, "its time was up");
    assert_eq!(world.kernel.state().sessions[&0].0.state, State::Ended as u32);
}

#[test]
fn session_without_a_process_ends() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    coder(&mut registry);
    registry.end_sessions_without_tasks();
    assert_eq!(registry.live().count(), 1);
    registry.settle();
    world.kernel.state().tags.clear();
    registry.end_sessions_without_tasks();
    assert_eq!(registry.live().count(), 0);
    assert!(registry.is_unsettled(), "it left something behind");
    // Its losses may be read later.
    assert_eq!(registry.last_in(Slot(0)).unwrap().name, "coder-1");
    assert_eq!(world.memory.acts().last().unwrap(), "End ");
    assert!(registry.find_live("coder-1").unwrap_err().to_string().contains("has ended"));
}

#[test]
fn quarantined_session_has_no_authority_until_it_is_resumed() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    let state = || world.kernel.state().sessions[&0].0.state;
    registry.quarantine(&session.name, &root()).unwrap();
    assert_eq!(state(), State::Quarantined as u32);
    assert!(registry.quarantine(&session.name, &root()).is_err());
    registry.resume(&session.name, &root()).unwrap();
    assert_eq!(state(), State::Active as u32);
    assert!(registry.resume(&session.name, &root()).is_err());
}

#[test]
fn restart_takes_over_sessions_and_grants() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    registry.grant("coder-1", "github", minutes(5), Some("why".into()), &root()).unwrap();
    registry.quarantine("coder-1", &root()).unwrap();
    let before = registry.find("coder-1").unwrap().clone();
    drop(registry);
    let registry = world.open(POLICY);
    assert_eq!(registry.find("coder-1").unwrap(), &before);
    assert_eq!(world.holds(&registry, &session), ["base", "github", "workspace"]);
    assert_eq!(world.kernel.state().generation, 2);
}

#[test]
fn grant_that_the_kernel_does_not_have_is_dropped_at_the_start() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    let bit = registry.bits().bit("workspace").unwrap();
    drop(registry);
    // As if the daemon had been killed between the file and the kernel.
    world.kernel.state().sessions.get_mut(&0).unwrap().0.tools.remove(bit);
    let registry = world.open(POLICY);
    assert_eq!(tools(registry.find("coder-1").unwrap()), ["base"]);
    assert_eq!(tools(&world.file(&session).unwrap()), ["base"]);
    assert_eq!(world.holds(&registry, &session), ["base"]);
}

#[test]
fn grants_are_dropped_if_the_tools_bits_are_lost() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    drop(registry);
    std::fs::write(world.dir.path().join("tools.json"), "{").unwrap();
    let registry = world.open(POLICY);
    assert_eq!(tools(registry.find("coder-1").unwrap()), [""; 0]);
    assert_eq!(world.holds(&registry, &session), [""; 0]);
}

#[test]
fn session_without_a_kernel_entry_is_ended_at_the_start() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    coder(&mut registry);
    let other = coder(&mut registry);
    drop(registry);
    world.kernel.state().sessions.remove(&0);
    world.kernel.state().sessions.get_mut(&1).unwrap().0.id = SessionId(99);
    let registry = world.open(POLICY);
    assert_eq!(registry.live().count(), 0);
    assert_eq!(registry.ended().count(), 2);
    assert_eq!(registry.by_id(other.id).unwrap().state, Condition::Ended);
    // The entry in slot 1 has no file: nobody could revoke anything from it.
    assert_eq!(world.kernel.state().sessions[&1].0.state, State::Ended as u32);
}

#[test]
fn tool_granted_again_and_again_keeps_others_in_the_history() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    let mut cycle = |tool: &str| {
        registry.grant(&session.name, tool, minutes(5), None, &root()).unwrap();
        registry.revoke(&session.name, Some(tool), &root()).unwrap().history.clone()
    };
    cycle("spare");
    let history = (0..20).map(|_| cycle("github")).last().unwrap();
    let of = |tool: &str| history.iter().filter(|past| past.grant.tool == tool).count();
    assert_eq!((of("spare"), of("github")), (1, 8));
}
