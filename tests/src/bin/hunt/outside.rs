//! Everything around a session: the daemon, files, servers, processes, queues, a terminal; and what others do while a
//! program runs.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{fs::OpenOptionsExt as _, net::UnixStream},
    },
    process::Command,
    thread,
    time::{Duration, Instant},
};

use tests::{
    bed::{Paused, bed},
    http,
};

use crate::{
    child::session_name,
    event::Event,
    facts::Facts,
    files::{self, Files},
    program::User,
    servers::Servers,
    victim::Victim,
    world::{Class, POLICY},
};

/// Files of the session's own, which it may not read without standing.
const OWN_FILES: [&str; 3] = ["/srv/hunt/own/a", "/srv/hunt/own/b", "/srv/hunt/own/dir/c"];

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// It holds `spare`.
    pub(crate) spare: bool,
    /// It holds `deadly`.
    pub(crate) deadly: bool,
    /// It is neither quarantined nor ended.
    pub(crate) active: bool,
    pub(crate) ended: bool,
}

impl Standing {
    /// At a session's start.
    const START: Self = Self { spare: false, deadly: true, active: true, ended: false };

    /// Whether the session may use what is of a class.
    pub(crate) fn has(self, class: Class) -> bool {
        self.active
            && match class {
                Class::Held | Class::ReadOnly | Class::WriteOnly => true,
                Class::Spare => self.spare,
                Class::Deadly => self.deadly,
                Class::Never => false,
            }
    }
}

/// What is around a session.
pub(crate) struct Outside {
    pub(crate) servers: Servers,
    files: Files,
    victims: [Victim; 2],
    terminal: (OwnedFd, OwnedFd),
    key: i32,
    ipc: [i32; 3],
    log: Option<File>,
    /// Where the session stands, by epochs.
    pub(crate) standings: Vec<Standing>,
    paused: Option<Paused>,
    brief: Option<Instant>,
    swaps: u32,
    /// The number of the session.
    session: u32,
    /// How the files of the tools `spare` and `deadly` were when these were taken back.
    pub(crate) after_loss: Vec<(Class, Vec<(&'static str, String)>)>,
}

impl Outside {
    /// Makes everything.
    ///
    /// # Panics
    /// When something can't be made.
    pub(crate) fn make() -> Self {
        for (path, value) in [
            ("/proc/sys/kernel/yama/ptrace_scope", "0"),
            ("/proc/sys/kernel/printk_ratelimit", "0"),
            ("/proc/sys/fs/mqueue/msg_max", "64"),
            // Each grant waits for all processors, which takes most of its time where they are idle.
            ("/sys/kernel/rcu_expedited", "1"),
        ] {
            let _ = fs::write(path, value);
        }
        let _ = Command::new("ip").args(["addr", "add", "10.66.0.9/32", "dev", "lo"]).status();
        let _ = fs::create_dir_all("/dev/mqueue");
        let files = Files::lay_out();
        bed().policy(POLICY);
        let terminal = terminal();
        let (key, ipc) = objects_of_others();
        let log = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok();
        let mut outside = Self {
            servers: Servers::start(),
            files,
            victims: [Victim::start(User::Root), Victim::start(User::Ordinary)],
            terminal,
            key,
            ipc,
            log,
            standings: Vec::new(),
            paused: None,
            brief: None,
            swaps: 0,
            session: 0,
            after_loss: Vec::new(),
        };
        outside.warnings();
        outside
    }

    /// Makes everything as it is before a program, and says what the program has to know.
    pub(crate) fn refresh(&mut self, number: u32, session: u32, user: User) -> Facts {
        self.session = session;
        self.standings = vec![Standing::START];
        self.brief = None;
        self.after_loss.clear();
        self.files.refresh();
        self.servers.clear();
        self.drain_terminal();
        refill_queues(self.ipc[2]);
        let victim = self.victim(user);
        victim.look();
        let (pid, address) = (victim.pid, victim.address);
        // SAFETY: the calls get numbers.
        let hunter = unsafe {
            libc::tcsetpgrp(self.terminal.1.as_raw_fd(), pid);
            libc::getpid()
        };
        let daemon = bed().daemon_pid().unwrap_or_default() as i32;
        Facts {
            number,
            victim: pid,
            victim_address: address,
            hunter,
            daemon,
            key: self.key,
            ipc: self.ipc,
        }
    }

    /// The victim of a user.
    pub(crate) fn victim(&mut self, user: User) -> &mut Victim {
        &mut self.victims[user as usize]
    }

    /// The terminal that sessions are given.
    pub(crate) fn terminal(&self) -> i32 {
        self.terminal.1.as_raw_fd()
    }

    fn drain_terminal(&self) {
        let mut buffer = [0_u8; 4096];
        // SAFETY: the buffer is as long as is said.
        while unsafe {
            libc::read(self.terminal.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len())
        } > 0
        {}
    }

    /// Where the session stands now.
    pub(crate) fn standing(&self) -> Standing {
        self.standings.last().copied().unwrap_or(Standing::START)
    }

    /// Whether the daemon does nothing at present.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    /// Does what a program waits for. The epoch that begins with it is the number of standings less one.
    pub(crate) fn happen(&mut self, event: Event) {
        let mut standing = self.standing();
        let session = format!("/v1/sessions/{}", session_name(self.session));
        let ask =
            |method: &str, path: String, body: &str| bed().ask(method, &path, body).status == 200;
        let is_paused = self.paused.is_some();
        match event {
            Event::Grant | Event::GrantBriefly if !is_paused && !standing.ended => {
                let ttl = if event == Event::Grant { "1h" } else { "1s" };
                let body = format!(r#"{{"tool":"spare","ttl":"{ttl}","reason":"hunt"}}"#);
                if standing.active {
                    files::declassify("/srv/hunt/spare/a");
                }
                if ask("POST", format!("{session}/grants"), &body) {
                    // The later end counts.
                    let is_brief =
                        event == Event::GrantBriefly && (self.brief.is_some() || !standing.spare);
                    self.brief = is_brief.then(Instant::now);
                    standing.spare = true;
                    self.after_loss.retain(|(class, _)| *class != Class::Spare);
                }
            }
            Event::Expire => {
                if let Some(begin) = self.brief.take() {
                    thread::sleep(Duration::from_millis(1_150).saturating_sub(begin.elapsed()));
                    standing.spare = false;
                }
            }
            Event::Revoke if !is_paused => {
                standing.spare &= !ask("DELETE", format!("{session}/grants/spare"), "");
                self.brief = None;
            }
            Event::RevokeDeadly if !is_paused => {
                standing.deadly &= !ask("DELETE", format!("{session}/grants/deadly"), "");
            }
            Event::Quarantine if !is_paused && !standing.ended => {
                standing.active &= !ask("POST", format!("{session}/quarantine"), "");
            }
            Event::Resume if !is_paused && !standing.ended => {
                self.declassify(standing);
                standing.active |= ask("POST", format!("{session}/resume"), "");
            }
            Event::End if !is_paused => {
                standing.ended |= ask("DELETE", session, "");
                standing.active &= !standing.ended;
            }
            Event::Pause if !is_paused => self.paused = Some(bed().pause()),
            Event::Swap if !is_paused => {
                self.swaps += 1;
                bed().policy(&format!("{POLICY}\n[tool.swap-{}]\n", self.swaps % 2));
            }
            Event::Approach => self.servers.approach(standing.active),
            _ => {}
        }
        self.tell(self.standing(), standing);
        self.standings.push(standing);
    }

    /// Puts secrets where the session may no longer read.
    fn tell(&mut self, before: Standing, now: Standing) {
        if before.spare && !now.spare {
            files::classify("/srv/hunt/spare/a", 3);
            self.servers.say(Some(Class::Spare), b"SECRET:13;");
            self.after_loss.push((Class::Spare, files::state(|class| class == Class::Spare)));
        }
        if before.deadly && !now.deadly {
            files::classify("/srv/hunt/deadly/a", 5);
            self.after_loss.push((Class::Deadly, files::state(|class| class == Class::Deadly)));
        }
        if before.active && !now.active {
            for path in OWN_FILES {
                files::classify(path, 18);
            }
            self.servers.say(None, b"SECRET:15;");
        }
    }

    /// Takes the secrets away again that a session without standing may not read.
    fn declassify(&self, standing: Standing) {
        for path in OWN_FILES {
            files::declassify(path);
        }
        if standing.spare {
            files::declassify("/srv/hunt/spare/a");
        }
    }

    /// Gives the program's session back where it stood at its start.
    pub(crate) fn restore(&mut self) {
        self.paused = None;
        let standing = self.standing();
        let session = format!("/v1/sessions/{}", session_name(self.session));
        if standing.spare || self.brief.take().is_some() {
            bed().ask("DELETE", &format!("{session}/grants/spare"), "");
        }
        if !standing.active && !standing.ended {
            bed().ask("POST", &format!("{session}/resume"), "");
        }
        if !standing.deadly {
            let body = r#"{"tool":"deadly","ttl":"1h","reason":"hunt"}"#;
            bed().ask("POST", &format!("{session}/grants"), body);
        }
    }

    /// Ends a program's session, with `kills` also whatever lives of it; says what does not end.
    pub(crate) fn end(&mut self, number: u32, kills: bool) -> Option<String> {
        self.paused = None;
        let path = format!("/v1/sessions/{}?kill={kills}", session_name(number));
        let answer = UnixStream::connect(tests::layout::SOCKET).and_then(|stream| {
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            http::ask(stream, "DELETE", &path, "")
        });
        match answer {
            Ok(answer) if [200, 404, 409].contains(&answer.status) => None,
            Ok(answer) => Some(format!("the session's processes can't be ended: {answer}")),
            Err(error) => Some(format!("the daemon does not answer: {error}")),
        }
    }

    /// What the kernel has to complain of since the last look.
    pub(crate) fn warnings(&mut self) -> Option<String> {
        let log = self.log.as_mut()?;
        let mut found = None;
        let mut line = [0_u8; 8192];
        loop {
            match log.read(&mut line) {
                Ok(0) => break,
                Ok(len) => {
                    let text = String::from_utf8_lossy(&line[..len]);
                    if [
                        "WARNING:",
                        "BUG:",
                        "Oops",
                        "general protection",
                        "soft lockup",
                        "rcu_preempt detected",
                    ]
                    .iter()
                    .any(|word| text.contains(word))
                    {
                        found.get_or_insert_with(|| format!("the kernel says: {}", text.trim()));
                    }
                }
                // What was overwritten before it was read.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(_) => break,
            }
        }
        found
    }

    /// What is wrong with the terminal, whose foreground is a process outside: the kind of find, and what was seen.
    pub(crate) fn harm_to_terminal(&mut self, user: User) -> Option<(&'static str, String)> {
        // SAFETY: the call gets a number.
        let group = unsafe { libc::tcgetpgrp(self.terminal()) };
        if group < 0 {
            self.terminal = terminal();
            return Some(("hung up", "the terminal of others was hung up".to_owned()));
        }
        (group != self.victims[user as usize].pid).then(|| {
            ("foreground", format!("the terminal's foreground was given to group {group}"))
        })
    }

    /// What is wrong with the objects of others that have no name in the file system.
    pub(crate) fn harm_to_objects(&self) -> Option<String> {
        // SAFETY: the calls get numbers and valid structures.
        unsafe {
            let mut queue: libc::msqid_ds = std::mem::zeroed();
            if libc::msgctl(self.ipc[2], libc::IPC_STAT, &raw mut queue) != 0 || queue.msg_qnum != 1
            {
                return Some(format!("a message queue of others has {} messages", queue.msg_qnum));
            }
            if libc::semctl(self.ipc[1], 0, libc::GETVAL) != 0 {
                return Some("a semaphore of others was changed".to_owned());
            }
            let mut memory: libc::shmid_ds = std::mem::zeroed();
            if libc::shmctl(self.ipc[0], libc::IPC_STAT, &raw mut memory) != 0
                || memory.shm_nattch != 0
            {
                return Some("a shared memory of others was attached or removed".to_owned());
            }
            let name = CString::new("/hunt").unwrap_or_default();
            let queue = libc::mq_open(name.as_ptr(), libc::O_RDONLY | libc::O_NONBLOCK);
            if queue < 0 {
                return Some("a POSIX message queue of others is gone".to_owned());
            }
            let mut attributes: libc::mq_attr = std::mem::zeroed();
            libc::mq_getattr(queue, &raw mut attributes);
            libc::mq_close(queue);
            (attributes.mq_curmsgs != 1).then(|| {
                format!("a POSIX message queue of others has {} messages", attributes.mq_curmsgs)
            })
        }
    }
}

/// A terminal that is this process's own: its outer end and the end for sessions.
fn terminal() -> (OwnedFd, OwnedFd) {
    // SAFETY: the calls get numbers and make the descriptors.
    unsafe {
        libc::setsid();
        for signal in [libc::SIGHUP, libc::SIGTTOU, libc::SIGTTIN, libc::SIGTSTP] {
            libc::signal(signal, libc::SIG_IGN);
        }
        let outer =
            libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC);
        assert!(outer >= 0, "no terminal: {}", io::Error::last_os_error());
        libc::grantpt(outer);
        libc::unlockpt(outer);
        let mut number: i32 = 0;
        libc::ioctl(outer, libc::TIOCGPTN, &raw mut number);
        let path = CString::new(format!("/dev/pts/{number}")).unwrap_or_default();
        libc::chmod(path.as_ptr(), 0o666);
        let inner = libc::open(path.as_ptr(), libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC);
        assert!(inner >= 0, "no terminal: {}", io::Error::last_os_error());
        libc::ioctl(inner, libc::TIOCSCTTY, 0);
        (OwnedFd::from_raw_fd(outer), OwnedFd::from_raw_fd(inner))
    }
}

/// Queues, memory and a semaphore of others, which the kernel lets everybody use.
fn objects_of_others() -> (i32, [i32; 3]) {
    let key = 0x0048_554e;
    // SAFETY: the calls get numbers; the memory is as long as what is copied to it.
    unsafe {
        let memory = libc::shmget(key, 4096, libc::IPC_CREAT | 0o666);
        let place = libc::shmat(memory, std::ptr::null(), 0);
        if place as isize != -1 {
            let text = files::secret(8);
            place.cast::<u8>().copy_from(text.as_ptr(), text.len());
            libc::shmdt(place);
        }
        let semaphore = libc::semget(key, 1, libc::IPC_CREAT | 0o666);
        let queue = libc::msgget(key, libc::IPC_CREAT | 0o666);
        (key, [memory, semaphore, queue])
    }
}

/// Makes the queues of others as they were: one secret in each.
fn refill_queues(queue: i32) {
    let mut message = [0_u8; 64];
    message[..8].copy_from_slice(&1_i64.to_ne_bytes());
    let text = files::secret(9);
    message[8..8 + text.len()].copy_from_slice(text.as_bytes());
    let name = CString::new("/hunt").unwrap_or_default();
    // SAFETY: the calls get numbers and valid memory.
    unsafe {
        let mut taken = [0_u8; 8200];
        while libc::msgrcv(queue, taken.as_mut_ptr().cast(), 8192, 0, libc::IPC_NOWAIT) >= 0 {}
        libc::msgsnd(queue, message.as_ptr().cast(), text.len(), libc::IPC_NOWAIT);
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_NONBLOCK;
        let queue = libc::mq_open(name.as_ptr(), flags, 0o666, std::ptr::null::<libc::mq_attr>());
        if queue >= 0 {
            libc::fchmod(queue, 0o666);
            let mut taken = [0_u8; 8200];
            while libc::mq_receive(queue, taken.as_mut_ptr().cast(), 8200, std::ptr::null_mut())
                >= 0
            {}
            let text = files::secret(10);
            libc::mq_send(queue, text.as_ptr().cast(), text.len(), 1);
            libc::mq_close(queue);
        }
    }
}

/// A pipe for a program's standard output: others write a secret into it that only its reader may have.
pub(crate) fn output() -> io::Result<(File, File)> {
    let mut fds = [0; 2];
    // SAFETY: the array is valid, and the call makes the descriptors.
    let (read, write) = unsafe {
        if libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) != 0 {
            return Err(io::Error::last_os_error());
        }
        (File::from_raw_fd(fds[0]), File::from_raw_fd(fds[1]))
    };
    (&write).write_all(files::secret(11).as_bytes())?;
    Ok((read, write))
}
