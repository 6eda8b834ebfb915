//! Killing follows use: who used a tool whose loss kills, and what was forked by such since, carries the tool's mark.
//! The kernel side marks before a use goes on; here those who carry the mark of what was lost are killed.

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
    kill::{LOOKS, PATIENCE, PAUSE},
    mappings::Lost,
    model::Enforcement,
    witness::{Act, Control},
};
use crate::{bpf::KernelError, policy::OnRevoke};

/// Whom of a session the loss of tools kills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victims {
    /// Who carries one of these marks.
    Marked(u32),
    /// Everybody.
    All,
}

/// Kills the processes of a session that used what it lost, where the policy says so, and tells the log. Meanwhile the
/// session makes no new ones: a chain of processes that fork and end would be elsewhere whenever it is looked for.
///
/// # Errors
/// Some live on although they were killed, or the kernel does not tell of tasks.
pub(super) fn settle(sessions: &Sessions, id: Id, lost: &[&Lost]) -> Result<(), Error> {
    let Some((slot, victims)) = victims(sessions, id, lost) else { return Ok(()) };
    sessions.lock().hold_forks(slot, PATIENCE)?;
    let mut killed = BTreeMap::new();
    let outcome = kill(sessions, id, victims, &mut killed);
    for (process, marks) in killed {
        tell(sessions, id, lost, process, marks);
    }
    let released = sessions.lock().hold_forks(slot, Duration::ZERO);
    outcome.and(released.map_err(Error::from))
}

/// Whom the loss kills, and in which slot; none where that is nobody.
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
        // What can't be known counts as used.
        Err(error) => {
            tracing::error!("{error}: all processes of session {id} are killed");
            Victims::All
        }
    };
    Some((slot, victims))
}

/// The processes among tasks that are to be killed, with the marks of each. One that shares memory or descriptors with
/// a marked process holds what that one has.
fn chosen(tasks: &[TaskRecord], victims: Victims) -> BTreeMap<u32, u32> {
    let is_marked = |task: &&TaskRecord| match victims {
        Victims::Marked(marks) => task.marks & marks != 0,
        Victims::All => true,
    };
    let marked: BTreeSet<u32> = tasks.iter().filter(is_marked).map(|task| task.process).collect();
    // A task without memory is at its end, past all that it could do.
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

/// Kills until looks find nobody, and notes who was killed, each with its marks.
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
        // Opened before the next look: whoever has the number then is who was opened, or that one is dead.
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

/// A process by its number; none if it is gone.
fn open(process: u32) -> Option<(u32, OwnedFd)> {
    let pid = Pid::from_raw(i32::try_from(process).ok()?)?;
    Some((process, pidfd_open(pid, PidfdFlags::empty()).ok()?))
}

/// Tells the log of a process that was killed, and for which tools.
fn tell(sessions: &Sessions, id: Id, lost: &[&Lost], process: u32, marks: u32) {
    let mut registry = sessions.lock();
    let Some(session) = registry.by_id(id) else { return };
    let mut control = Control::of(Act::Kill, session, &Actor::daemon());
    let deadly = || lost.iter().filter(|lost| lost.on_revoke != OnRevoke::Block);
    let own = deadly().filter(|lost| mark(lost.bit) & marks != 0);
    control.tools = own.map(|lost| lost.tool.clone()).collect();
    control.reason = Some(if control.tools.is_empty() {
        control.tools = deadly().map(|lost| lost.tool.clone()).collect();
        format!("process {process} is of a session that used it")
    } else {
        format!("process {process} used it, or has it from one that did")
    });
    registry.tell(control);
}

#[cfg(test)]
mod tests {
    use agent_common::id::SessionId;

    use super::*;

    const fn task(process: u32, memory: u64, marks: u32) -> TaskRecord {
        TaskRecord { session: SessionId(1), memory, descriptors: memory + 1, process, marks }
    }

    #[test]
    fn process_is_killed_for_the_mark_of_any_of_its_threads() {
        let tasks = [task(1, 10, 0), task(1, 10, 4), task(2, 20, 0), task(3, 30, 2)];
        assert_eq!(chosen(&tasks, Victims::Marked(4)), BTreeMap::from([(1, 4)]));
        assert_eq!(chosen(&tasks, Victims::Marked(6)), BTreeMap::from([(1, 4), (3, 2)]));
        assert_eq!(chosen(&tasks, Victims::Marked(1)), BTreeMap::new());
        assert_eq!(chosen(&tasks, Victims::All).len(), 3);
    }

    #[test]
    fn process_that_shares_what_a_marked_one_has_goes_with_it() {
        let mut tasks = [task(1, 10, 4), task(2, 10, 0), task(3, 30, 0), task(4, 40, 0)];
        tasks[3].descriptors = tasks[0].descriptors;
        let all = BTreeMap::from([(1, 4), (2, 4), (4, 4)]);
        assert_eq!(chosen(&tasks, Victims::Marked(4)), all);
    }

    #[test]
    fn process_lives_on_after_its_first_thread_and_is_gone_without_memory() {
        // The thread that used it has ended and waits; another goes on.
        let tasks = [task(1, 0, 4), task(1, 10, 0), task(2, 0, 4)];
        assert_eq!(chosen(&tasks, Victims::Marked(4)), BTreeMap::from([(1, 0)]));
    }
}
