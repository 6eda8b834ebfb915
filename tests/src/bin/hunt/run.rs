//! Runs one program in a session, and has what came of it judged (see [`crate::judge`]).

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::fd::AsRawFd as _,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::{
    child::{self, Given},
    event::Event,
    facts::Facts,
    files,
    judge::{Find, Judge, is_refusal},
    outside::{Outside, Standing, output},
    program::{Act, Program, User},
    record,
    shared::{Shared, wait, wake},
    table::Table,
    world::Class,
};

/// How long a program may take.
const LONGEST: Duration = Duration::from_secs(20);
/// How long a process may live on after the daemon has killed its session.
const DYING: Duration = Duration::from_secs(3);
/// How long a thread may be at one step until it is interrupted.
const STEP: Duration = Duration::from_millis(8);

/// What came of a program.
pub(crate) struct Report {
    pub(crate) finds: Vec<Find>,
    /// What each step returned; `None` where it is not over.
    pub(crate) values: Vec<Option<i64>>,
    /// Where the session stood, by epochs.
    pub(crate) standings: Vec<Standing>,
    /// The epoch in which each step began.
    pub(crate) begun: Vec<Option<u32>>,
}

/// A session whose processes do one program after another.
struct Session {
    number: u32,
    pid: i32,
    programs: u32,
    /// Its standard output's other end, where others write what only its reader may have.
    read: File,
    write: File,
}

impl Session {
    /// Makes its standard output as it is at first.
    fn refill(&self) {
        let mut taken = [0; 4096];
        while matches!((&self.read).read(&mut taken), Ok(1..)) {}
        let _ = (&self.write).write(files::secret(11).as_bytes());
    }
}

/// How many programs one session does, at most.
const LONGEST_SESSION: u32 = 60;

/// Runs programs, one after another.
pub(crate) struct Runner<'a> {
    pub(crate) table: &'a Table,
    pub(crate) outside: Outside,
    shared: &'static Shared,
    number: u32,
    sessions: [Option<Session>; 2],
}

impl<'a> Runner<'a> {
    pub(crate) fn new(table: &'a Table) -> Self {
        Self {
            table,
            outside: Outside::make(),
            shared: Shared::make(),
            number: 0,
            sessions: [None, None],
        }
    }

    /// Runs a program; one that keeps to what is allowed also outside of every session, to see what would come of it.
    pub(crate) fn run(&mut self, program: &Program) -> Report {
        let control = program.lawful.then(|| self.once(program, false));
        let mut report = self.once(program, true);
        if let Some(control) = control {
            // What a bind asked for is noted before the kernel can fail it, and the socket is judged by it.
            let binds_in_vain = |step: &usize| {
                program.name(*step, self.table).contains("bind")
                    && control.values[*step].is_some_and(|value| value < 0)
            };
            if (0..program.steps.len()).any(|step| binds_in_vain(&step)) {
                return report;
            }
            for (step, value) in report.values.iter().enumerate() {
                let is_done = control.values[step].is_some_and(|value| value >= 0);
                if value.is_some_and(is_refusal) && is_done {
                    let name = program.name(step, self.table);
                    report.finds.push(Find::new(
                        format!("refused {name}"),
                        format!("step {step}, `{name}`, was refused to a session that may do it"),
                    ));
                    break;
                }
            }
        }
        report
    }

    fn once(&mut self, program: &Program, tagged: bool) -> Report {
        self.number += 1;
        let number = self.number;
        // In a session that did others before, unless what is done can only be seen from its own parent.
        let shares = tagged && !number.is_multiple_of(16) && self.may_share(program);
        if shares {
            self.sit(program.user);
        }
        let session = if shares { self.sessions[program.user as usize].as_ref() } else { None };
        let name = session.map_or(number, |session| session.number);
        let facts = self.outside.refresh(number, name, program.user);
        let before = files::state(|class| matches!(class, Class::Never | Class::ReadOnly));
        let spare = files::state(|class| class == Class::Spare);
        if program.uses("fat/key") {
            files::forget_names();
        }
        self.shared.clear();
        let mut finds = Vec::new();
        let child = match &self.sessions[program.user as usize] {
            Some(session) if shares => {
                session.refill();
                self.shared.order(program.user, number, facts.words(), &program.text(self.table));
                self.wait_until_ready(session.pid);
                self.shared.child.load(Ordering::SeqCst) as i32
            }
            _ => self.begin(program, facts, tagged),
        };
        self.follow(program, child, shares, &mut finds);
        self.outside.servers.look(number);
        // Looking for all processes of a session takes as long as a program.
        let threads_end = |step| program.name(step, self.table) == "exit_thread";
        let kills = (0..program.steps.len()).any(threads_end) || number.is_multiple_of(8);
        if tagged {
            finds.extend(self.judge(program).before_the_end(child));
            finds.extend(self.ask(number, name));
        }
        if shares {
            self.leave(program.user, child, &mut finds);
        } else {
            if tagged {
                finds.extend(
                    self.outside.end(number, kills).map(|text| Find::new("not ended", text)),
                );
            }
            if !tagged || !kills {
                // SAFETY: the call gets a child's number.
                unsafe { libc::kill(child, libc::SIGKILL) };
            }
            finds.extend(self.reap(child));
        }
        if tagged {
            self.outside.servers.look(number);
            finds.extend(self.judge(program).all(&before, &spare));
        }
        let steps = 0..program.steps.len();
        Report {
            finds,
            values: steps.clone().map(|step| self.shared.value(step)).collect(),
            begun: steps.map(|step| self.shared.begun(step)).collect(),
            standings: self.outside.standings.clone(),
        }
    }

    /// Asks the daemon now and then, whose answers take as long as a program.
    fn ask(&mut self, number: u32, session: u32) -> Vec<Find> {
        let mut finds = Vec::new();
        if self.outside.is_paused() {
            return finds;
        }
        if number.is_multiple_of(8) && !self.outside.standing().ended {
            let mut rng = Rng::with_seed(number.into());
            let wrong = record::ask(&mut rng, session, self.outside.standing());
            finds.extend(wrong.map(|text| Find::new("explain", text)));
        }
        if number.is_multiple_of(64) {
            finds.extend(record::faults().map(|text| Find::new("record", text)));
        }
        finds
    }

    fn judge<'b>(&'b mut self, program: &'b Program) -> Judge<'b> {
        Judge { table: self.table, shared: self.shared, outside: &mut self.outside, program }
    }

    /// Whether a program leaves its session as it was, so that others can follow.
    fn may_share(&self, program: &Program) -> bool {
        program.steps.iter().enumerate().all(|(number, step)| match step.act {
            Act::Event(event) => event != Event::End,
            Act::Call(..) => !["exit_thread", "ptrace"].contains(&program.name(number, self.table)),
        })
    }

    /// Makes sure that there is a session of the user's that does programs.
    fn sit(&mut self, user: User) {
        let place = user as usize;
        if let Some(session) = &self.sessions[place]
            && !is_gone(session.pid)
            && session.programs < LONGEST_SESSION
        {
            self.sessions[place].as_mut().expect("it is there").programs += 1;
            return;
        }
        if let Some(old) = self.sessions[place].take() {
            self.outside.end(old.number, true);
            // SAFETY: the calls get a child's number.
            unsafe {
                libc::kill(old.pid, libc::SIGKILL);
                libc::waitpid(old.pid, std::ptr::null_mut(), 0);
            }
        }
        self.number += 1;
        let number = self.number;
        let facts = self.outside.refresh(number, number, user);
        self.shared.clear();
        let (read, write) = output().expect("a pipe can be made");
        let given = Given {
            input: self.outside.terminal(),
            output: write.as_raw_fd(),
            tagged: true,
            group: facts.victim,
        };
        // SAFETY: this process has one thread; the child does not come back.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child::serve(self.table, self.shared, number, user, given);
        }
        self.wait_until_ready(pid);
        self.sessions[place] = Some(Session { number, pid, programs: 0, read, write });
    }

    /// Starts a program in a session of its own, or in none.
    fn begin(&self, program: &Program, facts: Facts, tagged: bool) -> i32 {
        let (_read, write) = output().expect("a pipe can be made");
        let group = if tagged { facts.victim } else { 0 };
        let given =
            Given { input: self.outside.terminal(), output: write.as_raw_fd(), tagged, group };
        // SAFETY: this process has one thread; the child does not come back.
        let child = unsafe { libc::fork() };
        if child == 0 {
            child::run(program, self.table, self.shared, facts, given);
        }
        self.wait_until_ready(child);
        child
    }

    fn wait_until_ready(&self, process: i32) {
        let begin = Instant::now();
        while begin.elapsed() < LONGEST && !is_gone(process) {
            let bell = self.shared.bell.load(Ordering::SeqCst);
            if self.shared.ready.load(Ordering::SeqCst) != 0 {
                return;
            }
            wait(&self.shared.bell, bell, Duration::from_millis(20));
        }
    }

    /// Ends a program in a session that goes on, and gives the session back what it may have lost.
    fn leave(&mut self, user: User, child: i32, finds: &mut Vec<Find>) {
        if child > 0 && self.shared.gone.load(Ordering::SeqCst) == 0 {
            // SAFETY: the call gets a process's number, which its parent has not waited for.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        self.outside.restore();
        let begin = Instant::now();
        while child > 0 && self.shared.gone.load(Ordering::SeqCst) == 0 {
            let session = self.sessions[user as usize].as_ref().map_or(0, |session| session.pid);
            if is_gone(session) {
                self.sessions[user as usize] = None;
                // SAFETY: no status is asked for.
                unsafe { libc::waitpid(session, std::ptr::null_mut(), 0) };
                // SAFETY: the call gets a number.
                while unsafe { libc::kill(child, libc::SIGKILL) } == 0 && begin.elapsed() < LONGEST
                {
                    thread::sleep(Duration::from_millis(1));
                }
                break;
            }
            if begin.elapsed() > LONGEST {
                finds.push(Find::new("survives", "a process of the session's can't be killed"));
                break;
            }
            // SAFETY: the call gets a child's number. A program may have stopped it.
            unsafe { libc::kill(session, libc::SIGCONT) };
            let bell = self.shared.bell.load(Ordering::SeqCst);
            if self.shared.gone.load(Ordering::SeqCst) == 0 {
                wait(&self.shared.bell, bell, Duration::from_millis(5));
            }
        }
        finds.extend(self.strangers());
    }

    /// Does what the program waits for, until all its threads have done their steps, or it is gone.
    fn follow(&mut self, program: &Program, child: i32, shares: bool, finds: &mut Vec<Find>) {
        let begin = Instant::now();
        let shared = self.shared;
        let mut at = [(0, begin); crate::program::LANES];
        loop {
            let bell = shared.bell.load(Ordering::SeqCst);
            let wanted = shared.wanted.load(Ordering::SeqCst);
            if wanted > 0 {
                let step = wanted as usize - 1;
                if let Act::Event(event) = program.steps[step].act {
                    self.outside.servers.look(self.number);
                    self.outside.happen(event);
                }
                shared.epoch.fetch_add(1, Ordering::SeqCst);
                shared.end(step, 0, -1, 0);
                shared.wanted.store(0, Ordering::SeqCst);
                shared.over.fetch_add(1, Ordering::SeqCst);
                wake(&shared.over);
                continue;
            }
            self.outside.servers.look(self.number);
            let is_over = shared.finished.load(Ordering::SeqCst) as usize >= program.lanes();
            let is_gone = if shares {
                // A program may end the process that began it, too.
                let session = self.sessions[program.user as usize].as_ref();
                shared.gone.load(Ordering::SeqCst) == 1
                    || session.is_none_or(|session| is_gone(session.pid))
            } else {
                is_gone(child)
            };
            if is_over || shared.ready.load(Ordering::SeqCst) == 2 || is_gone || child <= 0 {
                if shared.ready.load(Ordering::SeqCst) == 2 {
                    finds.push(Find::new("not begun", "the session did not begin"));
                }
                return;
            }
            if begin.elapsed() > LONGEST {
                finds.push(Find::new("hangs", "a step neither ended nor could be interrupted"));
                return;
            }
            for (lane, (seen, since)) in at.iter_mut().enumerate() {
                let now = shared.at[lane].load(Ordering::SeqCst);
                if now != *seen || now == 0 {
                    (*seen, *since) = (now, Instant::now());
                } else if since.elapsed() > STEP {
                    let thread = shared.threads[lane].load(Ordering::SeqCst);
                    // SAFETY: the calls get numbers.
                    // It may have stopped itself.
                    unsafe {
                        libc::kill(child, libc::SIGCONT);
                        libc::syscall(libc::SYS_tgkill, child, thread, libc::SIGUSR1);
                    }
                    *since = Instant::now();
                }
            }
            wait(&shared.bell, bell, Duration::from_millis(3));
        }
    }

    /// Children that are none of the hunter's.
    fn strangers(&self) -> Vec<Find> {
        let mut finds = Vec::new();
        loop {
            let mut status = 0;
            // SAFETY: the status is valid.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
            if pid <= 0 {
                return finds;
            }
            if !self.sessions.iter().flatten().any(|session| session.pid == pid) {
                let text = format!("process {pid} of the session's was made a child of another");
                finds.push(Find::new("child", text));
            }
        }
    }

    /// Waits for the end of a program's process.
    fn reap(&self, child: i32) -> Vec<Find> {
        let begin = Instant::now();
        let mut finds = Vec::new();
        loop {
            let mut status = 0;
            // SAFETY: the status is valid.
            match unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG | libc::__WALL) } {
                0 if begin.elapsed() > DYING => {
                    finds.push(Find::new(
                        "survives",
                        "the session's process lives on after its end",
                    ));
                    // SAFETY: the call gets a child's number.
                    unsafe { libc::kill(child, libc::SIGKILL) };
                    break;
                }
                0 => thread::sleep(Duration::from_millis(1)),
                _ => break,
            }
        }
        finds.extend(self.strangers());
        finds
    }
}

/// Whether a child has ended; it stays to be waited for.
fn is_gone(child: i32) -> bool {
    // SAFETY: zeroes are such a structure, and the call fills it in.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, child as u32, &raw mut info, flags) == 0 && info.si_pid() != 0
    }
}
