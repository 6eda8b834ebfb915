//! A kernel for tests: it stores what it is given, and records the calls in their order.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use agent_common::{
    authority::{Expiries, Session},
    id::{BootNanos, Generation, SessionId, Slot, Tag},
    limits::TOOLS,
    mark::{TaskRecord, Used},
};
use jiff::Timestamp;

use super::{
    acts::{ActLog, Control},
    clock::{Clock, Moment},
};
use crate::{
    bpf::{Confinement, Enforcer, KernelError, Need},
    policy::tables::{Rules, Tables},
};

/// The state of the kernel.
#[derive(Default)]
pub(crate) struct State {
    /// The calls, in order.
    pub(crate) calls: Vec<String>,
    /// The entries.
    pub(crate) sessions: HashMap<u32, (Session, Box<Expiries>)>,
    /// The tags, by the process id behind a pidfd.
    pub(crate) tags: BTreeMap<i32, Tag>,
    /// Counts of live tasks, if they differ from the tags.
    pub(crate) tasks: HashMap<u32, u64>,
    /// The records that `tasks` returns.
    pub(crate) records: Vec<TaskRecord>,
    /// The tools that sessions used, by slot.
    pub(crate) used: HashMap<u32, Used>,
    /// The policy in force.
    pub(crate) generation: u32,
    /// The descriptors that sessions were given.
    pub(crate) given: HashMap<u64, Vec<u32>>,
    /// What is attached; `None` before the first call.
    pub(crate) attached: Option<Need>,
    /// The session that made every connection.
    pub(crate) connector: Option<Tag>,
    /// The next call whose name begins like this fails; `tag_of` and `connector_of` fail as long as this is set.
    pub(crate) fail: Option<&'static str>,
}

/// The kernel; clones share its state.
#[derive(Clone, Default)]
pub(crate) struct Double(Arc<Mutex<State>>);

impl Double {
    /// Its state.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn call(&self, call: String) -> Result<MutexGuard<'_, State>, KernelError> {
        let mut state = self.state();
        if state.fail.is_some_and(|fail| call.starts_with(fail)) {
            state.fail = None;
            return Err(KernelError { action: call, source: io::Error::other("told to fail") });
        }
        state.calls.push(call);
        Ok(state)
    }
}

/// The process behind a pidfd.
fn pid(pidfd: BorrowedFd<'_>) -> i32 {
    let info = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    std::fs::read_to_string(info)
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
        .unwrap_or(-1)
}

impl Enforcer for Double {
    fn activate(&mut self, generation: Generation, _: &Tables) -> Result<(), KernelError> {
        self.call(format!("activate {}", generation.0))?.generation = generation.0;
        Ok(())
    }

    fn generation(&self) -> Result<Generation, KernelError> {
        Ok(Generation(self.state().generation))
    }

    fn add_rules(&mut self, _: &Rules) -> Result<(), KernelError> {
        self.call("add_rules".into()).map(drop)
    }

    fn remove_rules(&mut self, _: &Rules) -> Result<(), KernelError> {
        self.call("remove_rules".into()).map(drop)
    }

    fn write_session(
        &mut self,
        slot: Slot,
        session: &Session,
        expiries: &Expiries,
    ) -> Result<(), KernelError> {
        let mut state = self.call(format!("write {}", slot.0))?;
        state.sessions.insert(slot.0, (*session, Box::new(*expiries)));
        Ok(())
    }

    fn read_session(&self, slot: Slot) -> Result<(Session, Box<Expiries>), KernelError> {
        let free = || (Session::FREE, Box::new([BootNanos(0); TOOLS]));
        Ok(self.state().sessions.get(&slot.0).cloned().unwrap_or_else(free))
    }

    fn give(
        &mut self,
        _: BorrowedFd<'_>,
        session: SessionId,
        descriptors: &[u32],
    ) -> Result<(), KernelError> {
        self.call("give".into())?.given.insert(session.0, descriptors.to_vec());
        Ok(())
    }

    fn forget_given(&mut self, sessions: &[SessionId]) -> Result<(), KernelError> {
        self.state().given.retain(|session, _| !sessions.iter().any(|gone| gone.0 == *session));
        Ok(())
    }

    fn attach(&mut self, need: Need) -> Result<(), KernelError> {
        self.call(format!("attach {need:?}"))?.attached = Some(need);
        Ok(())
    }

    fn reset_connections(&mut self) -> Result<(), KernelError> {
        self.call("reset connections".into()).map(drop)
    }

    fn tag(&mut self, pidfd: BorrowedFd<'_>, tag: Tag) -> Result<(), KernelError> {
        self.call(format!("tag {}", tag.slot.0))?.tags.insert(pid(pidfd), tag);
        Ok(())
    }

    fn tag_of(&self, pidfd: BorrowedFd<'_>) -> Confinement {
        let state = self.state();
        if state.fail == Some("tag_of") {
            return unknown();
        }
        state.tags.get(&pid(pidfd)).copied().map_or(Confinement::None, Confinement::Of)
    }

    fn note_control_socket(&mut self, _: BorrowedFd<'_>) -> Result<(), KernelError> {
        self.call("note the control socket".into()).map(drop)
    }

    fn connector_of(&self, _: BorrowedFd<'_>) -> Confinement {
        let state = self.state();
        if state.fail == Some("connector_of") {
            return unknown();
        }
        state.connector.map_or(Confinement::None, Confinement::Of)
    }

    fn hold_forks(&mut self, slot: Slot, until: BootNanos) -> Result<(), KernelError> {
        let held = if until.0 == 0 { "release" } else { "hold" };
        self.call(format!("{held} forks {}", slot.0)).map(drop)
    }

    fn tasks(&self, session: SessionId) -> Result<Vec<TaskRecord>, KernelError> {
        let state = self.call("tasks".into())?;
        Ok(state.records.iter().filter(|record| record.session == session).copied().collect())
    }

    fn used(&self, slot: Slot) -> Result<Used, KernelError> {
        Ok(self.state().used.get(&slot.0).copied().unwrap_or_default())
    }

    fn tasks_of(&self, slot: Slot) -> Result<u64, KernelError> {
        let state = self.state();
        let tagged = state.tags.values().filter(|tag| tag.slot == slot).count() as u64;
        Ok(state.tasks.get(&slot.0).copied().unwrap_or(tagged))
    }
}

/// The answer of a kernel that can't tell.
fn unknown() -> Confinement {
    let source = io::Error::other("told to fail");
    Confinement::Unknown(KernelError { action: "read a tag".into(), source })
}

/// A clock that the test sets.
#[derive(Clone)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Default for Hands {
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000_000_000)))
    }
}

impl Hands {
    /// Moves it on.
    pub(crate) fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1_000_000_000, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Moment {
        let boot = self.0.load(Ordering::SeqCst);
        let wall = i128::from(boot) + 1_790_000_000_000_000_000;
        Moment { wall: Timestamp::from_nanosecond(wall).unwrap(), boot }
    }
}

/// A log of acts in memory.
#[derive(Clone, Default)]
pub(crate) struct Memory(pub(crate) Arc<Mutex<Vec<Control>>>);

impl Memory {
    /// The acts so far, by name, with their tools.
    pub(crate) fn acts(&self) -> Vec<String> {
        let acts = self.0.lock().unwrap();
        acts.iter().map(|act| format!("{:?} {}", act.act, act.tools.join(","))).collect()
    }
}

impl ActLog for Memory {
    fn record(&mut self, control: Control) {
        self.0.lock().unwrap().push(control);
    }
}
