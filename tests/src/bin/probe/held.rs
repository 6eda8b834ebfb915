//! What is open already: files and sockets that are kept under a name and used later.

use std::{
    ffi::{OsStr, c_int},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

use io_uring::{IoUring, opcode, types};

use crate::{
    Answer, State, Words, c,
    errno::Errno,
    file::{keep, kept, nothing},
    number,
    sys::{self, done, open},
};

/// Tries an operation of this kind.
pub(crate) fn run(state: &mut State, name: &str, words: Words<'_>) -> Option<Answer> {
    if let Some(rest) = name.strip_prefix("held-") {
        let (key, words) = words.split_first()?;
        return used(state, rest, key, words);
    }
    Some(match (name, words) {
        ("hold-tcp", [key, to]) => hold(state, key, TcpStream::connect(address(to))),
        // Bound to a port of its own choice before it is connected.
        ("hold-tcp-from", [key, from, to]) => keep(state, key, bound(address(from), address(to))),
        ("hold-listen", [key, at]) => hold(state, key, TcpListener::bind(address(at))),
        ("hold-udp", [key, to]) => keep(state, key, udp(address(to), true)),
        ("hold-udp-unconnected", [key, to]) => keep(state, key, udp(address(to), false)),
        ("hold-udp-bound", [key, at]) => hold(state, key, UdpSocket::bind(address(at))),
        ("hold-sockets", [many]) => sockets(number(many)),
        ("hold-unix", [key, path]) => hold(state, key, UnixStream::connect(path)),
        ("hold-unix-listen", [key, path]) => hold(state, key, UnixListener::bind(path)),
        ("hold-pair", [one, other]) => pair(state, one, other),
        ("hold-unnamed", [key, folder]) => {
            keep(state, key, open(&c(folder), libc::O_RDWR | libc::O_TMPFILE))
        }
        ("hold-memory", [key]) => keep(state, key, memory()),
        ("fd-read", [fd]) => borrowed(fd, |fd| read(fd, 16)),
        ("fd-write", [fd]) => borrowed(fd, |fd| write(fd, b"x")),
        // One operation on the next of so many descriptors, opened at the first call: files that are read
        // and written, sockets that send and receive.
        ("rotate", [many, readable, writable, to]) => {
            rotate(state, number(many) as usize, readable, writable, address(to))
        }
        _ => return None,
    })
}

/// Uses what is kept under a name.
fn used(state: &mut State, name: &str, key: &OsStr, words: Words<'_>) -> Option<Answer> {
    if let ("accept", [new]) = (name, words) {
        let accepted = accept(kept(state, key).as_raw_fd());
        return Some(accepted.and_then(|fd| keep(state, new, Ok(fd))));
    }
    let fd = kept(state, key).as_raw_fd();
    Some(match (name, words) {
        ("read", []) => read(fd, 16),
        ("pread", []) => {
            let mut buffer = [0u8; 16];
            // SAFETY: the buffer has that many bytes.
            counted(unsafe { libc::pread(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) })
        }
        ("write", []) => write(fd, b"x"),
        // SAFETY: the text has one byte.
        ("pwrite", []) => counted(unsafe { libc::pwrite(fd, b"x".as_ptr().cast(), 1, 0) }),
        ("list", []) => {
            let mut buffer = [0u64; 512];
            let buffer = (buffer.as_mut_ptr() as usize, size_of_val(&buffer));
            sys::raw(libc::SYS_getdents64, [fd as usize, buffer.0, buffer.1]).map(nothing)
        }
        // SAFETY: the call takes numbers only.
        ("allocate", []) => done(unsafe { libc::fallocate(fd, 0, 0, 64) }).map(nothing),
        // SAFETY: the call takes numbers only.
        ("truncate", []) => done(unsafe { libc::ftruncate(fd, 1) }).map(nothing),
        ("sendfile", []) => memory().and_then(|to| {
            // SAFETY: without an offset the call takes numbers only.
            counted(unsafe { libc::sendfile(to.as_raw_fd(), fd, ptr::null_mut(), 16) })
        }),
        ("splice", []) => splice(fd),
        ("splice-to", []) => splice_to(fd),
        // From one place of the file to another.
        ("copy", []) => {
            let (mut from, mut to) = (0, 4096);
            // SAFETY: both offsets outlive the call.
            counted(unsafe { libc::copy_file_range(fd, &raw mut from, fd, &raw mut to, 1, 0) })
        }
        ("map", []) => map(fd, libc::PROT_READ, libc::MAP_PRIVATE).map(nothing),
        // For as long as the process runs.
        ("keep-map", []) => sys::map(kept(state, key), libc::PROT_READ).map(nothing),
        ("map-shared", []) => {
            map(fd, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED).map(nothing)
        }
        ("uring-read", []) => uring(fd, false),
        ("uring-recv", []) => uring(fd, true),
        ("send", []) => {
            // SAFETY: the text has one byte.
            counted(unsafe { libc::send(fd, b"x".as_ptr().cast(), 1, libc::MSG_NOSIGNAL) })
        }
        ("send-to", [to]) => send_to(fd, address(to)),
        ("recv", []) => receive_some(fd, 0),
        ("peek", []) => receive_some(fd, libc::MSG_PEEK),
        ("zerocopy", []) => zerocopy(fd),
        // SAFETY: the call takes numbers only.
        ("listen", []) => done(unsafe { libc::listen(fd, 1) }).map(nothing),
        _ => return None,
    })
}

fn address(word: &OsStr) -> SocketAddr {
    word.to_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no address {word:?}"))
}

fn hold<T: Into<OwnedFd>>(state: &mut State, key: &OsStr, made: std::io::Result<T>) -> Answer {
    let made = made.map(Into::into).map_err(Errno::from);
    keep(state, key, made)
}

/// So many sockets, which stay open as long as the process.
fn sockets(many: u32) -> Answer {
    for _ in 0..many {
        // SAFETY: the call takes numbers only.
        done(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    }
    Ok(String::new())
}

fn pair(state: &mut State, one: &OsStr, other: &OsStr) -> Answer {
    let (a, b) = UnixDatagram::pair()?;
    keep(state, one, Ok(a.into()))?;
    keep(state, other, Ok(b.into()))
}

/// A UDP socket, connected or not, that has sent once.
fn udp(to: SocketAddr, is_connected: bool) -> Result<OwnedFd, Errno> {
    let at = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(at)?;
    if is_connected {
        socket.connect(to)?;
        socket.send(b"x")?;
    } else {
        socket.send_to(b"x", to)?;
    }
    Ok(socket.into())
}

/// A TCP socket that is bound and then connected.
fn bound(from: SocketAddr, to: SocketAddr) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes numbers only.
    let socket = sys::owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) })?;
    for (address, call) in [(from, libc::SYS_bind), (to, libc::SYS_connect)] {
        let SocketAddr::V4(v4) = address else { panic!("IPv4 only") };
        let address = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: v4.port().to_be(),
            sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
            sin_zero: [0; 8],
        };
        let place = (&raw const address) as usize;
        sys::raw(call, [socket.as_raw_fd() as usize, place, size_of_val(&address)])?;
    }
    Ok(socket)
}

/// A file in memory with some text, at its begin.
fn memory() -> Result<OwnedFd, Errno> {
    // SAFETY: the name is a C string.
    let fd = sys::owned(unsafe { libc::memfd_create(c"held".as_ptr(), libc::MFD_CLOEXEC) })?;
    sys::write(&fd, b"0123456789abcdef")?;
    // SAFETY: the call takes numbers only.
    done(unsafe { libc::lseek(fd.as_raw_fd(), 0, libc::SEEK_SET) })?;
    Ok(fd)
}

/// How many bytes; a socket that has none now is none the less allowed.
fn counted(result: isize) -> Answer {
    match done(result as i64) {
        Err(Errno(libc::EAGAIN)) => Ok("0".to_owned()),
        other => other.map(|bytes| bytes.to_string()),
    }
}

fn read(fd: RawFd, most: usize) -> Answer {
    let mut buffer = vec![0u8; most];
    // SAFETY: the buffer has that many bytes.
    counted(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), most) })
}

fn write(fd: RawFd, bytes: &[u8]) -> Answer {
    // SAFETY: the bytes are as many as said.
    counted(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

fn borrowed(word: &OsStr, act: impl Fn(RawFd) -> Answer) -> Answer {
    act(number(word) as RawFd)
}

fn map(fd: RawFd, protection: c_int, kind: c_int) -> Result<(), Errno> {
    // SAFETY: the kernel chooses the place; the mapping is let go of at once.
    unsafe {
        let address = libc::mmap(ptr::null_mut(), 4096, protection, kind, fd, 0);
        if address == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        libc::munmap(address, 4096);
    }
    Ok(())
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let mut ends = [0; 2];
    // SAFETY: there is room for two descriptors.
    done(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the call has just made them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

fn splice(fd: RawFd) -> Answer {
    let (_read, write) = pipe()?;
    // SAFETY: without offsets the call takes numbers only.
    counted(unsafe {
        let (none, flags) = (ptr::null_mut(), libc::SPLICE_F_NONBLOCK);
        libc::splice(fd, none, write.as_raw_fd(), none, 16, flags)
    })
}

fn splice_to(fd: RawFd) -> Answer {
    let (read, write) = pipe()?;
    sys::write(&write, b"x")?;
    // SAFETY: without offsets the call takes numbers only.
    counted(unsafe { libc::splice(read.as_raw_fd(), ptr::null_mut(), fd, ptr::null_mut(), 1, 0) })
}

fn uring(fd: RawFd, from_socket: bool) -> Answer {
    let mut ring = IoUring::new(2)?;
    let mut buffer = [0u8; 16];
    let (fd, place) = (types::Fd(fd), buffer.as_mut_ptr());
    let entry = if from_socket {
        opcode::Recv::new(fd, place, 16).flags(libc::MSG_DONTWAIT).build()
    } else {
        opcode::Read::new(fd, place, 16).build()
    };
    // SAFETY: the buffer lives until the answer is there.
    unsafe { ring.submission().push(&entry) }.map_err(|_| Errno(libc::EAGAIN))?;
    ring.submit_and_wait(1)?;
    match ring.completion().next().map(|answer| answer.result()) {
        Some(error) if error == -libc::EAGAIN => Ok("0".to_owned()),
        Some(error) if error < 0 => Err(Errno(-error)),
        Some(bytes) => Ok(bytes.to_string()),
        None => Err(Errno(libc::ETIMEDOUT)),
    }
}

fn receive_some(fd: RawFd, flags: c_int) -> Answer {
    let mut buffer = [0u8; 16];
    // SAFETY: the buffer has that many bytes.
    counted(unsafe {
        libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), flags | libc::MSG_DONTWAIT)
    })
}

fn send_to(fd: RawFd, to: SocketAddr) -> Answer {
    // SAFETY: the descriptor is kept while it is borrowed.
    let socket = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
    Ok(UdpSocket::from(socket).send_to(b"x", to)?.to_string())
}

/// `TCP_ZEROCOPY_RECEIVE` into a buffer, as `struct tcp_zerocopy_receive` has it (include/uapi/linux/tcp.h).
fn zerocopy(fd: RawFd) -> Answer {
    const TCP_ZEROCOPY_RECEIVE: c_int = 35;
    let buffer = [0u8; 64];
    // address, length and hint, queued, error, buffer, its length, flags
    let mut request = [0u64; 8];
    request[3] = buffer.as_ptr() as u64;
    request[4] = buffer.len() as u64;
    let mut len = 64 as libc::socklen_t;
    // SAFETY: the request has as many bytes as said, and names a buffer that lives as long.
    counted(unsafe {
        let place = request.as_mut_ptr().cast();
        libc::getsockopt(fd, libc::IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, place, &raw mut len) as isize
    })
}

fn accept(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: without an address the call takes numbers only.
    sys::owned(unsafe { libc::accept4(fd, ptr::null_mut(), ptr::null_mut(), libc::SOCK_CLOEXEC) })
}

/// The descriptor whose turn it is.
static TURN: AtomicUsize = AtomicUsize::new(0);

fn rotate(
    state: &mut State,
    many: usize,
    readable: &OsStr,
    writable: &OsStr,
    to: SocketAddr,
) -> Answer {
    let key = |place: usize| format!("rotate-{place}");
    if !state.kept.contains_key(OsStr::new(&key(0))) {
        for place in 0..many {
            let made = match place % 4 {
                0 => open(&c(readable), libc::O_RDONLY),
                1 => open(&c(writable), libc::O_WRONLY),
                _ => udp(to, true),
            };
            keep(state, key(place).as_ref(), made)?;
        }
    }
    let place = TURN.fetch_add(1, Ordering::Relaxed) % many;
    let act = ["pread", "pwrite", "send", "recv"][place % 4];
    used(state, act, key(place).as_ref(), &[]).unwrap_or(Err(Errno(libc::ENOSYS)))
}
