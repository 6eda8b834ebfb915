//! Servers that attacks try to reach, of processes outside of the session: on network ports, on unix
//! sockets, in the places of service managers.

use std::{
    collections::VecDeque,
    ffi::OsStr,
    fs,
    io::Write as _,
    net::{TcpListener, UdpSocket},
    os::{
        fd::AsRawFd as _,
        unix::{
            ffi::OsStrExt as _,
            fs::PermissionsExt as _,
            net::{UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::Path,
    sync::Mutex,
    thread,
};

use tests::{Interactive, layout, words};

/// The folder of the sockets that rules speak of.
const SOCKETS: &str = "/srv/test/sockets";

/// Where service managers and the like listen.
const MANAGERS: [&str; 9] = [
    "/run/systemd/private",
    "/run/dbus/system_bus_socket",
    "/run/user/5/bus",
    "/run/user/5/systemd/private",
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/user/5/ssh-agent",
    "/tmp/.X11-unix/X0",
];

/// Where they take datagrams.
const TAKERS: [&str; 2] = ["/run/systemd/journal/socket", "/run/systemd/notify"];

/// Servers that are processes of their own: one outside of every session, one of another session.
static PROCESSES: Mutex<Vec<Interactive>> = Mutex::new(Vec::new());

/// Starts all servers.
///
/// # Panics
/// When one can't be started.
pub(crate) fn start() {
    layout::empty(Path::new(SOCKETS));
    for port in [7301, 7302, 7303] {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        thread::spawn(move || keep(listener.incoming()));
        for address in ["127.0.0.1", "::1"] {
            let socket = UdpSocket::bind((address, port)).expect("the port is free");
            thread::spawn(move || while socket.recv(&mut [0; 16]).is_ok() {});
        }
    }
    for place in ["open", "shut", "lent"] {
        let folder = Path::new(SOCKETS).join(place);
        fs::create_dir_all(&folder).expect("a folder can be made");
        streams(&folder.join("stream"));
        datagrams(&folder.join("dgram"));
    }
    let shut = Path::new(SOCKETS).join("shut");
    streams(&shut.join(OsStr::from_bytes(b"\xff\xff")));
    datagrams(&shut.join(OsStr::from_bytes(b"\xff\xff-dgram")));
    streams(&shut.join("n".repeat(80)));
    for path in MANAGERS {
        streams(Path::new(path));
    }
    for path in TAKERS {
        datagrams(Path::new(path));
    }
    passing();
    processes();
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("the mode can be changed");
}

fn streams(path: &Path) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("a folder can be made");
    }
    let listener =
        UnixListener::bind(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
    open_to_all(path);
    thread::spawn(move || keep(listener.incoming()));
}

/// Keeps those who connect for some time.
fn keep<T>(incoming: impl Iterator<Item = T>) {
    let mut kept = VecDeque::new();
    for stream in incoming {
        kept.push_back(stream);
        if kept.len() > 100 {
            kept.pop_front();
        }
    }
}

fn datagrams(path: &Path) {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("a folder can be made");
    }
    let socket =
        UnixDatagram::bind(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
    open_to_all(path);
    thread::spawn(move || while socket.recv(&mut [0; 16]).is_ok() {});
}

/// A server that sends each who connects a descriptor of a file that no rule covers.
fn passing() {
    let secret = Path::new(SOCKETS).join("secret");
    fs::write(&secret, "secret").expect("a file can be written");
    open_to_all(&secret);
    let file = fs::File::options().read(true).write(true).open(&secret);
    let file = file.expect("the file is there");
    let path = Path::new(SOCKETS).join("open/passing");
    let listener = UnixListener::bind(&path).expect("the socket can be made");
    open_to_all(&path);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            pass(stream, &file);
        }
    });
}

fn pass(mut stream: UnixStream, file: &fs::File) {
    let mut byte = [b'x'];
    let mut vector = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // `struct cmsghdr`: its length, level and type, then the descriptor.
    let head = (libc::SCM_RIGHTS as u64) << 32 | libc::SOL_SOCKET as u64;
    let mut control = [20u64, head, file.as_raw_fd() as u64];
    // SAFETY: a record of numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the record's pointers are of values on this stack.
    unsafe { libc::sendmsg(stream.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
    // Whoever was refused it is gone, which is no failure here.
    let _ = stream.flush();
}

/// Servers on abstract names and of the kind `seqpacket`.
fn processes() {
    let mut outside = Interactive::untagged();
    for (kind, name) in [
        ("seqpacket", "/srv/test/sockets/shut/seqpacket"),
        ("seqpacket", "/srv/test/sockets/lent/seqpacket"),
        ("stream", "@outside-of-all"),
        ("dgram", "@outside-of-all-dgram"),
    ] {
        assert_eq!(outside.ask(words!["unix-bind", kind, name]).error(), "", "{name}");
    }
    for place in ["shut", "lent"] {
        open_to_all(&Path::new(SOCKETS).join(place).join("seqpacket"));
    }
    let mut other = Interactive::untagged();
    let body = format!(r#"{{"profile":"agent","workdir":"{}"}}"#, layout::WORK);
    let answer = other.ask(words!["http", layout::SOCKET, "POST", "/v1/sessions", body]);
    assert!(answer.clone().value().starts_with("20"), "{answer:?}");
    let name = "@of-another-session";
    assert_eq!(other.ask(words!["unix-bind", "stream", name]).error(), "");
    PROCESSES.lock().expect("nobody else has it").extend([outside, other]);
}
