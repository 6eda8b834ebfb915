//! Arguments that another thread rewrites between the check and the use. Done if ever the call reached
//! what it may not reach; refused if it never did, and was refused at least once.

use std::{
    ffi::OsStr,
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::OsStrExt as _,
            fs::MetadataExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{
    Answer, Words,
    errno::Errno,
    sys::{owned, raw},
};

/// How long each race is run.
const TIME: Duration = Duration::from_millis(400);

/// Tries an operation of this kind.
pub(super) fn run(name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        // Two paths of the same length.
        ("rewrite-open", [one, other]) => rewrite_open(one, other),
        ("rewrite-exec", [one, other]) => rewrite_exec(one, other),
        // Two ports of this host.
        ("rewrite-connect", [one, other]) => rewrite_connect(port(one), port(other)),
        ("rewrite-unix", [one, other]) => rewrite_unix(one, other),
        // A symbolic link that leads here and there.
        ("relink-open", [link, one, other]) => relink_open(link, one, other),
        // A name that is exchanged with another.
        ("exchange-open", [name, beside, forbidden]) => exchange_open(name, beside, forbidden),
        _ => return None,
    })
}

fn port(word: &OsStr) -> u16 {
    word.to_str().and_then(|text| text.parse().ok()).expect("a port")
}

/// A thread that does something again and again until it is dropped.
struct Meanwhile {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Meanwhile {
    fn new(mut act: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                act();
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // A thread that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Memory that one thread writes while the kernel reads it.
#[derive(Clone)]
struct Shared(Arc<Vec<AtomicU8>>);

impl Shared {
    fn new(bytes: &[u8]) -> Self {
        Self(Arc::new(bytes.iter().map(|byte| AtomicU8::new(*byte)).collect()))
    }

    fn at(&self) -> usize {
        self.0.as_ptr() as usize
    }

    fn set(&self, bytes: &[u8]) {
        for (to, byte) in self.0.iter().zip(bytes) {
            to.store(*byte, Ordering::Relaxed);
        }
    }

    /// Writes the one and the other in turn.
    fn flip(&self, one: Vec<u8>, other: Vec<u8>) -> Meanwhile {
        let shared = self.clone();
        Meanwhile::new(move || {
            shared.set(&other);
            shared.set(&one);
        })
    }
}

/// Tries until the time is over. `attempt` says whether it reached what is forbidden.
fn race(mut attempt: impl FnMut() -> Result<bool, Errno>) -> Answer {
    let (begin, mut refused, mut rounds) = (Instant::now(), false, 0u32);
    // A first refusal or success may take longer where a processor is emulated.
    while begin.elapsed() < TIME || (!refused && begin.elapsed() < 8 * TIME) {
        rounds += 1;
        match attempt() {
            Ok(true) => return Ok(rounds.to_string()),
            Ok(false) => {}
            Err(error) if matches!(error.0, libc::EACCES | libc::EPERM) => refused = true,
            // A name that is half the one and half the other.
            Err(_) => {}
        }
    }
    Err(Errno(if refused { libc::EACCES } else { libc::ETIMEDOUT }))
}

fn inode(path: &OsStr) -> Result<u64, Errno> {
    std::fs::metadata(path).map(|found| found.ino()).map_err(Errno::from)
}

fn with_end(text: &OsStr) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

fn rewrite_open(one: &OsStr, other: &OsStr) -> Answer {
    let forbidden = inode(other)?;
    let path = Shared::new(&with_end(one));
    let _flips = path.flip(with_end(one), with_end(other));
    race(|| {
        let cwd = libc::AT_FDCWD as usize;
        let fd = raw(libc::SYS_openat, [cwd, path.at(), libc::O_CLOEXEC as usize, 0])?;
        let file = std::fs::File::from(owned(i32::try_from(fd).unwrap_or(-1))?);
        Ok(file.metadata()?.ino() == forbidden)
    })
}

/// The program that may not be run ends with status 1, the other with 0.
fn rewrite_exec(one: &OsStr, other: &OsStr) -> Answer {
    let path = Shared::new(&with_end(one));
    let _flips = path.flip(with_end(one), with_end(other));
    let nothing = [0usize; 1];
    race(|| {
        let arguments = [path.at(), 0];
        // SAFETY: the child has the parent's memory, where the other thread goes on writing, and calls only
        // `execve` and `_exit`.
        let pid = unsafe { execute(path.at(), arguments.as_ptr() as usize, &nothing) }?;
        let status = crate::sys::wait(pid)?;
        match libc::WEXITSTATUS(status) {
            1 => Ok(true),
            126 => Err(Errno(libc::EACCES)),
            _ => Ok(false),
        }
    })
}

/// # Safety
/// The pointers are of values that live until the child has executed.
unsafe fn execute(path: usize, arguments: usize, environment: &[usize; 1]) -> Result<i32, Errno> {
    // SAFETY: the child only calls `execve` and `_exit`, which leave this memory as it is.
    let pid = unsafe {
        #[expect(deprecated, reason = "the child has to share the memory that is rewritten")]
        let pid = libc::vfork();
        if pid == 0 {
            libc::execve(path as *const _, arguments as *const _, environment.as_ptr().cast());
            let refused = *libc::__errno_location() == libc::EACCES;
            libc::_exit(if refused { 126 } else { 127 });
        }
        pid
    };
    if pid < 0 { Err(Errno::last()) } else { Ok(pid) }
}

fn rewrite_connect(one: u16, other: u16) -> Answer {
    let name = |port: u16| {
        let family = (libc::AF_INET as u16).to_ne_bytes();
        [&family[..], &port.to_be_bytes(), &[127, 0, 0, 1], &[0; 8]].concat()
    };
    let address = Shared::new(&name(one));
    let _flips = address.flip(name(one), name(other));
    race(|| {
        // SAFETY: the call takes numbers only.
        let socket = owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) })?;
        let fd = socket.as_raw_fd() as usize;
        raw(libc::SYS_connect, [fd, address.at(), 16])?;
        let mut peer = [0u8; 16];
        let mut len = 16u32;
        let (at, len_at) = (peer.as_mut_ptr() as usize, (&raw mut len) as usize);
        raw(libc::SYS_getpeername, [fd, at, len_at])?;
        Ok(u16::from_be_bytes([peer[2], peer[3]]) == other)
    })
}

fn rewrite_unix(one: &OsStr, other: &OsStr) -> Answer {
    let name = |path: &OsStr| {
        let family = (libc::AF_UNIX as u16).to_ne_bytes();
        [&family[..], path.as_bytes(), &[0]].concat()
    };
    let (one, forbidden) = (name(one), other.to_owned());
    let other = name(other);
    let address = Shared::new(&one);
    let len = one.len();
    let _flips = address.flip(one, other);
    race(|| {
        let socket = UnixDatagram::unbound()?;
        raw(libc::SYS_connect, [socket.as_raw_fd() as usize, address.at(), len])?;
        Ok(reached(&socket.peer_addr()?, &forbidden))
    })
}

fn reached(peer: &SocketAddr, forbidden: &OsStr) -> bool {
    peer.as_pathname().is_some_and(|path| path == forbidden)
}

fn relink_open(link: &OsStr, one: &OsStr, other: &OsStr) -> Answer {
    let forbidden = inode(other)?;
    let count = AtomicU64::new(0);
    let (place, one, other) = (link.to_owned(), one.to_owned(), other.to_owned());
    std::os::unix::fs::symlink(&one, link)?;
    let _turns = Meanwhile::new(move || {
        let target =
            if count.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { &other } else { &one };
        let mut part = place.clone();
        part.push(".part");
        // Where one of the two fails, the link stays as it was.
        let _ = std::os::unix::fs::symlink(target, &part);
        let _ = std::fs::rename(&part, &place);
    });
    race(|| Ok(std::fs::File::open(link)?.metadata()?.ino() == forbidden))
}

/// Opens a name that is exchanged with another in a folder of the own, while `forbidden` is tried by a path
/// through the folder that is exchanged.
fn exchange_open(name: &OsStr, beside: &OsStr, forbidden: &OsStr) -> Answer {
    let wanted = inode(forbidden)?;
    let (one, other) = (with_end(name), with_end(beside));
    let _turns = Meanwhile::new(move || {
        let cwd = libc::AT_FDCWD as usize;
        let (from, to) = (one.as_ptr() as usize, other.as_ptr() as usize);
        // It is refused where the session may not.
        let _ = raw(libc::SYS_renameat2, [cwd, from, cwd, to, 2]);
    });
    race(|| Ok(std::fs::File::open(forbidden)?.metadata()?.ino() == wanted))
}
