//! Processes outside of every session, one for each user, that note what is done to them.

use std::{
    fs, ptr,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use crate::program::User;

/// What a victim notes, shared with the hunter.
#[repr(C)]
struct Notes {
    /// Signals that came.
    signals: AtomicU32,
    /// The last of them.
    last: AtomicU32,
}

/// Where the running victim's notes are.
static NOTES: std::sync::atomic::AtomicPtr<Notes> =
    std::sync::atomic::AtomicPtr::new(ptr::null_mut());

/// What a victim keeps in its memory.
static KEPT: [u8; 64] = *b"SECRET:07;SECRET:07;SECRET:07;SECRET:07;SECRET:07;SECRET:07;....";

/// A process outside.
pub(crate) struct Victim {
    user: User,
    pub(crate) pid: i32,
    notes: &'static Notes,
    /// The address of its secret, which is private memory of its own.
    pub(crate) address: u64,
    before: String,
}

extern "C" fn note(signal: i32) {
    let notes = NOTES.load(Ordering::SeqCst);
    if !notes.is_null() {
        // SAFETY: the memory is shared and never unmapped.
        let notes = unsafe { &*notes };
        notes.last.store(signal as u32, Ordering::SeqCst);
        notes.signals.fetch_add(1, Ordering::SeqCst);
    }
}

impl Victim {
    /// Starts one.
    ///
    /// # Panics
    /// When it can't.
    pub(crate) fn start(user: User) -> Self {
        // SAFETY: the kernel chooses the places, which are never unmapped; zeroes are notes.
        let (notes, memory) = unsafe {
            let map = |flags| {
                libc::mmap(
                    ptr::null_mut(),
                    4096,
                    libc::PROT_READ | libc::PROT_WRITE,
                    flags | libc::MAP_ANONYMOUS,
                    -1,
                    0,
                )
            };
            let (notes, memory) = (map(libc::MAP_SHARED), map(libc::MAP_PRIVATE));
            assert!(notes != libc::MAP_FAILED && memory != libc::MAP_FAILED, "no memory");
            (&*notes.cast::<Notes>(), memory)
        };
        // SAFETY: the hunter has one thread here.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "no process outside");
        if pid == 0 {
            live(user, notes, memory.cast());
        }
        let victim = Self { user, pid, notes, address: memory as u64, before: String::new() };
        for _ in 0..2000 {
            if notes.last.load(Ordering::SeqCst) == u32::MAX {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        victim
    }

    /// Notes how the victim is before a program.
    pub(crate) fn look(&mut self) {
        self.notes.signals.store(0, Ordering::SeqCst);
        self.before = self.attributes();
    }

    /// What has been done to the victim since then.
    pub(crate) fn harm(&self) -> Option<String> {
        let signals = self.notes.signals.load(Ordering::SeqCst);
        if signals > 0 {
            let last = self.notes.last.load(Ordering::SeqCst);
            return Some(format!("a process outside got {signals} signals, the last {last}"));
        }
        let now = self.attributes();
        let different = self.before.lines().zip(now.lines()).find(|(before, now)| before != now);
        different
            .map(|(before, now)| format!("a process outside was changed: `{before}`, now `{now}`"))
    }

    /// Ends it and starts another.
    pub(crate) fn replace(&mut self) {
        // SAFETY: the calls get a child's number.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, ptr::null_mut(), 0);
        }
        *self = Self::start(self.user);
    }

    /// What others can change of a process, one a line.
    fn attributes(&self) -> String {
        let pid = self.pid;
        let read =
            |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let mut text = String::new();
        let stat = read("stat");
        if let Some((_, rest)) = stat.rsplit_once(") ") {
            let fields: Vec<&str> = rest.split(' ').collect();
            let state = if fields[0] == "R" { "S" } else { fields[0] };
            let kept: Vec<&str> = [2, 3, 15, 16, 37, 38]
                .iter()
                .filter_map(|place| fields.get(*place).copied())
                .collect();
            text.push_str(&format!(
                "state {state}\ngroup, session, priority, nice, real-time, policy {}\n",
                kept.join(" ")
            ));
        }
        for line in read("status").lines() {
            if ["TracerPid", "Cpus_allowed:", "Uid", "Gid", "CapEff", "Threads"]
                .iter()
                .any(|name| line.starts_with(name))
            {
                text.push_str(line);
                text.push('\n');
            }
        }
        text.push_str(&format!("oom {}", read("oom_score_adj")));
        text.push_str(&format!("cgroup {}", read("cgroup")));
        // SAFETY: the calls get numbers and a valid structure.
        unsafe {
            let mut limit: libc::rlimit = std::mem::zeroed();
            libc::prlimit(pid, libc::RLIMIT_NOFILE, ptr::null(), &raw mut limit);
            let priority = libc::syscall(libc::SYS_ioprio_get, 1, pid);
            text.push_str(&format!("files {}\nioprio {priority}\n", limit.rlim_cur));
        }
        let mut memory = [0_u8; 64];
        let (own, other) = ([memory.as_mut_ptr() as u64, 64], [self.address, 64]);
        // SAFETY: both say where memory is, the kernel checks the other's.
        unsafe {
            libc::syscall(
                libc::SYS_process_vm_readv,
                pid,
                own.as_ptr(),
                1_u64,
                other.as_ptr(),
                1_u64,
                0_u64,
            )
        };
        text.push_str(&format!("memory {}\n", String::from_utf8_lossy(&memory)));
        text
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // SAFETY: the call gets a child's number.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }
}

/// What a victim does: notes signals.
fn live(user: User, notes: &'static Notes, memory: *mut u8) -> ! {
    NOTES.store(ptr::from_ref(notes).cast_mut(), Ordering::SeqCst);
    // SAFETY: the memory has a page; the calls get numbers and valid structures; the process has one thread.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        memory.copy_from(KEPT.as_ptr(), KEPT.len());
        libc::setpgid(0, 0);
        user.assume();
        for signal in 1..=64 {
            if [libc::SIGKILL, libc::SIGSTOP, 32, 33].contains(&signal) {
                continue;
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note as extern "C" fn(i32) as usize;
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
        notes.last.store(u32::MAX, Ordering::SeqCst);
        loop {
            libc::pause();
        }
    }
}
