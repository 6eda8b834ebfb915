//! While the state directory or the log can't be written, authority can be revoked and not granted.

use std::fs;

use super::*;
use crate::{session::model::Condition, troubles::Trouble};

/// Makes a file of the state directory unwritable.
fn block(world: &World, file: &str) {
    fs::create_dir(world.dir.path().join(format!("{file}.new"))).unwrap();
}

fn unblock(world: &World, file: &str) {
    fs::remove_dir(world.dir.path().join(format!("{file}.new"))).unwrap();
}

#[test]
fn authority_only_shrinks_while_the_log_can_not_be_written() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    let held = start(&mut registry, request("watcher")).unwrap();
    registry.quarantine(&held.name, &root()).unwrap();
    world.troubles.begin(Trouble::Log, "the log is full");
    let acts = world.memory.acts().len();
    let unlogged = |result: Result<(), Error>| {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::Unlogged { reason } if reason == "the log is full"),
            "{error}"
        );
    };
    unlogged(start(&mut registry, request("coder")).map(drop));
    unlogged(registry.grant(&session.name, "spare", minutes(1), None, &root()).map(drop));
    unlogged(registry.resume(&held.name, &root()).map(drop));
    unlogged(registry.install(policy(POLICY), Act::Reload, &root()).map(drop));
    assert_eq!(world.memory.acts().len(), acts);
    assert_eq!(world.holds(&registry, &session), ["base", "workspace"]);
    registry.revoke(&session.name, Some("base"), &root()).unwrap();
    assert_eq!(world.holds(&registry, &session), ["workspace"]);
    registry.quarantine(&session.name, &root()).unwrap();
    registry.end(&session.name, "over", &root()).unwrap();
    assert_eq!(world.memory.acts().len(), acts + 3);
    world.troubles.end(Trouble::Log);
    registry.resume(&held.name, &root()).unwrap();
}

#[test]
fn revocation_with_an_unwritable_file_holds_and_the_file_follows() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    let file = format!("sessions/{}.json", session.id);
    block(&world, &file);
    assert!(registry.grant(&session.name, "spare", minutes(1), None, &root()).is_err());
    assert_eq!(world.holds(&registry, &session), ["base", "workspace"]);
    registry.revoke(&session.name, Some("base"), &root()).unwrap();
    registry.quarantine(&session.name, &root()).unwrap();
    assert_eq!(world.holds(&registry, &session), ["workspace"]);
    assert!(world.troubles.of(Trouble::State).is_some_and(|said| said.contains("can't write")));
    assert_eq!(tools(&world.file(&session).unwrap()), ["base", "workspace"]);
    assert!(registry.is_unsettled());
    unblock(&world, &file);
    registry.settle();
    let written = world.file(&session).unwrap();
    assert_eq!((tools(&written), written.state), (vec!["workspace"], Condition::Quarantined));
    assert_eq!(world.troubles.of(Trouble::State), None);
}

#[test]
fn start_without_a_writable_state_directory_takes_over_the_kernel_s_sessions() {
    let world = World::new();
    let session = coder(&mut world.open(POLICY));
    block(&world, "tools.json");
    let before = world.kernel.state().generation;
    for number in 1..=2 {
        let registry = world.open(POLICY);
        assert_eq!(registry.generation().0, before + number, "never the one in force");
        assert_eq!(world.holds(&registry, &session), ["base", "workspace"]);
        assert!(world.troubles.of(Trouble::State).is_some());
    }
    // A policy with another tool has no bit for it that a restart would find again.
    let mut registry = world.take_over();
    let more = format!("{POLICY}[tool.more]\n");
    assert!(registry.install(policy(&more), Act::DaemonStart, &root()).is_err());
    assert!(registry.install(policy(POLICY), Act::Reload, &root()).is_err());
    registry.install(policy(POLICY), Act::DaemonStart, &root()).unwrap();
    unblock(&world, "tools.json");
    registry.settle();
    assert_eq!(world.troubles.of(Trouble::State), None);
    registry.install(policy(&more), Act::Reload, &root()).unwrap();
}
