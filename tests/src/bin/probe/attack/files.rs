//! Files by ways that the other operations don't take: handles, deep trees, programs as other programs.

use std::{
    ffi::{CStr, OsStr, OsString},
    io::Read as _,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    Answer, State, Words, c,
    errno::Errno,
    file::{keep, kept, nothing},
    number,
    sys::{self, done, open, open_at, owned, raw},
};

/// Tries an operation of this kind.
pub(super) fn run(state: &mut State, name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        ("copy", [from, to]) => std::fs::copy(from, to).map(|n| n.to_string()).map_err(Errno::from),
        // A program's end with another status than zero is an error here.
        ("succeed", [_, ..]) => crate::run(state, words).and_then(|status| {
            if status == "0" { Ok(String::new()) } else { Err(Errno(libc::EACCES)) }
        }),
        // Runs a copy of this program, which does the operation.
        ("by-program", [program, operation @ ..]) => by_program(program, operation),
        ("script", [path, interpreter]) => script(path, interpreter),
        ("by-handle", [mount, path]) => by_handle(&c(mount), &c(path)),
        ("deep-make", [folder, levels]) => deep_make(folder, number(levels)),
        ("deep-read", [folder, levels]) => deep_folder(folder, number(levels))
            .and_then(|at| open_at(at.as_raw_fd(), c"file", libc::O_RDONLY, 0))
            .map(nothing),
        ("watch", [path]) => watch(&c(path)).map(nothing),
        ("watch-keep", [key, path]) => {
            watch(&c(path)).and_then(|queue| keep(state, key, Ok(queue)))
        }
        ("mark", [path]) => mark(&c(path)),
        ("map-memory-file", []) => map_memory_file(),
        ("pkey-protect-exec", [path]) => pkey_protect(&c(path)),
        ("kept-link", [key, new]) => {
            let old = format!("/proc/self/fd/{}", kept(state, key).as_raw_fd());
            let (old, new) = (c(old.as_ref()), c(new));
            let cwd = libc::AT_FDCWD as usize;
            let (from, to) = (old.as_ptr() as usize, new.as_ptr() as usize);
            raw(libc::SYS_linkat, [cwd, from, cwd, to, libc::AT_SYMLINK_FOLLOW as usize])
                .map(nothing)
        }
        ("kept-unix", [key, path]) => {
            let path = format!("/proc/self/fd/{}/{}", kept(state, key).as_raw_fd(), path.display());
            unix(path.as_ref())
        }
        ("unix-path", [path]) => unix(path),
        ("unix-path-send", [path]) => std::os::unix::net::UnixDatagram::unbound()
            .and_then(|socket| socket.send_to(b"x", path))
            .map(nothing)
            .map_err(Errno::from),
        ("kept-copy", [key, to]) => {
            let from = kept(state, key).as_raw_fd() as usize;
            open(&c(to), libc::O_WRONLY).and_then(|to| {
                raw(libc::SYS_sendfile, [to.as_raw_fd() as usize, from, 0, 16]).map(nothing)
            })
        }
        ("kept-splice", [key]) => splice(kept(state, key)),
        ("kept-seek", [key]) => {
            raw(libc::SYS_lseek, [kept(state, key).as_raw_fd() as usize, 0, 0]).map(nothing)
        }
        // A mapping that is kept, and written through.
        ("mapping-keep", [path]) => open(&c(path), libc::O_RDWR).and_then(|fd| mapping(&fd)),
        ("mapping-use", []) => {
            let at = MAPPING.load(Ordering::Relaxed) as *mut u8;
            // SAFETY: the mapping is of a page that the file has, and never undone.
            unsafe { at.write_volatile(b'x') };
            Ok(String::new())
        }
        // A descriptor that a process outside sends.
        ("receive", [key, socket]) => receive(socket).and_then(|fd| keep(state, key, Ok(fd))),
        ("keep-tcp", [key, to]) => {
            let stream = std::net::TcpStream::connect(to.to_str().unwrap_or_default());
            stream.map_err(Errno::from).and_then(|stream| keep(state, key, Ok(stream.into())))
        }
        ("keep-listen", [key, at]) => {
            let listener = std::net::TcpListener::bind(at.to_str().unwrap_or_default());
            listener.map_err(Errno::from).and_then(|bound| keep(state, key, Ok(bound.into())))
        }
        ("http-done", words) => http(state, "http", words),
        ("http-orphan-done", words) => http(state, "http-orphan", words),
        _ => return None,
    })
}

/// Where the mapping that is kept lies.
static MAPPING: AtomicUsize = AtomicUsize::new(0);

fn mapping(fd: &OwnedFd) -> Answer {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel chooses the place, so nothing that is mapped is replaced.
    let at = unsafe {
        let raw = fd.as_raw_fd();
        libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, raw, 0)
    };
    if at == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    MAPPING.store(at as usize, Ordering::Relaxed);
    Ok(String::new())
}

/// A request that the daemon refuses is an error here.
fn http(state: &mut State, way: &str, words: Words<'_>) -> Answer {
    let all: Vec<OsString> =
        [OsString::from(way)].into_iter().chain(words.iter().cloned()).collect();
    let answer = crate::run(state, &all)?;
    if answer.starts_with("20") { Ok(answer) } else { Err(Errno(libc::EACCES)) }
}

/// Makes a program that another one reads.
fn script(path: &OsStr, interpreter: &OsStr) -> Answer {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, format!("#!{}\n", interpreter.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(Errno::from)?;
    Ok(String::new())
}

fn by_program(program: &OsStr, operation: Words<'_>) -> Answer {
    let mut command = Command::new(program);
    let mut child = command.args(operation).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut text = String::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_string(&mut text)?;
    }
    child.wait()?;
    match text.trim() {
        "EACCES" => Err(Errno(libc::EACCES)),
        "EPERM" => Err(Errno(libc::EPERM)),
        text if text.starts_with("ok") => Ok(text[2..].trim_start().to_owned()),
        _ => Err(Errno(libc::EIO)),
    }
}

/// Opens a file by its number in the file system of `mount`, without any name.
fn by_handle(mount: &CStr, path: &CStr) -> Answer {
    // `struct file_handle`: how long it may be, its type, its bytes.
    let mut handle = [0u32; 34];
    handle[0] = 128;
    let mut id = 0i32;
    let cwd = libc::AT_FDCWD as usize;
    let (at, mount_at) = (handle.as_mut_ptr() as usize, (&raw mut id) as usize);
    raw(libc::SYS_name_to_handle_at, [cwd, path.as_ptr() as usize, at, mount_at, 0])?;
    let root = open(mount, libc::O_RDONLY | libc::O_DIRECTORY)?;
    let fd = raw(libc::SYS_open_by_handle_at, [root.as_raw_fd() as usize, at, 0])?;
    owned(i32::try_from(fd).unwrap_or(-1)).map(nothing)
}

/// A folder so many levels below another.
fn deep_folder(folder: &OsStr, levels: u32) -> Result<OwnedFd, Errno> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let mut at = open(&c(folder), flags)?;
    for _ in 0..levels {
        at = open_at(at.as_raw_fd(), c"d", flags, 0)?;
    }
    Ok(at)
}

fn deep_make(folder: &OsStr, levels: u32) -> Answer {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let mut at = open(&c(folder), flags)?;
    for _ in 0..levels {
        // SAFETY: the name is a C string.
        done(unsafe { libc::mkdirat(at.as_raw_fd(), c"d".as_ptr(), 0o755) })?;
        at = open_at(at.as_raw_fd(), c"d", flags, 0)?;
    }
    open_at(at.as_raw_fd(), c"file", libc::O_WRONLY | libc::O_CREAT, 0o644).map(nothing)
}

/// Asks to be told of what happens to a file, by inotify. Who reads of it does not wait.
fn watch(path: &CStr) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes a number.
    let queue = owned(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
    // SAFETY: the path is a C string.
    done(unsafe {
        libc::inotify_add_watch(queue.as_raw_fd(), path.as_ptr(), libc::IN_ALL_EVENTS)
    })?;
    Ok(queue)
}

/// The same by fanotify, as far as an ordinary user may: FAN_CLASS_NOTIF and FAN_REPORT_FID.
fn mark(path: &CStr) -> Answer {
    let queue = raw(libc::SYS_fanotify_init, [0x200, 0])?;
    let queue = owned(i32::try_from(queue).unwrap_or(-1))?;
    let (add, open, cwd) = (1, 0x20, libc::AT_FDCWD as usize);
    let fd = queue.as_raw_fd() as usize;
    raw(libc::SYS_fanotify_mark, [fd, add, open, cwd, path.as_ptr() as usize]).map(nothing)
}

/// Maps a file executable that only this process has.
fn map_memory_file() -> Answer {
    // SAFETY: the name is a C string.
    let fd = owned(unsafe { libc::memfd_create(c"code".as_ptr(), libc::MFD_CLOEXEC) })?;
    // SAFETY: the call takes numbers only.
    done(unsafe { libc::ftruncate(fd.as_raw_fd(), 4096) })?;
    sys::map(&fd, libc::PROT_READ | libc::PROT_EXEC).map(nothing)
}

/// Makes a mapping executable by the call for protection keys.
fn pkey_protect(path: &CStr) -> Answer {
    let fd = open(path, libc::O_RDONLY)?;
    let at = sys::map(&fd, libc::PROT_READ)? as usize;
    let protection = (libc::PROT_READ | libc::PROT_EXEC) as usize;
    raw(libc::SYS_pkey_mprotect, [at, 4096, protection, usize::MAX]).map(nothing)
}

fn unix(path: &OsStr) -> Answer {
    UnixStream::connect(path).map(nothing).map_err(Errno::from)
}

fn splice(from: &OwnedFd) -> Answer {
    let mut pipe = [0; 2];
    // SAFETY: the array takes two descriptors.
    done(unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) })?;
    let (_reader, writer) = (owned(pipe[0])?, owned(pipe[1])?);
    let (from, to) = (from.as_raw_fd() as usize, writer.as_raw_fd() as usize);
    raw(libc::SYS_splice, [from, 0, to, 0, 16, 0]).map(nothing)
}

/// Takes the one descriptor that the server at `path` sends to each who connects.
fn receive(path: &OsStr) -> Result<OwnedFd, Errno> {
    let stream = UnixStream::connect(path)?;
    let mut byte = [0u8; 1];
    let mut vector = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0u64; 8];
    // SAFETY: a record of numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the record's pointers are of values on this stack.
    let got =
        unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    done(got as i64)?;
    // The length, then level and type, then the descriptor; no descriptor came when there is no length.
    // `MSG_CTRUNC` says that the kernel kept one back.
    if message.msg_controllen < 20 || message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(Errno(libc::EACCES));
    }
    // SAFETY: the kernel has just put the descriptor there, for us.
    Ok(unsafe { OwnedFd::from_raw_fd(control[2] as u32 as i32) })
}
