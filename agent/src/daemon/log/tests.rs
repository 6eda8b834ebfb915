//! The log's thread, from the registry's acts to what requests read.

use std::{path::Path, thread::JoinHandle};

use agent_common::id::Slot;

use super::*;
use crate::{
    api::{
        IncidentQuery,
        server::log::{Log as _, Scope},
    },
    daemon::context::DaemonContext,
    incident::{EventSource, Journal, Options, Record},
    session::{
        Registry, Sessions, clock,
        registry::{
            Parts,
            tests::{POLICY, World, me, policy, request, root},
        },
    },
};

/// A ring with nothing in it, that lost three events of slot 0.
struct Lossy;

impl EventSource for Lossy {
    fn peek(&mut self, _: &mut dyn FnMut(&[u8])) -> usize {
        0
    }

    fn release(&mut self, _: usize) {}

    fn lost(&mut self) -> Vec<(Slot, u64)> {
        vec![(Slot(0), 3)]
    }
}

fn daemon(world: &World, log: &LogHandle, inbox: Inbox) -> (Sessions, JoinHandle<()>) {
    let parts = Parts {
        enforcer: Box::new(world.kernel.clone()),
        clock: Arc::new(clock::System),
        act_log: Box::new(log.clone()),
        builtin: crate::policy::Builtin::default(),
        detach_after: Some(Duration::from_secs(60)),
        troubles: Arc::clone(&world.troubles),
        private: world.private(),
    };
    let registry = Registry::open(parts, &world.dir.path().join("state"), policy(POLICY)).unwrap();
    let sessions = Sessions::new(registry);
    let options = Options { sync: false, ..Options::new(log_dir(world), "epoch") };
    let journal = Journal::open(options).unwrap();
    let context = DaemonContext::new("h1".into(), sessions.clone(), mpsc::channel().0);
    let writer = Writer::new(
        Box::new(Lossy),
        None,
        context,
        journal,
        inbox,
        (vitals(), world.troubles.clone()),
    );
    (sessions, writer.spawn().unwrap())
}

fn vitals() -> Arc<crate::vitals::Vitals> {
    Arc::new(crate::vitals::Vitals::new(None))
}

fn log_dir(world: &World) -> std::path::PathBuf {
    world.dir.path().join("log")
}

fn records(dir: &Path, log: &LogHandle, query: &IncidentQuery) -> Vec<Record> {
    let reader = Reader::new(dir, log.clone());
    let lines = reader.list(query, &Scope::All).unwrap();
    lines.iter().map(|line| Record::parse(line).unwrap()).collect()
}

#[test]
fn acts_and_losses_are_in_the_log_when_it_is_read() {
    let world = World::new();
    let (log, inbox) = channel().unwrap();
    let (sessions, thread) = daemon(&world, &log, inbox);
    let process = me();
    let start = request("coder");
    sessions.lock().start(start, root(), std::os::fd::AsFd::as_fd(&process)).unwrap();
    sessions.lock().revoke("coder-1", None, &root()).unwrap();

    let dir = log_dir(&world);
    let all = IncidentQuery { all: true, ..IncidentQuery::default() };
    let acts: Vec<String> = records(&dir, &log, &all)
        .into_iter()
        .filter_map(|record| match record {
            Record::Control(act) => Some(format!("{} {}", act.act, act.tool.unwrap_or_default())),
            _ => None,
        })
        .collect();
    assert_eq!(acts, ["daemon_start ", "start ", "revoke base", "revoke workspace"]);

    // Only what the reader may see.
    let id = sessions.lock().live().next().unwrap().id.to_string();
    let scoped = |scope: Scope| Reader::new(&dir, log.clone()).list(&all, &scope).unwrap().len();
    assert!(scoped(Scope::Sessions([id.clone()].into())) >= 3);
    assert_eq!(scoped(Scope::Sessions(["00".to_owned()].into())), 0);
    assert_eq!(scoped(Scope::Refusals(id)), 0);

    // Without `all`, refusals and losses only.
    let found = records(&dir, &log, &IncidentQuery::default());
    match found.as_slice() {
        [Record::Lost(lost)] => {
            assert_eq!((lost.count, lost.slot), (3, Some(0)));
        }
        other => panic!("{other:?}"),
    }
    let wrong = IncidentQuery { reason: Some("bad".into()), ..IncidentQuery::default() };
    assert!(Reader::new(&dir, log.clone()).list(&wrong, &Scope::All).is_err());
    log.stop();
    thread.join().unwrap();
    let report = crate::incident::query::verify(&dir).unwrap();
    assert!(report.broken.is_none());
}

#[test]
fn follower_gets_what_comes() {
    let world = World::new();
    let (log, inbox) = channel().unwrap();
    let (sessions, thread) = daemon(&world, &log, inbox);
    let reader = Reader::new(&log_dir(&world), log.clone());
    let all = IncidentQuery { all: true, ..IncidentQuery::default() };
    let mut follower = reader.follow(&all, &Scope::All).unwrap();
    assert!(follower.next().unwrap().is_empty());
    let process = me();
    let start = request("coder");
    sessions.lock().start(start, root(), std::os::fd::AsFd::as_fd(&process)).unwrap();
    log.flush();
    let lines = follower.next().unwrap();
    assert!(lines.iter().any(|line| line.contains("\"act\":\"start\"")), "{lines:?}");
    log.stop();
    thread.join().unwrap();
}
