//! The programs of a process's ancestors, from `/proc`, and from memory for processes that have exited.
//!
//! An event names ancestors by process id. Ids are reused, so an answer counts only for a process that started before
//! the event. A process may have called exec since the event; the command name in the event shows that.

use std::{collections::HashMap, fs, os::unix::ffi::OsStrExt as _, path::PathBuf};

use agent_common::id::BootNanos;

/// The most processes that are remembered.
const CAPACITY: usize = 4_096;

/// A remembered process.
#[derive(Clone, Debug)]
struct Known {
    /// When it started.
    started: BootNanos,
    /// The program's path.
    exe: Vec<u8>,
    /// When it was asked for last, counted in questions.
    used: u64,
}

/// Programs of processes, from `/proc` and from memory.
#[derive(Debug)]
pub struct Processes {
    proc: PathBuf,
    /// Nanoseconds of one unit of the start times in `/proc`.
    tick: u64,
    known: HashMap<u32, Known>,
    questions: u64,
}

impl Default for Processes {
    fn default() -> Self {
        Self::new()
    }
}

impl Processes {
    /// No process is remembered yet.
    pub fn new() -> Self {
        let ticks = rustix::param::clock_ticks_per_second().max(1);
        Self::at("/proc".into(), 1_000_000_000 / ticks)
    }

    fn at(proc: PathBuf, tick: u64) -> Self {
        Self { proc, tick, known: HashMap::new(), questions: 0 }
    }

    /// The path of the program that a process runs, or ran when it was asked for last. `None` if no process with this
    /// id is known to have existed before the moment.
    pub fn exe(&mut self, pid: u32, before: BootNanos) -> Option<Vec<u8>> {
        self.questions += 1;
        if let Some((started, exe)) = self.look(pid).filter(|(started, _)| *started <= before) {
            self.remember(pid, Known { started, exe: exe.clone(), used: self.questions });
            return Some(exe);
        }
        let questions = self.questions;
        let known = self.known.get_mut(&pid).filter(|known| known.started <= before)?;
        known.used = questions;
        Some(known.exe.clone())
    }

    /// A live process's start time and program. The start time is read before and after the program, so that both are
    /// of one process. Kernel threads have no program.
    fn look(&self, pid: u32) -> Option<(BootNanos, Vec<u8>)> {
        let folder = self.proc.join(pid.to_string());
        let started = self.started(&folder)?;
        let exe = fs::read_link(folder.join("exe")).ok()?;
        (self.started(&folder)? == started).then(|| (started, exe.as_os_str().as_bytes().to_vec()))
    }

    /// Field 22 of `stat` (proc_pid_stat(5)), which counts from boot, sleep included. The second field,
    /// the command name in brackets, may hold anything, brackets too: what counts is behind the last.
    fn started(&self, folder: &std::path::Path) -> Option<BootNanos> {
        let stat = fs::read(folder.join("stat")).ok()?;
        let behind = stat.iter().rposition(|byte| *byte == b')')? + 1;
        let fields = str::from_utf8(stat.get(behind..)?).ok()?;
        let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
        ticks.checked_mul(self.tick).map(BootNanos)
    }

    fn remember(&mut self, pid: u32, known: Known) {
        if self.known.len() >= CAPACITY && !self.known.contains_key(&pid) {
            self.forget();
        }
        self.known.insert(pid, known);
    }

    /// Forgets the half that was not asked for the longest time.
    fn forget(&mut self) {
        let mut uses: Vec<u64> = self.known.values().map(|known| known.used).collect();
        let middle = uses.len() / 2;
        let (_, &mut median, _) = uses.select_nth_unstable(middle);
        self.known.retain(|_, known| known.used > median);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn process(proc: &std::path::Path, pid: u32, comm: &str, started: u64, exe: &str) {
        let folder = proc.join(pid.to_string());
        fs::create_dir_all(&folder).unwrap();
        let stat = format!("{pid} ({comm}) S 1{} {started} 0 0\n", " 0".repeat(17));
        fs::write(folder.join("stat"), stat).unwrap();
        let _ = fs::remove_file(folder.join("exe"));
        symlink(exe, folder.join("exe")).unwrap();
    }

    #[test]
    fn running_process_has_its_program() {
        let exe = Processes::new().exe(std::process::id(), BootNanos::NEVER).unwrap();
        assert_eq!(exe, std::env::current_exe().unwrap().as_os_str().as_bytes());
    }

    #[test]
    fn process_that_started_later_is_another_with_the_same_id() {
        let proc = tempfile::tempdir().unwrap();
        process(proc.path(), 7, "a) b) c", 100, "/bin/sh");
        let mut processes = Processes::at(proc.path().into(), 1);
        assert_eq!(processes.exe(7, BootNanos(99)), None);
        assert_eq!(processes.exe(7, BootNanos(100)), Some(b"/bin/sh".to_vec()));
        process(proc.path(), 7, "new", 200, "/bin/new");
        assert_eq!(processes.exe(7, BootNanos(150)), Some(b"/bin/sh".to_vec()));
        assert_eq!(processes.exe(7, BootNanos(250)), Some(b"/bin/new".to_vec()));
    }

    #[test]
    fn exited_process_is_remembered_and_an_unknown_one_is_not() {
        let proc = tempfile::tempdir().unwrap();
        process(proc.path(), 7, "sh", 100, "/bin/sh");
        let mut processes = Processes::at(proc.path().into(), 1);
        processes.exe(7, BootNanos(100)).unwrap();
        fs::remove_dir_all(proc.path().join("7")).unwrap();
        assert_eq!(processes.exe(7, BootNanos(300)), Some(b"/bin/sh".to_vec()));
        assert_eq!(processes.exe(8, BootNanos(300)), None);
    }

    #[test]
    fn memory_is_bounded_and_keeps_recent_processes() {
        let mut processes = Processes::at("/nonexistent".into(), 1);
        for pid in 0..3 * u32::try_from(CAPACITY).unwrap() {
            processes.questions += 1;
            let used = processes.questions;
            processes.remember(pid, Known { started: BootNanos(0), exe: Vec::new(), used });
            assert!(processes.known.len() <= CAPACITY);
            assert!(processes.known.contains_key(&pid));
        }
    }

    #[test]
    fn malformed_stat_is_no_process() {
        let proc = tempfile::tempdir().unwrap();
        for stat in ["", ")", "7 (sh) S 1 2", "7 (sh) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 x"] {
            process(proc.path(), 7, "sh", 100, "/bin/sh");
            fs::write(proc.path().join("7/stat"), stat).unwrap();
            let mut processes = Processes::at(proc.path().into(), 1);
            assert_eq!(processes.exe(7, BootNanos::NEVER), None, "{stat}");
        }
    }
}
