//! Kills the processes that used a lost tool, where the policy says so (`on_revoke`). The kernel marks a task before
//! the first use of such a tool goes on, and a fork copies the marks. So the processes to kill are those that carry the
//! lost tool's mark.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use agent_common::{
    id::Slot,
    mark::{TaskRecord, mark},
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{
    Actor, Error, Id, Session, Sessions,
    acts::{Act, Control},
    kill::{LOOKS, PATIENCE, PAUSE},
    model::{Enforcement, Lost},
};
use crate::{bpf::KernelError, policy::OnRevoke};

/// Which processes of a session are killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victims {
    /// Those that carry one of these marks.
    Marked(u32),
    /// All.
    All,
}

/// Kills the processes of a session that used a tool which it lost, where the policy says so, and logs them. Until that
/// is done the session can't fork: processes that fork and exit in a chain would be gone from wherever they were found.
///
/// # Errors
/// Some live on although they were killed, or the kernel does not list the tasks.
pub(super) fn settle(sessions: &Sessions, id: Id, lost: &[&Lost]) -> Result<(), Error> {
    let Some((slot, victims)) = victims(sessions, id, lost) else { return Ok(()) };
    sessions.lock().hold_forks(slot, PATIENCE)?;
    let mut killed = BTreeMap::new();
    let outcome = kill(sessions, id, victims, &mut killed);
    for (process, marks) in killed {
        log(sessions, id, lost, process, marks);
    }
    let released = sessions.lock().hold_forks(slot, Duration::ZERO);
    outcome.and(released.map_err(Error::from))
}

/// The session's slot, and which of its processes to kill; `None` if there are none to kill.
fn victims(sessions: &Sessions, id: Id, lost: &[&Lost]) -> Option<(Slot, Victims)> {
    let of = |kind: OnRevoke| {
        let lost = lost.iter().filter(move |lost| lost.on_revoke == kind);
        lost.fold(0, |marks, lost| marks | mark(lost.bit))
    };
    let (by_use, by_session) = (of(OnRevoke::Kill), of(OnRevoke::KillSession));
    if by_use | by_session == 0 {
        return None;
    }
    let registry = sessions.lock();
    // In audit mode nothing is refused, so nothing is lost.
    let session = registry.by_id(id).filter(|it| it.mode == Enforcement::Enforce);
    let slot = session.map(Session::slot)?;
    let victims = match registry.enforcer().used(slot) {
        Ok(used) if used.marks() & by_session != 0 || used.unknown() & by_use != 0 => Victims::All,
        Ok(used) if used.marks() & by_use != 0 => Victims::Marked(by_use),
        Ok(_) => return None,
        // If that can't be known, the tools count as used.
        Err(error) => {
            tracing::error!("{error}: all processes of session {id} are killed");
            Victims::All
        }
    };
    Some((slot, victims))
}

/// The processes to kill among the session's tasks, with the marks of each. A process that shares memory or descriptors
/// with a marked process is one of them: it can use whatever that one got by the tool.
fn chosen(tasks: &[TaskRecord], victims: Victims) -> BTreeMap<u32, u32> {
    let is_marked = |task: &&TaskRecord| match victims {
        Victims::Marked(marks) => task.marks & marks != 0,
        Victims::All => true,
    };
    let marked: BTreeSet<u32> = tasks.iter().filter(is_marked).map(|task| task.process).collect();
    // A task without memory is exiting, and runs no more code of its own.
    let alive = || tasks.iter().filter(|task| task.memory != 0);
    let (mut shared, mut chosen) = (BTreeMap::<u64, u32>::new(), BTreeMap::<u32, u32>::new());
    for task in alive().filter(|task| marked.contains(&task.process)) {
        for held in [task.memory, task.descriptors] {
            *shared.entry(held).or_default() |= task.marks;
        }
    }
    shared.remove(&0);
    for task in alive() {
        for marks in [task.memory, task.descriptors].iter().filter_map(|held| shared.get(held)) {
            *chosen.entry(task.process).or_default() |= marks;
        }
    }
    chosen
}

/// Kills until [`LOOKS`] listings in a row have no process to kill, and collects the killed ones with their marks.
fn kill(
    sessions: &Sessions,
    id: Id,
    victims: Victims,
    killed: &mut BTreeMap<u32, u32>,
) -> Result<(), Error> {
    let look = || -> Result<_, KernelError> {
        let tasks = sessions.lock().enforcer().tasks(id.0)?;
        Ok(chosen(&tasks, victims))
    };
    let begun = Instant::now();
    let (mut clean, mut found) = (0, look()?);
    while clean < LOOKS {
        if !found.is_empty() && begun.elapsed() > PATIENCE {
            let processes = found.into_keys().map(u32::cast_signed).collect();
            return Err(Error::Left { processes });
        }
        // Opened before the next listing: a process id that is listed again belongs to the process that was opened, or
        // that one has exited.
        let opened: Vec<(u32, OwnedFd)> =
            found.keys().filter_map(|process| open(*process)).collect();
        found = look()?;
        clean = if found.is_empty() { clean + 1 } else { 0 };
        for (process, descriptor) in opened {
            if let Some(marks) = found.get(&process)
                && pidfd_send_signal(&descriptor, Signal::KILL).is_ok()
            {
                killed.insert(process, *marks);
            }
        }
        if !found.is_empty() {
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// A process by its id; `None` if it has exited.
fn open(process: u32) -> Option<(u32, OwnedFd)> {
    let pid = Pid::from_raw(i32::try_from(process).ok()?)?;
    Some((process, pidfd_open(pid, PidfdFlags::empty()).ok()?))
}

/// Logs that a process was killed, and because of which tools.
fn log(sessions: &Sessions, id: Id, lost: &[&Lost], process: u32, marks: u32) {
    let mut registry = sessions.lock();
    let Some(session) = registry.by_id(id) else { return };
    let mut control = Control::of(Act::Kill, session, &Actor::daemon());
    let kill_tools = || lost.iter().filter(|lost| lost.on_revoke != OnRevoke::Block);
    let own = kill_tools().filter(|lost| mark(lost.bit) & marks != 0);
    control.tools = own.map(|lost| lost.tool.clone()).collect();
    control.reason = Some(if control.tools.is_empty() {
        control.tools = kill_tools().map(|lost| lost.tool.clone()).collect();
        format!("process {process} is of a session that used it")
    } else {
        format!("process {process} used it, or has it from one that did")
    });
    registry.log_act(control);
}

#[cfg(test)]
mod tests {
    use agent_common::id::SessionId;

    use super::*;

    const fn task(process: u32, memory: u64, marks: u32) -> TaskRecord {
        TaskRecord { session: SessionId(1), memory, descriptors: memory + 1, process, marks }
    }

    #[test]
    fn process_with_a_marked_thread_is_killed() {
        let tasks = [task(1, 10, 0), task(1, 10, 4), task(2, 20, 0), task(3, 30, 2)];
        assert_eq!(chosen(&tasks, Victims::Marked(4)), BTreeMap::from([(1, 4)]));
        assert_eq!(chosen(&tasks, Victims::Marked(6)), BTreeMap::from([(1, 4), (3, 2)]));
        assert_eq!(chosen(&tasks, Victims::Marked(1)), BTreeMap::new());
        assert_eq!(chosen(&tasks, Victims::All).len(), 3);
    }

    #[test]
    fn process_that_shares_memory_or_descriptors_with_a_marked_one_is_killed() {
        let mut tasks = [task(1, 10, 4), task(2, 10, 0), task(3, 30, 0), task(4, 40, 0)];
        tasks[3].descriptors = tasks[0].descriptors;
        let all = BTreeMap::from([(1, 4), (2, 4), (4, 4)]);
        assert_eq!(chosen(&tasks, Victims::Marked(4)), all);
    }

    #[test]
    fn process_without_memory_is_not_killed_and_one_without_its_first_thread_is() {
        // The thread that used it has ended and waits; another goes on.
        let tasks = [task(1, 0, 4), task(1, 10, 0), task(2, 0, 4)];
        assert_eq!(chosen(&tasks, Victims::Marked(4)), BTreeMap::from([(1, 0)]));
    }
}
