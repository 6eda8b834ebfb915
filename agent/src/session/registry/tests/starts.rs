//! Starting sessions.

use std::sync::atomic::{AtomicUsize, Ordering};

use agent_common::{authority::State, id::Slot, limits::SESSIONS};

use super::*;
use crate::bpf::Need;

#[test]
fn started_session_has_its_profile_s_tools_and_a_tagged_process() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    assert_eq!(session.name, "coder-1");
    assert_eq!(tools(&session), ["base", "workspace"]);
    assert_eq!(world.holds(&registry, &session), ["base", "workspace"]);
    assert_eq!(session.variables["workdir"], "/home/dev/x");
    assert_eq!(world.file(&session), Some(session.clone()));
    let state = world.kernel.state();
    assert_eq!(
        state.calls,
        [
            "activate 1",
            "add_rules",
            // Hooks on open files are attached before the session exists: every session expires, and may have files
            // open then.
            "attach Uses",
            "write 0",
            "tag 0",
            "give"
        ]
    );
    assert_eq!(state.tags.values().next().unwrap().session, session.id.0);
    drop(state);
    assert_eq!(world.memory.acts(), ["DaemonStart ", "Start base,workspace"]);
    assert_eq!(coder(&mut registry).name, "coder-2");
}

#[test]
fn wrong_request_changes_nothing() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    coder(&mut registry);
    let calls = world.kernel.state().calls.len();
    let cases = [
        (request("codr"), "no profile `codr` in the policy"),
        (Start { workdir: "x".into(), ..request("coder") }, "`x` is not an absolute path"),
        (Start { name: Some("a b".into()), ..request("coder") }, "`a b` is not a session name"),
        (
            Start { name: Some("coder-1".into()), ..request("coder") },
            "a live session is called `coder-1` already",
        ),
        (Start { ttl: Some(Duration::ZERO), ..request("coder") }, "the time to live is zero"),
        (
            Start { ttl: Some(minutes(61)), ..request("watcher") },
            "61m is longer than the 1h that profile `watcher` allows",
        ),
        (
            Start {
                variables: [("workdir".to_owned(), "/".to_owned())].into(),
                ..request("coder")
            },
            "`workdir` can't be set",
        ),
    ];
    for (request, message) in cases {
        assert_eq!(start(&mut registry, request).unwrap_err().to_string(), message);
    }
    assert_eq!(world.kernel.state().calls.len(), calls);
    assert_eq!(registry.live().count(), 1);
}

#[test]
fn process_that_cant_be_tagged_leaves_nothing() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    world.kernel.state().fail = Some("tag");
    assert!(start(&mut registry, request("coder")).is_err());
    assert_eq!(registry.live().count() + registry.ended().count(), 0);
    assert_eq!(std::fs::read_dir(world.dir.path().join("sessions")).unwrap().count(), 0);
    let state = world.kernel.state();
    assert_eq!(state.sessions[&0].0.state, 0);
    assert_eq!(state.calls.last().map(String::as_str), Some("remove_rules"));
}

#[test]
fn variable_of_the_profile_must_be_given() {
    let world = World::new();
    let text = POLICY.replace("\"/srv/**\"", "\"/srv/{project}/**\"").replace(
        "tools = [\"base\", \"workspace\"]",
        "tools = [\"base\", \"workspace\", \"spare\"]",
    );
    let mut registry = world.open(&text);
    let error = start(&mut registry, request("coder")).unwrap_err();
    assert_eq!(error.to_string(), "profile `coder` needs a value for `{project}`");
    let variables = [("project".to_owned(), "x".to_owned())].into();
    assert!(start(&mut registry, Start { variables, ..request("coder") }).is_ok());
}

#[test]
fn one_session_more_than_fit_gets_a_clear_error() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    for _ in 0..SESSIONS {
        coder(&mut registry);
    }
    let error = start(&mut registry, request("coder")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1,024 sessions are live, the most that fit: end one (`remit session end S`)"
    );
    let slots: std::collections::BTreeSet<u32> = registry.live().map(|s| s.slot).collect();
    assert_eq!(slots.len(), SESSIONS);
    registry.end("coder-500", "test", &root()).unwrap();
    assert_eq!(coder(&mut registry).slot, 499);
}

#[test]
fn slot_with_processes_of_an_ended_session_is_not_taken() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let first = coder(&mut registry);
    registry.end(&first.name, "test", &root()).unwrap();
    world.kernel.state().tasks.insert(0, 1);
    assert_eq!(coder(&mut registry).slot, 1);
    for slot in 0..SESSIONS as u32 {
        world.kernel.state().tasks.insert(slot, 1);
    }
    let error = start(&mut registry, request("coder")).unwrap_err().to_string();
    assert!(error.contains("left processes that run on"), "{error}");
}

#[test]
fn canary_has_a_slot_of_its_own_and_is_in_no_list() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let process = me();
    let id = registry.start_canary(std::os::fd::AsFd::as_fd(&process)).unwrap();
    let entry = |world: &World| world.kernel.state().sessions[&Slot::CANARY.0].0;
    assert_eq!((entry(&world).id, entry(&world).state), (id, State::Active as u32));
    assert!(entry(&world).tools.is_empty());
    assert!(world.kernel.state().tags.values().any(|tag| tag.slot == Slot::CANARY));
    assert_eq!((registry.live().count(), registry.ended().count()), (0, 0));
    assert!(registry.by_slot(Slot::CANARY).is_none());
    assert_eq!(world.kernel.state().attached, Some(Need::Acts));
    registry.end_canary(id).unwrap();
    assert_eq!(entry(&world).state, State::Ended as u32);
    assert!(!world.memory.acts().iter().any(|act| act.starts_with("Start ")));
}

#[test]
fn hooks_are_attached_for_sessions_and_detached_a_while_after_the_last() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let attached = || world.kernel.state().attached;
    let begun = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&begun);
    registry.on_watch(Box::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    assert_eq!((attached(), registry.is_watching()), (None, false));
    let first = coder(&mut registry);
    assert_eq!((attached(), begun.load(Ordering::SeqCst)), (Some(Need::Uses), 1));
    // Its processes live on.
    registry.end(&first.name, "test", &root()).unwrap();
    world.clock.pass(1_000);
    assert!(registry.is_unsettled(), "it may have been the last");
    registry.settle();
    assert!(!registry.is_unsettled());
    assert_eq!((attached(), registry.until_expiry()), (Some(Need::Uses), None));
    world.kernel.state().tags.clear();
    registry.end_sessions_without_tasks();
    assert!(registry.is_unsettled(), "they are gone");
    registry.settle();
    assert_eq!(attached(), Some(Need::Acts), "not at once");
    assert_eq!(registry.until_expiry(), Some(Duration::from_secs(60)));
    // Another session starts, so the time begins anew.
    world.clock.pass(59);
    let second = coder(&mut registry);
    registry.end(&second.name, "test", &root()).unwrap();
    world.kernel.state().tags.clear();
    registry.settle();
    world.clock.pass(59);
    registry.sweep_expired();
    assert_eq!(attached(), Some(Need::Acts));
    assert_eq!(registry.until_expiry(), Some(Duration::from_secs(1)));
    // A tag of an unknown session.
    world.kernel.state().tasks.insert(5, 1);
    world.clock.pass(1);
    registry.sweep_expired();
    assert_eq!(attached(), Some(Need::Acts));
    world.kernel.state().tasks.clear();
    world.clock.pass(60);
    registry.sweep_expired();
    assert_eq!((attached(), registry.until_expiry()), (Some(Need::Nothing), None));
    assert_eq!((registry.is_watching(), begun.load(Ordering::SeqCst)), (false, 1));
    coder(&mut registry);
    assert_eq!((attached(), begun.load(Ordering::SeqCst)), (Some(Need::Uses), 2));
}

#[test]
fn session_does_not_start_if_a_hook_can_not_be_attached() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    world.kernel.state().fail = Some("attach");
    assert!(start(&mut registry, request("coder")).is_err());
    assert_eq!(registry.live().count(), 0);
    // Hooks that were attached all the same are detached.
    assert!(registry.is_unsettled());
    registry.settle();
    world.clock.pass(60);
    registry.sweep_expired();
    assert_eq!(world.kernel.state().attached, Some(Need::Nothing));
    coder(&mut registry);
}
