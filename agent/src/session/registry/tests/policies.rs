//! Policies that are replaced while sessions live.

use super::*;

/// The policy without `github`, with two tools before and after it.
fn other() -> Policy {
    policy(&POLICY.replace("[tool.github]", "[tool.aaa]").replace("[tool.spare]", "[tool.zzz]"))
}

#[test]
fn reload_keeps_every_session_s_tools() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let one = coder(&mut registry);
    world.clock.pass(1);
    let two = start(&mut registry, request("watcher")).unwrap();
    registry.grant(&one.name, "github", minutes(5), None, &root()).unwrap();
    registry.grant(&two.name, "spare", minutes(5), None, &root()).unwrap();
    let base = registry.bits().bit("base");
    world.kernel.state().calls.clear();

    let installed = registry.install(other(), Act::Reload, &root()).unwrap();
    assert_eq!(installed.added, ["aaa", "zzz"]);
    assert_eq!(installed.dropped, ["github", "spare"]);
    assert_eq!(
        installed.lost,
        [
            ("coder-1".to_owned(), vec!["github".to_owned()]),
            ("watcher-1".to_owned(), vec!["spare".to_owned()])
        ]
    );
    assert_eq!(world.holds(&registry, &one), ["base", "workspace"]);
    assert_eq!(world.holds(&registry, &two), ["base"]);
    assert_eq!(registry.bits().bit("base"), base);
    // Dropped tools are revoked before the new tables are in force.
    // Then all sessions are written, since the new policy may have other values of `recall`.
    let calls = world.kernel.state().calls.clone();
    assert_eq!(calls, ["write 0", "write 1", "activate 2", "write 0", "write 1"]);
    let acts = world.memory.acts();
    assert_eq!(acts[acts.len() - 3..], ["Reload ", "Drop github", "Drop spare"]);
}

#[test]
fn bit_of_a_dropped_tool_is_not_given_to_another_at_once() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    registry.grant(&session.name, "github", minutes(5), None, &root()).unwrap();
    let github = registry.bits().bit("github").unwrap();
    registry.install(other(), Act::Reload, &root()).unwrap();
    assert!(registry.bits().iter().all(|(_, bit)| bit != github));
    let set: Vec<ToolBit> = world.kernel.state().sessions[&0].0.tools.iter().collect();
    assert!(!set.contains(&github));
}

#[test]
fn policy_refused_by_the_kernel_changes_nothing() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    registry.grant(&session.name, "github", minutes(5), None, &root()).unwrap();
    let before = registry.find(&session.name).unwrap().clone();
    world.kernel.state().fail = Some("activate");
    assert!(registry.install(other(), Act::Reload, &root()).is_err());
    assert_eq!(registry.find(&session.name).unwrap(), &before);
    assert_eq!(world.holds(&registry, &session), ["base", "github", "workspace"]);
    assert_eq!(registry.generation().0, 1);
    assert!(registry.bits().bit("github").is_some());
    // A restart after that finds the numbers of the policy in force.
    drop(registry);
    let registry = world.open(POLICY);
    assert_eq!(tools(registry.find("coder-1").unwrap()), ["base", "workspace", "github"]);
}

#[test]
fn dry_run_of_a_policy_changes_nothing() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    coder(&mut registry);
    let calls = world.kernel.state().calls.len();
    let installed = registry.try_install(&other(), &root()).unwrap();
    assert_eq!((installed.generation, installed.added.len()), (2, 2));
    assert_eq!(world.kernel.state().calls.len(), calls);
    assert!(registry.bits().bit("aaa").is_none());
}

#[test]
fn session_of_a_dropped_profile_keeps_its_tools() {
    let world = World::new();
    let mut registry = world.open(POLICY);
    let session = coder(&mut registry);
    let text = POLICY.replace("[profile.coder]", "[profile.writer]");
    registry.install(policy(&text), Act::Reload, &root()).unwrap();
    assert_eq!(world.holds(&registry, &session), ["base", "workspace"]);
    assert!(start(&mut registry, request("coder")).is_err());
}

#[test]
fn own_rules_hold_for_their_session_only() {
    use agent_common::access::{Right, Rights};

    let world = World::new();
    let mut registry = world.open(POLICY);
    let one = start(&mut registry, Start { workdir: "/a".into(), ..request("coder") }).unwrap();
    let two = start(&mut registry, Start { workdir: "/b".into(), ..request("coder") }).unwrap();
    let read = Rights::of(Right::Read);
    let allowed = |registry: &Registry, session: &Session, path: &str| {
        let object = super::super::Object::Path { path, own_process: false };
        registry.explain(session, read, object).refusal.is_none()
    };
    for _ in 0..2 {
        assert!(allowed(&registry, &one, "/a/x") && !allowed(&registry, &one, "/b/x"));
        assert!(allowed(&registry, &two, "/b/x") && !allowed(&registry, &two, "/a/x"));
        registry.install(other(), Act::Reload, &root()).unwrap();
    }
    let path = Path::new("/srv/x");
    let object = super::super::Object::Path { path: path.to_str().unwrap(), own_process: false };
    let verdict = registry.explain(&one, read, object);
    assert_eq!(verdict.would_allow, ["zzz"]);
}

#[test]
fn set_id_program_needs_a_tool_with_setid() {
    use agent_common::access::{Right, Rights};

    let world = World::new();
    let text = |more: &str| {
        format!(
            "{POLICY}\n[tool.runs]\nfiles = [{{ paths = [\"/x/su\"], access = [\"exec\"] }}]\n{more}\
             [tool.also]\nfiles = [{{ paths = [\"/x/su\"], access = [\"exec\"] }}]\n"
        )
    };
    let mut registry = world.open(&text(""));
    let session = coder(&mut registry);
    registry.grant(&session.name, "runs", minutes(5), None, &root()).unwrap();
    let explain = |registry: &Registry, object| {
        let session = registry.find(&session.name).unwrap();
        let verdict = registry.explain(session, Rights::of(Right::Exec), object);
        (verdict.refusal.is_none(), verdict.allowed_by, verdict.would_allow)
    };
    let plain = || super::super::Object::Path { path: "/x/su", own_process: false };
    let set_id = || super::super::Object::SetId { path: "/x/su" };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(explain(&registry, plain()), (true, names(&["runs"]), names(&["also"])));
    assert_eq!(explain(&registry, set_id()), (false, names(&[]), names(&[])));
    registry.install(policy(&text("setid = true\n")), Act::Reload, &root()).unwrap();
    assert_eq!(explain(&registry, set_id()), (true, names(&["runs"]), names(&[])));
    assert_eq!(explain(&registry, plain()), (true, names(&["runs"]), names(&["also"])));
}
