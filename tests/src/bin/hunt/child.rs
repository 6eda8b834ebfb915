//! The process of a program: becomes a session, and does the steps.

use std::{sync::atomic::Ordering, thread, time::Duration};

use io_uring::{IoUring, squeue};
use tests::{http, layout};

use crate::{
    facts::Facts,
    memory::{Memory, secrets},
    program::{Act, Program, User},
    shared::{Shared, wait},
    table::{Argument, Call, Field, Kind, Table, Way},
    world::WORK,
};

/// What a program is given.
#[derive(Clone, Copy)]
pub(crate) struct Given {
    /// Its standard input and output.
    pub(crate) input: i32,
    pub(crate) output: i32,
    /// Whether it becomes a session.
    pub(crate) tagged: bool,
    /// The process group that it joins.
    pub(crate) group: i32,
}

/// How long a step waits for what another thread gives it.
const PATIENCE: Duration = Duration::from_millis(8);

/// Does what a program says; ends with the process.
pub(crate) fn run(
    program: &Program,
    table: &Table,
    shared: &'static Shared,
    facts: Facts,
    given: Given,
) -> ! {
    let begun = prepare(program.user, given) && (!given.tagged || start_session(facts.number));
    shared.ready.store(if begun { 1 } else { 2 }, Ordering::SeqCst);
    shared.ring();
    if !begun {
        exit();
    }
    perform(program, table, shared, facts)
}

/// Becomes a session whose processes do one program after another, as they are ordered.
pub(crate) fn serve(
    table: &Table,
    shared: &'static Shared,
    number: u32,
    user: User,
    given: Given,
) -> ! {
    if !prepare(user, given) || !start_session(number) {
        shared.ready.store(2, Ordering::SeqCst);
        exit();
    }
    let go = &shared.go[user as usize];
    let mut last = go.load(Ordering::SeqCst);
    shared.ready.store(1, Ordering::SeqCst);
    shared.ring();
    loop {
        while go.load(Ordering::SeqCst) == last {
            wait(go, last, Duration::from_secs(60));
        }
        last = go.load(Ordering::SeqCst);
        let (words, text) = shared.ordered();
        // SAFETY: this process has one thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: the calls get numbers. In a group of its own it does not stop the process that starts others.
            unsafe {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                libc::setpgid(0, 0);
            }
            let Ok(program) = Program::read(&text, table) else { exit() };
            shared.child.store(std::process::id(), Ordering::SeqCst);
            shared.ready.store(1, Ordering::SeqCst);
            shared.ring();
            perform(&program, table, shared, Facts::of_words(words));
        }
        if child < 0 {
            shared.ready.store(2, Ordering::SeqCst);
        }
        // SAFETY: no status is asked for.
        while unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::__WALL) } != child
            && child > 0
            // SAFETY: as above.
            && unsafe { *libc::__errno_location() } == libc::EINTR
        {}
        shared.gone.store(1, Ordering::SeqCst);
        shared.ring();
    }
}

/// Does the steps of a program.
fn perform(program: &Program, table: &Table, shared: &'static Shared, facts: Facts) -> ! {
    thread::scope(|scope| {
        for lane in 1..program.lanes() {
            scope.spawn(move || Lane::new(program, table, shared, facts, lane).run());
        }
        Lane::new(program, table, shared, facts, 0).run();
    });
    exit()
}

fn exit() -> ! {
    // SAFETY: the call ends the process, without handlers of the hunter's.
    unsafe { libc::_exit(0) }
}

/// Sets up descriptors, signals, folder and user; `false` when something fails.
fn prepare(user: User, given: Given) -> bool {
    extern "C" fn interrupted(_: i32) {}
    // SAFETY: the calls get numbers and valid structures; the process has one thread.
    unsafe {
        libc::setpgid(0, given.group);
        libc::dup2(given.input, 0);
        libc::dup2(given.output, 1);
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        libc::dup2(null, 2);
        libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = interrupted as extern "C" fn(i32) as usize;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
        for signal in [libc::SIGPIPE, libc::SIGIO, libc::SIGHUP, libc::SIGTTIN, libc::SIGTTOU] {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let folder = std::ffi::CString::new(WORK).unwrap_or_default();
        if libc::chdir(folder.as_ptr()) != 0 {
            return false;
        }
    }
    user.assume()
}

/// The name of a program's session.
pub(crate) fn session_name(number: u32) -> String {
    format!("hunt-{number}")
}

/// Makes this process a session.
fn start_session(number: u32) -> bool {
    // What others start says what it passes on; what starts itself need not.
    let passed = if number.is_multiple_of(2) {
        r#"[{"fd":0,"target":"tty"},{"fd":1,"target":"pipe"}]"#
    } else {
        "[]"
    };
    let body = format!(
        r#"{{"profile":"hunt","workdir":"{WORK}","name":"{}","ttl":"1h","passed_fds":{passed}}}"#,
        session_name(number)
    );
    let answer = http::request(layout::SOCKET, "POST", "/v1/sessions", &body);
    answer.is_ok_and(|answer| answer.status == 201)
}

/// A thread of the program.
struct Lane<'a> {
    program: &'a Program,
    table: &'a Table,
    shared: &'static Shared,
    facts: Facts,
    lane: usize,
    ring: Option<IoUring>,
}

impl<'a> Lane<'a> {
    fn new(
        program: &'a Program,
        table: &'a Table,
        shared: &'static Shared,
        facts: Facts,
        lane: usize,
    ) -> Self {
        Self { program, table, shared, facts, lane, ring: None }
    }

    /// Does the thread's steps, and waits for the end of the session.
    fn run(mut self) {
        // SAFETY: the call has no precondition.
        let thread = unsafe { libc::gettid() };
        self.shared.threads[self.lane].store(thread as u32, Ordering::SeqCst);
        for (number, step) in self.program.steps.iter().enumerate() {
            if step.lane != self.lane {
                continue;
            }
            self.shared.begin(self.lane, number);
            match &step.act {
                Act::Event(_) => self.event(number),
                Act::Call(call, values) => self.call(number, &self.table.calls[*call], values),
            }
        }
        self.finish();
        loop {
            // SAFETY: the call has no precondition.
            unsafe { libc::pause() };
        }
    }

    fn finish(&self) {
        self.shared.at[self.lane].store(0, Ordering::SeqCst);
        self.shared.finished.fetch_add(1, Ordering::SeqCst);
        self.shared.ring();
    }

    /// Asks others to do something, and waits until they did.
    fn event(&self, number: usize) {
        let mine = number as u32 + 1;
        while self
            .shared
            .wanted
            .compare_exchange(0, mine, Ordering::SeqCst, Ordering::SeqCst)
            .is_err()
        {
            thread::sleep(Duration::from_millis(1));
        }
        self.shared.ring();
        while self.shared.value(number).is_none() {
            let over = self.shared.over.load(Ordering::SeqCst);
            if self.shared.value(number).is_none() {
                wait(&self.shared.over, over, Duration::from_millis(200));
            }
        }
    }

    fn call(&mut self, number: usize, call: &Call, values: &[crate::program::Value]) {
        self.wait_for_results(values);
        let facts = self.facts;
        let mut memory = Memory::new(&facts, self.shared, number);
        let arguments: Vec<i64> = call
            .arguments
            .iter()
            .zip(values)
            .map(|(argument, value)| memory.value(kind_name(&argument.kind), value))
            .collect();
        let word = |place: usize| arguments.get(place).copied().unwrap_or_default();
        let value = match call.way {
            Way::Peek => self.peek(number, word(0)),
            Way::Poke => self.poke(&mut memory, word(0)),
            Way::Ring(code) => self.submit(code, &call.arguments, &arguments),
            Way::System(libc::SYS_exit) => {
                self.shared.end(number, 0, -1, 0);
                self.finish();
                // SAFETY: ends this thread alone; what it owns stays until the process ends.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
                0
            }
            Way::System(libc::SYS_execve) => self.execute(word(0)),
            Way::System(code) => {
                let (result, is_child) = system(code, [0, 1, 2, 3, 4, 5].map(word));
                if is_child {
                    child_of_step(code);
                }
                result
            }
        };
        let (value, second) = match (call.gives.len(), value) {
            (2, 0) => {
                let place =
                    call.arguments.iter().position(|argument| argument.kind == Kind::Plain("fds"));
                two_numbers(memory.at(word(place.unwrap_or_default())))
            }
            _ => (value, -1),
        };
        self.shared.end(number, value, second, memory.secrets());
    }

    /// Waits a little for steps of the other thread whose results are used.
    fn wait_for_results(&self, values: &[crate::program::Value]) {
        use crate::program::{Fd, Value};
        for value in values {
            let (Value::Fd(Fd::Step(step, _)) | Value::Through(Fd::Step(step, _))) = value else {
                continue;
            };
            let mut waited = Duration::ZERO;
            while self.shared.value(*step).is_none() && waited < PATIENCE {
                thread::sleep(Duration::from_millis(1));
                waited += Duration::from_millis(1);
            }
        }
    }

    /// Loads from a mapping, by a call that fails where nothing is mapped.
    fn peek(&self, number: usize, address: i64) -> i64 {
        let mut buffer = vec![0_u8; 61_440];
        let mut got = -i64::from(libc::EFAULT);
        for page in (0..buffer.len()).step_by(4096) {
            let part = &mut buffer[page..page + 4096];
            match copy(
                part.as_mut_ptr() as i64,
                address + page as i64,
                part.len(),
                libc::SYS_process_vm_readv,
            ) {
                ..0 => break,
                copied => got = copied,
            }
        }
        self.shared.end(number, got, -1, secrets(&buffer));
        got
    }

    /// Stores to a mapping, likewise.
    fn poke(&self, memory: &mut Memory<'_>, address: i64) -> i64 {
        let marks = memory.value("in", &crate::program::Value::Made(0));
        copy(marks, address, 256, libc::SYS_process_vm_writev)
    }

    /// Runs a program in a child, and tells its error.
    fn execute(&self, path: i64) -> i64 {
        let mut fds = [0; 2];
        // SAFETY: the arrays are valid; the child does nothing but calls.
        unsafe {
            if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
                return -i64::from(libc::EMFILE);
            }
            let child = libc::syscall(libc::SYS_fork);
            if child == 0 {
                libc::dup3(fds[1], 62, libc::O_CLOEXEC);
                libc::syscall(libc::SYS_execve, path, 0_u64, 0_u64);
                let error: i32 = *libc::__errno_location();
                libc::write(62, (&raw const error).cast(), 4);
                libc::syscall(libc::SYS_exit_group, 0);
            }
            libc::close(fds[1]);
            let mut error: i32 = 0;
            // Nothing comes from a child that runs the program. Where this is interrupted, it is not known.
            if libc::read(fds[0], (&raw mut error).cast(), 4) < 0 {
                error = libc::EINTR;
            }
            libc::close(fds[0]);
            if child < 0 {
                return -i64::from(libc::EAGAIN);
            }
            libc::waitpid(child as i32, std::ptr::null_mut(), 0);
            -i64::from(error)
        }
    }

    /// Does an operation of io_uring.
    fn submit(&mut self, code: u8, arguments: &[Argument], values: &[i64]) -> i64 {
        if self.ring.is_none() {
            self.ring = IoUring::new(4).ok();
        }
        let Some(ring) = &mut self.ring else { return -i64::from(libc::ENOSYS) };
        let mut entry = [0_u8; 64];
        entry[0] = code;
        for (argument, value) in arguments.iter().zip(values) {
            let (place, len) = match argument.field {
                Some(Field::Fd) => (4, 4),
                Some(Field::Off) => (8, 8),
                Some(Field::Addr) => (16, 8),
                Some(Field::Len) => (24, 4),
                Some(Field::Flags) => (28, 4),
                Some(Field::Splice) => (44, 4),
                Some(Field::AddrLen) => (44, 2),
                Some(Field::Addr3) => (48, 8),
                None => continue,
            };
            entry[place..place + len].copy_from_slice(&value.to_ne_bytes()[..len]);
        }
        // SAFETY: an entry is 64 bytes in the kernel's form, whatever they are.
        let entry = unsafe { std::mem::transmute::<[u8; 64], squeue::Entry>(entry) };
        // SAFETY: what the entry names lives until the answer is there, or the ring is gone.
        if unsafe { ring.submission().push(&entry) }.is_err() {
            return -i64::from(libc::EAGAIN);
        }
        let submitted = ring.submit_and_wait(1);
        let answer = ring.completion().next().map(|answer| i64::from(answer.result()));
        match (submitted, answer) {
            (_, Some(answer)) => answer,
            (Err(error), None) => {
                self.ring = None;
                -i64::from(error.raw_os_error().unwrap_or(libc::EIO))
            }
            (Ok(_), None) => {
                self.ring = None;
                -i64::from(libc::EINTR)
            }
        }
    }
}

/// An argument's kind as [`Memory::value`] takes it.
fn kind_name(kind: &Kind) -> &str {
    match kind {
        Kind::Plain(name) => name,
        _ => "",
    }
}

/// The two descriptors in a call's memory.
fn two_numbers(bytes: &[u8]) -> (i64, i64) {
    let number = |bytes: &[u8]| i64::from(bytes.try_into().map_or(-1, i32::from_ne_bytes));
    if bytes.len() < 8 { (-1, -1) } else { (number(&bytes[..4]), number(&bytes[4..8])) }
}

/// Copies between memory and a mapping of this process, which may be none.
fn copy(here: i64, there: i64, len: usize, number: i64) -> i64 {
    let (own, other) = ([here, len as i64], [there, len as i64]);
    // SAFETY: the kernel checks both addresses.
    unsafe {
        let result = libc::syscall(
            number,
            libc::getpid(),
            own.as_ptr(),
            1_u64,
            other.as_ptr(),
            1_u64,
            0_u64,
        );
        if result < 0 { -i64::from(*libc::__errno_location()) } else { result }
    }
}

/// Calls the kernel; tells whether this is the child of a call that made one.
fn system(code: i64, [a, b, c, d, e, f]: [i64; 6]) -> (i64, bool) {
    let makes_child =
        [libc::SYS_fork, libc::SYS_vfork, libc::SYS_clone, libc::SYS_clone3].contains(&code);
    let code = if code == libc::SYS_vfork { libc::SYS_fork } else { code };
    // SAFETY: the addresses are of the step's memory, or none that anything lies at.
    unsafe {
        let result = libc::syscall(code, a, b, c, d, e, f);
        if makes_child && result == 0 {
            return (0, true);
        }
        if result == -1 { (-i64::from(*libc::__errno_location()), false) } else { (result, false) }
    }
}

/// What a child does that a step made: lives for a while, so that others can see where it is.
fn child_of_step(code: i64) -> ! {
    // SAFETY: the calls get a valid time and a number.
    unsafe {
        if code == libc::SYS_clone3 || code == libc::SYS_clone {
            let time = libc::timespec { tv_sec: 2, tv_nsec: 0 };
            libc::syscall(libc::SYS_nanosleep, &raw const time, 0);
        }
        libc::syscall(libc::SYS_exit_group, 77);
    }
    unreachable!("the process has ended")
}
