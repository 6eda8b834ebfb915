//! What the kernel holds for a process without a descriptor of the file: mappings, buffers that io_uring registered,
//! pages in a pipe, a copy that waits. And children that only wait.

use std::{
    ffi::{OsStr, c_int, c_void},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    ptr,
    sync::Mutex,
    thread,
};

use io_uring::{IoUring, opcode, types};

use crate::{
    Answer, Words, c,
    errno::Errno,
    sys::{self, done, open, owned},
};

/// Bytes of a page.
const PAGE: usize = 4096;

/// What is held.
enum Held {
    /// A mapping's first page.
    Map(usize),
    /// A ring with a registered buffer, which is mapped nowhere any more.
    Ring(Box<IoUring>, usize),
    /// The end of a pipe to read from.
    Pipe(OwnedFd),
    /// The end of a connection that a copy fills.
    Copy(UnixStream),
}

static HELD: Mutex<Option<Held>> = Mutex::new(None);

/// Tries an operation of this kind.
pub(crate) fn run(name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        ("hold-map", [path]) => held(map(path)),
        ("hold-ring", [path]) => held(ring(path)),
        ("hold-pipe", [path]) => held(pipe(path)),
        ("hold-copy", [path]) => held(copy(path)),
        // What the file has there now, as far as it is held; of a mapping, what is behind it.
        ("held-now", []) => now(),
        ("child-waits", []) => child(wait_for_ever),
        ("child-runs", []) => child(|| {
            let (program, time) = (c"/usr/bin/sleep", c"1000");
            let words = [program.as_ptr(), time.as_ptr(), ptr::null()];
            // SAFETY: words of C strings, with null at the end.
            unsafe { libc::execv(program.as_ptr(), words.as_ptr()) };
        }),
        // Its first thread has ended, and another goes on.
        ("child-headless", []) => child(|| {
            let _ = thread::Builder::new().spawn(wait_for_ever);
            // SAFETY: ends this thread alone.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        }),
        ("child-shares-memory", []) => sharing(),
        ("child-shares-descriptors", []) => {
            let flags = libc::CLONE_FILES | libc::SIGCHLD;
            made(sys::raw(libc::SYS_clone, [flags as usize, 0, 0, 0, 0]), wait_for_ever)
        }
        _ => return None,
    })
}

fn held(made: Result<Held, Errno>) -> Answer {
    let made = made?;
    *HELD.lock().map_err(|_| Errno(libc::EDEADLK))? = Some(made);
    Ok(String::new())
}

/// A shared mapping of a file's first page, to read and write.
fn mapped(path: &OsStr) -> Result<usize, Errno> {
    let fd = open(&c(path), libc::O_RDWR)?;
    // SAFETY: the kernel chooses the place, so nothing that is mapped is replaced.
    let at = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(ptr::null_mut(), PAGE, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0)
    };
    if at == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(at as usize) }
}

fn map(path: &OsStr) -> Result<Held, Errno> {
    mapped(path).map(Held::Map)
}

fn ring(path: &OsStr) -> Result<Held, Errno> {
    let at = mapped(path)?;
    let ring = IoUring::new(2)?;
    let buffer = libc::iovec { iov_base: at as *mut c_void, iov_len: PAGE };
    // SAFETY: the kernel holds the pages, wherever they are mapped.
    unsafe { ring.submitter().register_buffers(&[buffer]) }?;
    // SAFETY: the mapping is ours, and nothing of the program lies there.
    done(unsafe { libc::munmap(at as *mut c_void, PAGE) })?;
    Ok(Held::Ring(Box::new(ring), at))
}

fn ends() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut pipe = [0; 2];
    // SAFETY: the array takes two descriptors.
    done(unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((owned(pipe[0])?, owned(pipe[1])?))
}

fn pipe(path: &OsStr) -> Result<Held, Errno> {
    let (file, (reader, writer)) = (open(&c(path), libc::O_RDONLY)?, ends()?);
    let (from, to) = (file.as_raw_fd() as usize, writer.as_raw_fd() as usize);
    sys::raw(libc::SYS_splice, [from, 0, to, 0, PAGE, 0])?;
    Ok(Held::Pipe(reader))
}

fn copy(path: &OsStr) -> Result<Held, Errno> {
    let (file, (reader, writer)) = (open(&c(path), libc::O_RDONLY)?, UnixStream::pair()?);
    thread::Builder::new().spawn(move || {
        // Fills the connection, and waits for more room.
        let (from, to) = (file.as_raw_fd() as usize, writer.as_raw_fd() as usize);
        let _ = sys::raw(libc::SYS_sendfile, [to, from, 0, 1 << 30]);
    })?;
    Ok(Held::Copy(reader))
}

fn now() -> Answer {
    let mut held = HELD.lock().map_err(|_| Errno(libc::EDEADLK))?;
    match held.as_mut() {
        Some(Held::Map(at)) => {
            // SAFETY: the mapping is ours, and is used by nobody else.
            let grown =
                unsafe { libc::mremap(*at as *mut c_void, PAGE, 2 * PAGE, libc::MREMAP_MAYMOVE) };
            if grown == libc::MAP_FAILED {
                return Err(Errno::last());
            }
            *at = grown as usize;
            // SAFETY: the file has two pages, which are mapped now.
            Ok(text(unsafe { std::slice::from_raw_parts(grown.cast::<u8>().add(PAGE), 16) }))
        }
        Some(Held::Ring(ring, at)) => {
            let (reader, writer) = ends()?;
            let to = types::Fd(writer.as_raw_fd());
            let entry = opcode::WriteFixed::new(to, *at as *const u8, 16, 0).build();
            // SAFETY: the kernel holds the buffer.
            unsafe { ring.submission().push(&entry) }.map_err(|_| Errno(libc::EAGAIN))?;
            ring.submit_and_wait(1)?;
            match ring.completion().next().map(|answer| answer.result()) {
                Some(error) if error < 0 => Err(Errno(-error)),
                Some(_) => Ok(text(&sys::read(&reader, 16)?)),
                None => Err(Errno(libc::ETIMEDOUT)),
            }
        }
        Some(Held::Pipe(from)) => {
            let (reader, writer) = ends()?;
            let (from, to) = (from.as_raw_fd() as usize, writer.as_raw_fd() as usize);
            sys::raw(libc::SYS_tee, [from, to, PAGE, 0])?;
            Ok(text(&sys::read(&reader, 16)?))
        }
        Some(Held::Copy(reader)) => {
            use std::io::Read as _;
            let mut all = vec![0; 1 << 20];
            reader.read_exact(&mut all)?;
            Ok(text(&all[all.len() - 16..]))
        }
        None => Err(Errno(libc::EBADF)),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A child that does that; gives its number.
fn child<T>(act: fn() -> T) -> Answer {
    // SAFETY: the child only waits, runs a program or makes a thread.
    made(done(i64::from(unsafe { libc::fork() })), act)
}

/// What a call returns that makes a child, there and here.
fn made<T>(pid: Result<i64, Errno>, act: fn() -> T) -> Answer {
    let pid = pid?;
    if pid == 0 {
        act();
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(1) };
    }
    Ok(pid.to_string())
}

fn wait_for_ever() -> ! {
    loop {
        // SAFETY: the call takes nothing.
        unsafe { libc::pause() };
    }
}

/// A child that shares this process's memory, and is another process.
fn sharing() -> Answer {
    extern "C" fn wait(_: *mut c_void) -> c_int {
        wait_for_ever()
    }
    // Kept for as long as the child runs.
    let stack = Box::leak(vec![0u128; 4096].into_boxed_slice()).as_mut_ptr_range().end;
    // SAFETY: the stack is the child's alone, and it only waits.
    let pid =
        unsafe { libc::clone(wait, stack.cast(), libc::CLONE_VM | libc::SIGCHLD, ptr::null_mut()) };
    done(i64::from(pid)).map(|pid| pid.to_string())
}
