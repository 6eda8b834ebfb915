//! Operations in another task than the one that was told: `in-child open-read /x`.

use std::{
    io::Write as _,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::mpsc,
    time::Duration,
};

use crate::{
    Answer, State, Words,
    errno::Errno,
    file::nothing,
    number,
    sys::{self, done, owned},
};

/// Tries an operation of this kind.
pub(crate) fn run(state: &mut State, name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        ("in-child", [_, ..]) => by(fork, || {}, words),
        ("in-clone3", [_, ..]) => by(|| clone3(0), || {}, words),
        ("in-user-namespace", [_, ..]) => by(|| clone3(CLONE_NEWUSER), || {}, words),
        ("in-new-session", [_, ..]) => by(fork, new_session, words),
        ("in-thread", [_, ..]) => in_thread(words),
        ("in-vfork", [_, ..]) => in_vfork(words),
        // The child's child, after the child is gone.
        ("in-orphan", [_, ..]) => in_orphan(words, || {}),
        ("in-daemon", [_, ..]) => in_orphan(words, new_session),
        ("set-user", [user]) => set_user(number(user)),
        ("sleep", [milliseconds]) => {
            std::thread::sleep(Duration::from_millis(number(milliseconds).into()));
            Ok(String::new())
        }
        ("pid", []) => Ok(std::process::id().to_string()),
        ("first-of", [_, ..]) => first_of(state, words),
        _ => return None,
    })
}

/// Tries operations separated by `or` until one is done; the last one's error otherwise.
fn first_of(state: &mut State, words: Words<'_>) -> Answer {
    let mut answer = Err(Errno(libc::ENOSYS));
    for operation in words.split(|word| word == "or") {
        answer = crate::run(state, operation);
        if answer.is_ok() {
            break;
        }
    }
    answer
}

/// Does an operation and tells of it through a pipe.
fn tell(words: Words<'_>, writer: OwnedFd) -> ! {
    let answer = match crate::run(&mut State::default(), words) {
        Ok(value) => format!("ok{value}"),
        Err(Errno(error)) => error.to_string(),
    };
    let mut writer = std::fs::File::from(writer);
    // Whoever reads sees that nothing came.
    let _ = writer.write_all(answer.as_bytes());
    // SAFETY: ends the process at once, without what the first one set up.
    unsafe { libc::_exit(0) }
}

/// What was told through a pipe.
fn told(reader: &OwnedFd) -> Answer {
    let text = String::from_utf8_lossy(&sys::read(reader, 4096)?).into_owned();
    match text.strip_prefix("ok") {
        Some(value) => Ok(value.to_owned()),
        None => Err(Errno(text.parse().unwrap_or(libc::EPIPE))),
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut pipe = [0; 2];
    // SAFETY: the array takes two descriptors.
    done(unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((owned(pipe[0])?, owned(pipe[1])?))
}

fn fork() -> Result<i64, Errno> {
    // SAFETY: this process has one thread.
    done(unsafe { libc::fork() })
}

/// `CLONE_NEWUSER` (include/uapi/linux/sched.h).
const CLONE_NEWUSER: u64 = 0x1000_0000;

/// `clone3(2)` as a fork (`struct clone_args`, include/uapi/linux/sched.h).
fn clone3(flags: u64) -> Result<i64, Errno> {
    let mut arguments = [0u64; 8];
    arguments[0] = flags;
    arguments[4] = u64::try_from(libc::SIGCHLD).unwrap_or_default();
    // SAFETY: the record has the first length that the call knew, and the child has its own memory.
    done(unsafe { libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size_of_val(&arguments)) })
}

/// Does an operation in a process that `make` makes.
fn by(make: fn() -> Result<i64, Errno>, before: fn(), words: Words<'_>) -> Answer {
    let (reader, writer) = pipe()?;
    let pid = make()?;
    if pid == 0 {
        before();
        tell(words, writer);
    }
    drop(writer);
    let answer = told(&reader);
    sys::wait(i32::try_from(pid).unwrap_or_default())?;
    answer
}

fn new_session() {
    // SAFETY: the call takes nothing. It fails only for a group's leader, which no child is.
    unsafe { libc::setsid() };
}

fn in_orphan(words: Words<'_>, before: fn()) -> Answer {
    let (reader, writer) = pipe()?;
    let parent = fork()?;
    if parent == 0 {
        before();
        let me = std::process::id();
        if fork() != Ok(0) {
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(0) };
        }
        while std::os::unix::process::parent_id() == me {
            std::thread::sleep(Duration::from_millis(1));
        }
        tell(words, writer);
    }
    drop(writer);
    sys::wait(i32::try_from(parent).unwrap_or_default())?;
    told(&reader)
}

fn in_thread(words: Words<'_>) -> Answer {
    let (sender, receiver) = mpsc::channel();
    let words = words.to_vec();
    std::thread::spawn(move || sender.send(crate::run(&mut State::default(), &words)));
    receiver.recv().unwrap_or(Err(Errno(libc::EPIPE)))
}

/// A child that has its parent's memory runs this program anew, for one operation.
fn in_vfork(words: Words<'_>) -> Answer {
    let (reader, writer) = pipe()?;
    let program = crate::c(std::env::current_exe()?.as_os_str());
    let words: Vec<_> =
        [&"probe".into()].into_iter().chain(words).map(|word| crate::c(word)).collect();
    let mut pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    let environment = [std::ptr::null()];
    let output = writer.as_raw_fd();
    // SAFETY: the child calls only `dup2`, `execve` and `_exit`, which leave this memory as it is.
    let pid = unsafe {
        #[expect(deprecated, reason = "the very call that is to be tested")]
        let pid = libc::vfork();
        if pid == 0 {
            libc::dup2(output, 1);
            libc::execve(program.as_ptr(), pointers.as_ptr(), environment.as_ptr());
            libc::_exit(127);
        }
        pid
    };
    done(pid)?;
    drop(writer);
    sys::wait(pid)?;
    let line = String::from_utf8_lossy(&sys::read(&reader, 4096)?).trim_end().to_owned();
    match line.as_str() {
        "EACCES" => Err(Errno(libc::EACCES)),
        line if line.starts_with("ok") => Ok(line[2..].trim_start().to_owned()),
        _ => Err(Errno(libc::EIO)),
    }
}

/// Gives up root.
fn set_user(user: u32) -> Answer {
    // SAFETY: the calls take numbers, and an empty list.
    unsafe {
        done(libc::setgroups(0, std::ptr::null()))?;
        done(libc::setresgid(user, user, user))?;
        done(libc::setresuid(user, user, user)).map(nothing)
    }
}
