//! Tests of the registry, with a kernel for tests.

mod faults;
mod lives;
mod policies;
mod starts;

use std::{os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use agent_common::id::ToolBit;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{Parts, Registry, Start};
use crate::{
    policy::{Builtin, Policy, Source, check},
    session::{
        Actor, Error, Session,
        acts::Act,
        private::PrivateFolders,
        testing::{Double, Hands, Memory},
    },
    troubles::Troubles,
};

/// A policy with three tools.
pub(crate) const POLICY: &str = r#"
schema = 1
[tool.base]
files = [{ paths = ["/usr/**"], access = ["read", "exec"] }]
[tool.workspace]
files = [{ paths = ["{workdir}/**"], access = ["read", "write"] }]
[tool.github]
network = [{ cidrs = ["203.0.113.0/24"], ports = [443], protocol = "tcp" }]
[tool.spare]
files = [{ paths = ["/srv/**"], access = ["read"] }]
[profile.coder]
tools = ["base", "workspace"]
session_ttl = "8h"
[profile.watcher]
mode = "audit"
tools = ["base"]
session_ttl = "1h"
"#;

/// The policy of a text.
pub(crate) fn policy(text: &str) -> Policy {
    let source = Source { path: "/etc/remit/policy.d/test.toml".into(), text: text.into() };
    check(&[source]).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// What a registry is made of.
pub(crate) struct World {
    pub(crate) kernel: Double,
    pub(crate) clock: Hands,
    pub(crate) memory: Memory,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) troubles: Arc<Troubles>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            kernel: Double::default(),
            clock: Hands::default(),
            memory: Memory::default(),
            dir: tempfile::tempdir().unwrap(),
            troubles: Arc::default(),
        }
    }

    /// A registry with a policy, as after a daemon's start.
    pub(crate) fn open(&self, text: &str) -> Registry {
        Registry::open(self.parts(), self.dir.path(), policy(text)).unwrap()
    }

    /// A registry without a policy yet.
    pub(crate) fn take_over(&self) -> Registry {
        Registry::take_over(self.parts(), self.dir.path()).unwrap()
    }

    fn parts(&self) -> Parts {
        Parts {
            enforcer: Box::new(self.kernel.clone()),
            clock: Arc::new(self.clock.clone()),
            act_log: Box::new(self.memory.clone()),
            builtin: Builtin::default(),
            detach_after: Some(Duration::from_secs(60)),
            troubles: Arc::clone(&self.troubles),
            private: self.private(),
        }
    }

    /// Where sessions' own folders are.
    pub(crate) fn private(&self) -> Arc<PrivateFolders> {
        let dir = self.dir.path();
        Arc::new(PrivateFolders::new(&dir.join("tmp"), &dir.join("cache"), dir))
    }

    /// The tools of a session in the kernel's entry.
    fn holds(&self, registry: &Registry, session: &Session) -> Vec<String> {
        let state = self.kernel.state();
        let (entry, _) = &state.sessions[&session.slot];
        assert_eq!(entry.id, session.id.0);
        registry.bits().names(&entry.tools).into_iter().map(str::to_owned).collect()
    }

    /// The session's file.
    fn file(&self, session: &Session) -> Option<Session> {
        let path = self.dir.path().join(format!("sessions/{}.json", session.id));
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }
}

/// An operator.
pub(crate) fn root() -> Actor {
    Actor { uid: 0, user: "root".into(), pid: 1 }
}

/// This very process.
pub(crate) fn me() -> OwnedFd {
    let pid = Pid::from_raw(std::process::id().cast_signed()).unwrap();
    pidfd_open(pid, PidfdFlags::empty()).unwrap()
}

/// A request to start a session of a profile.
pub(crate) fn request(profile: &str) -> Start {
    Start { profile: profile.into(), workdir: "/home/dev/x".into(), ..Start::default() }
}

fn start(registry: &mut Registry, request: Start) -> Result<Session, Error> {
    let process = me();
    registry.start(request, root(), std::os::fd::AsFd::as_fd(&process)).cloned()
}

fn coder(registry: &mut Registry) -> Session {
    start(registry, request("coder")).unwrap()
}

fn tools(session: &Session) -> Vec<&str> {
    session.grants.iter().map(|grant| grant.tool.as_str()).collect()
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}
