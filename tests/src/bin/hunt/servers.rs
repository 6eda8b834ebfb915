//! Servers outside, which record what arrives, and say what no session may hear.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write as _},
    net::UdpSocket,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use crate::{
    memory::address_bytes,
    program::{Address, AddressForm},
    world::{Class, ENDPOINTS, Family, OWN_PORT, WORK},
};

/// Something that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Where, by the place among [`ENDPOINTS`]; `None` for a connection that others made to the session.
    pub(crate) endpoint: Option<usize>,
    /// The epoch and the step of what was written; `None` for a connection or an empty message.
    pub(crate) mark: Option<(u32, usize)>,
}

/// What a server has open.
enum Open {
    /// A socket that listens, or receives datagrams.
    Server(usize),
    /// A connection.
    Connection(Option<usize>),
}

/// All servers.
pub(crate) struct Servers {
    open: HashMap<RawFd, (OwnedFd, Open)>,
    /// Who sent datagrams to which server.
    peers: Vec<(RawFd, Vec<u8>, usize)>,
    pub(crate) arrivals: Vec<Arrival>,
}

/// Makes a call's result an error.
fn done(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn socket(endpoint: usize) -> io::Result<OwnedFd> {
    let of = &ENDPOINTS[endpoint];
    let kind = of.kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the call gets numbers, and makes the descriptor.
    unsafe { done(libc::socket(of.family.number(), kind, 0)).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

impl Servers {
    /// Starts all.
    ///
    /// # Panics
    /// When one can't be started.
    pub(crate) fn start() -> Self {
        let mut servers = Self { open: HashMap::new(), peers: Vec::new(), arrivals: Vec::new() };
        for (place, endpoint) in
            ENDPOINTS.iter().enumerate().filter(|(_, endpoint)| endpoint.served)
        {
            let server = serve(place).unwrap_or_else(|error| panic!("{}: {error}", endpoint.name));
            servers.open.insert(server.as_raw_fd(), (server, Open::Server(place)));
        }
        servers
    }

    /// Forgets everything of the program before.
    pub(crate) fn clear(&mut self) {
        self.look(0);
        self.open.retain(|_, (_, open)| matches!(open, Open::Server(_)));
        self.peers.clear();
        self.arrivals.clear();
    }

    /// Takes what has arrived for a program, and answers.
    pub(crate) fn look(&mut self, program: u32) {
        for fd in self.ready() {
            match self.open.get(&fd) {
                Some((_, Open::Server(place))) if ENDPOINTS[*place].kind != libc::SOCK_DGRAM => {
                    self.accept(fd, *place);
                }
                Some((_, Open::Server(place))) => self.receive(fd, Some(*place), program),
                Some((_, Open::Connection(place))) => self.receive(fd, *place, program),
                None => {}
            }
        }
    }

    /// The descriptors at which something is to be had.
    fn ready(&self) -> Vec<RawFd> {
        let mut all: Vec<libc::pollfd> = self
            .open
            .keys()
            .map(|fd| libc::pollfd { fd: *fd, events: libc::POLLIN, revents: 0 })
            .collect();
        // SAFETY: the array is valid.
        unsafe { libc::poll(all.as_mut_ptr(), all.len() as u64, 0) };
        all.into_iter().filter(|one| one.revents != 0).map(|one| one.fd).collect()
    }

    fn accept(&mut self, fd: RawFd, place: usize) {
        let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let next = || {
            // SAFETY: no address is asked for.
            done(unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), flags) })
        };
        while let Ok(new) = next() {
            self.arrivals.push(Arrival { endpoint: Some(place), mark: None });
            send(new, greeting(place));
            // SAFETY: the call made the descriptor.
            let owned = unsafe { OwnedFd::from_raw_fd(new) };
            self.open.insert(new, (owned, Open::Connection(Some(place))));
        }
    }

    fn receive(&mut self, fd: RawFd, place: Option<usize>, program: u32) {
        let mut buffer = [0_u8; 16_384];
        loop {
            let mut address = [0_u8; 128];
            let mut len = address.len() as u32;
            // SAFETY: the buffers are as long as is said.
            let got = unsafe {
                libc::recvfrom(
                    fd,
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    libc::MSG_DONTWAIT,
                    address.as_mut_ptr().cast(),
                    &raw mut len,
                )
            };
            if got < 0 {
                break;
            }
            let is_datagram = matches!(self.open.get(&fd), Some((_, Open::Server(_))));
            if is_datagram && let Some(place) = place {
                // SAFETY: text and address are as long as is said.
                unsafe {
                    let text = greeting(place);
                    let (address, flags) = (address.as_ptr().cast(), libc::MSG_DONTWAIT);
                    libc::sendto(fd, text.as_ptr().cast(), text.len(), flags, address, len);
                }
                self.peers.push((fd, address[..len as usize].to_vec(), place));
            }
            let marks = marks(&buffer[..got as usize], program);
            if marks.is_empty() && is_datagram {
                self.arrivals.push(Arrival { endpoint: place, mark: None });
            }
            for mark in marks {
                let arrival = Arrival { endpoint: place, mark: Some(mark) };
                if !self.arrivals.contains(&arrival) {
                    self.arrivals.push(arrival);
                }
            }
            if got == 0 && !is_datagram {
                self.open.remove(&fd);
                break;
            }
        }
    }

    /// Says something to whoever is connected to servers of a class, or sent something to them.
    pub(crate) fn say(&mut self, class: Option<Class>, text: &[u8]) {
        let is_meant = |place: &Option<usize>| match (class, place) {
            (None, _) => true,
            (Some(class), Some(place)) => ENDPOINTS[*place].class == class,
            (Some(_), None) => false,
        };
        for (fd, (_, open)) in &self.open {
            if let Open::Connection(place) = open
                && is_meant(place)
            {
                send(*fd, text);
            }
        }
        for (fd, address, place) in &self.peers {
            if is_meant(&Some(*place)) {
                // SAFETY: text and address are as long as is said.
                unsafe {
                    libc::sendto(
                        *fd,
                        text.as_ptr().cast(),
                        text.len(),
                        libc::MSG_DONTWAIT,
                        address.as_ptr().cast(),
                        address.len() as u32,
                    )
                };
            }
        }
    }

    /// Sends to wherever the session listens: what it may hear while it has standing and may listen there, else a
    /// secret.
    pub(crate) fn approach(&mut self, has_standing: bool) {
        let text = |may: bool| -> &'static [u8] {
            match (has_standing, may) {
                (true, true) => b"hello",
                (true, false) => b"SECRET:14;",
                (false, _) => b"SECRET:15;",
            }
        };
        for (table, is_v6, is_tcp) in [
            ("tcp", false, true),
            ("tcp6", true, true),
            ("udp", false, false),
            ("udp6", true, false),
        ] {
            for port in open_ports(table, is_tcp) {
                let said = text(port == OWN_PORT);
                for host in
                    if is_v6 { &["::1", "127.0.0.1"][..] } else { &["127.0.0.1", "10.66.0.9"] }
                {
                    let to = if is_v6 && *host == "::1" {
                        format!("[::1]:{port}")
                    } else {
                        format!("{host}:{port}")
                    };
                    if is_tcp {
                        self.connect_tcp(&to, said);
                    } else if let Ok(socket) =
                        UdpSocket::bind(if to.starts_with('[') { "[::1]:0" } else { "0.0.0.0:0" })
                    {
                        let _ = socket.send_to(said, &to);
                    }
                }
            }
        }
        for (place, endpoint) in ENDPOINTS.iter().enumerate() {
            if endpoint.served || !matches!(endpoint.family, Family::Unix | Family::Abstract) {
                continue;
            }
            let Ok(fd) = socket(place) else { continue };
            let bytes = address_bytes(Address { endpoint: place, form: AddressForm::Plain });
            // SAFETY: the address is as long as is said.
            if unsafe { libc::connect(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len() as u32) }
                == 0
            {
                send(fd.as_raw_fd(), text(true));
                self.open.insert(fd.as_raw_fd(), (fd, Open::Connection(None)));
            }
        }
    }

    fn connect_tcp(&mut self, to: &str, said: &[u8]) {
        let Ok(to) = to.parse() else { return };
        let Ok(mut stream) =
            std::net::TcpStream::connect_timeout(&to, std::time::Duration::from_millis(50))
        else {
            return;
        };
        let _ = stream.set_nonblocking(true);
        let _ = stream.write(said);
        let fd = OwnedFd::from(stream);
        self.open.insert(fd.as_raw_fd(), (fd, Open::Connection(None)));
    }
}

/// Starts the server of an endpoint.
fn serve(place: usize) -> io::Result<OwnedFd> {
    let endpoint = &ENDPOINTS[place];
    let fd = socket(place)?;
    if endpoint.family == Family::Unix {
        let _ = fs::remove_file(endpoint.host);
    }
    let bytes = address_bytes(Address { endpoint: place, form: AddressForm::Plain });
    let one: i32 = 1;
    // SAFETY: address and value are as long as is said.
    unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_REUSEADDR,
            (&raw const one).cast(),
            4,
        );
        done(libc::bind(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len() as u32))?;
        if endpoint.kind != libc::SOCK_DGRAM {
            done(libc::listen(fd.as_raw_fd(), 64))?;
        }
    }
    if endpoint.family == Family::Unix {
        // Everybody may connect, as far as the file's mode says.
        fs::set_permissions(endpoint.host, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    }
    Ok(fd)
}

/// What a server says to who comes.
fn greeting(place: usize) -> &'static [u8] {
    if ENDPOINTS[place].class == Class::Never { b"SECRET:12;" } else { b"hello" }
}

fn send(fd: RawFd, text: &[u8]) {
    // SAFETY: the text is as long as is said.
    unsafe {
        libc::send(fd, text.as_ptr().cast(), text.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
}

/// The epochs and steps in what a program wrote.
pub(crate) fn marks(bytes: &[u8], program: u32) -> Vec<(u32, usize)> {
    let begin = format!("MARK:{program:06}:");
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some(place) = rest.windows(begin.len()).position(|window| window == begin.as_bytes())
    {
        rest = &rest[place + begin.len()..];
        let text = std::str::from_utf8(rest.get(..5).unwrap_or_default()).unwrap_or_default();
        if let Some((epoch, step)) = text.split_once(':')
            && let (Ok(epoch), Ok(step)) = (epoch.parse(), step.parse())
            && !found.contains(&(epoch, step))
        {
            found.push((epoch, step));
        }
    }
    found
}

/// The ports of a table in `/proc/net` at which somebody listens, or receives from everybody, and no server does.
fn open_ports(table: &str, is_tcp: bool) -> Vec<u16> {
    let text = fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
    let mut ports = Vec::new();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, state, ..] = words.as_slice() else { continue };
        let port_of = |address: &str| {
            address.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok())
        };
        let (Some(port), Some(peer)) = (port_of(local), port_of(remote)) else { continue };
        let is_open = if is_tcp { *state == "0A" } else { peer == 0 };
        let is_ours = ENDPOINTS.iter().any(|endpoint| endpoint.served && endpoint.port == port);
        if is_open && !is_ours && port != 0 && !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}

/// The sockets that the session made in its work folder are removed with it.
pub(crate) fn own_sockets() -> impl Iterator<Item = &'static str> {
    ENDPOINTS
        .iter()
        .filter(|endpoint| !endpoint.served && endpoint.host.starts_with(WORK))
        .map(|endpoint| endpoint.host)
}
