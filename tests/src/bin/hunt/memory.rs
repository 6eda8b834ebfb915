//! From the values of a step to what the kernel is given: numbers, and memory that lives until the call is over.

use std::ffi::CString;

use crate::{
    facts::Facts,
    program::{Address, AddressForm, Fd, Form, Value},
    shared::Shared,
    world::{ENDPOINTS, Family, OBJECTS, WORK},
};

/// Bytes of a buffer.
const BUFFER: usize = 8192;
/// Bytes of each part of a buffer in two parts.
const PART: usize = 256;
/// What a secret begins with; its number and a semicolon follow.
pub(crate) const SECRET: &[u8] = b"SECRET:";

/// The memory of one step.
pub(crate) struct Memory<'a> {
    facts: &'a Facts,
    shared: &'a Shared,
    step: usize,
    /// Everything that the call is given the address of.
    parts: Vec<Box<[u8]>>,
    /// The length of the address that the step has.
    address_len: i64,
}

impl<'a> Memory<'a> {
    pub(crate) fn new(facts: &'a Facts, shared: &'a Shared, step: usize) -> Self {
        Self { facts, shared, step, parts: Vec::new(), address_len: 0 }
    }

    /// The secrets in the memory, a bit each.
    pub(crate) fn secrets(&self) -> u64 {
        self.parts.iter().map(|part| secrets(part)).fold(0, |all, found| all | found)
    }

    /// The bytes of the part made last but so many.
    pub(crate) fn last(&self) -> &[u8] {
        self.parts.last().map_or(&[], |part| part)
    }

    /// The part at an address that [`Self::value`] gave.
    pub(crate) fn at(&self, address: i64) -> &[u8] {
        let found = self.parts.iter().find(|part| part.as_ptr() as i64 == address);
        found.map_or(&[], |part| part)
    }

    fn keep(&mut self, bytes: Vec<u8>) -> i64 {
        self.parts.push(bytes.into_boxed_slice());
        self.last().as_ptr() as i64
    }

    fn text(&mut self, text: impl Into<Vec<u8>>) -> i64 {
        let text = CString::new(text).unwrap_or_default();
        self.keep(text.into_bytes_with_nul())
    }

    /// A buffer of so many bytes of marks: of which program, epoch and step they are.
    fn marks(&mut self, len: usize) -> i64 {
        let epoch = self.shared.begun(self.step).unwrap_or_default();
        let mark = mark(self.facts.number, epoch, self.step);
        let bytes: Vec<u8> = mark.bytes().cycle().take(len).collect();
        self.keep(bytes)
    }

    /// A descriptor's number.
    pub(crate) fn fd(&self, fd: Fd) -> i64 {
        match fd {
            Fd::Number(number) => number.into(),
            Fd::Step(step, which) => {
                let value = if which == 0 {
                    self.shared.value(step)
                } else {
                    Some(self.shared.second(step))
                };
                value.filter(|value| *value >= 0).unwrap_or(-1)
            }
        }
    }

    /// What the kernel is given for an argument of the kind that the table calls `kind`.
    pub(crate) fn value(&mut self, kind: &str, value: &Value) -> i64 {
        match value {
            Value::Number(number) if kind == "lenout" => {
                let mut bytes = vec![0; 8];
                bytes[..4].copy_from_slice(&(*number as u32).to_ne_bytes());
                self.keep(bytes)
            }
            Value::Number(number) => *number,
            Value::Fd(fd) if kind == "clone" => self.clone_arguments(*fd),
            Value::Fd(fd) => self.fd(*fd),
            Value::Path(object, form) => {
                let path = path(*object, *form, self.facts);
                self.text(path)
            }
            Value::Through(fd) => {
                let path = format!("/proc/self/fd/{}", self.fd(*fd));
                self.text(path)
            }
            Value::Text(text) => self.text(text.as_bytes()),
            Value::Address(address) => {
                let bytes = address_bytes(*address);
                self.address_len = bytes.len() as i64;
                self.keep(bytes)
            }
            Value::Message(address, passed) => {
                let head = self.message(kind, *address, *passed);
                if kind != "mmsgin" {
                    return self.keep(head);
                }
                let mut two = Vec::new();
                for _ in 0..2 {
                    two.extend_from_slice(&head);
                    two.extend_from_slice(&[0; 8]);
                }
                self.keep(two)
            }
            Value::Made(variant) => self.made(kind, *variant),
        }
    }

    /// `struct clone_args` (include/uapi/linux/sched.h): into the control group of a descriptor.
    fn clone_arguments(&mut self, fd: Fd) -> i64 {
        const INTO_CGROUP: u64 = 0x2_0000_0000;
        let group = self.fd(fd);
        let mut words = [0_u64; 11];
        words[4] = libc::SIGCHLD as u64;
        if group >= 0 {
            words[0] = INTO_CGROUP;
            words[10] = group as u64;
        }
        self.keep(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
    }

    /// `struct msghdr`.
    fn message(&mut self, kind: &str, address: Option<Address>, passed: Option<Fd>) -> Vec<u8> {
        let reads = kind == "msgout";
        let vector = self.vector(reads);
        let (name, name_len) = match address {
            Some(address) => {
                let bytes = address_bytes(address);
                let len = bytes.len();
                (self.keep(bytes), len)
            }
            None if reads => (self.keep(vec![0; 128]), 128),
            None => (0, 0),
        };
        let (control, control_len) = match passed {
            Some(fd) => {
                let fd = self.fd(fd) as i32;
                let mut bytes = 20_u64.to_ne_bytes().to_vec();
                bytes.extend_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
                bytes.extend_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
                bytes.extend_from_slice(&fd.to_ne_bytes());
                bytes.extend_from_slice(&[0; 4]);
                (self.keep(bytes), 24)
            }
            None if reads => (self.keep(vec![0; 128]), 128),
            None => (0, 0),
        };
        let words =
            [name as u64, name_len as u64, vector as u64, 2, control as u64, control_len as u64, 0];
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    /// Two parts (`struct iovec`).
    fn vector(&mut self, reads: bool) -> i64 {
        let mut words = Vec::new();
        for _ in 0..2 {
            let part = if reads { self.keep(vec![0; PART]) } else { self.marks(PART) };
            words.extend([part as u64, PART as u64]);
        }
        self.keep(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
    }

    fn made(&mut self, kind: &str, variant: i64) -> i64 {
        let facts = self.facts;
        let words =
            |words: &[u64]| words.iter().flat_map(|word| word.to_ne_bytes()).collect::<Vec<u8>>();
        match kind {
            "out" => self.keep(vec![0; BUFFER]),
            "in" => self.marks(BUFFER),
            "iovout" => self.vector(true),
            "iovin" => self.vector(false),
            "iovvictim" => self.keep(words(&[facts.victim_address, 64])),
            "addrlen" => self.address_len,
            "addrany" => {
                let mut bytes = any_address(variant);
                bytes.resize(28, 0);
                self.keep(bytes)
            }
            "addrout" => self.keep(vec![0; 128]),
            "pid" => pid(variant, facts),
            "pidword" => {
                let pid = pid(variant, facts);
                self.keep(words(&[pid as u32 as u64]))
            }
            "time" => self.keep(words(&[0, 1_000_000])),
            "fds" | "ptr" => self.keep(vec![0; 64]),
            "id" => {
                if variant == 0 {
                    facts.key.into()
                } else {
                    facts.key as i64 + 1 + variant
                }
            }
            "shm" => facts.ipc[0].into(),
            "sem" => facts.ipc[1].into(),
            "msg" => facts.ipc[2].into(),
            "how" => {
                let flags = [0, 1, 2, 0x42, 0x20_0000, 0x1_0000][variant as usize % 6];
                let mode = if flags & 0x40 == 0 { 0 } else { 0o600 };
                let resolve = if variant >= 6 { 0x10 } else { 0 };
                self.keep(words(&[flags, mode, resolve]))
            }
            "clone" => self.keep(words(&[0, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0, 0, 0, 0])),
            "flock" => self.keep(words(&[variant as u64, 0, 0, 0])),
            "handle" => {
                let mut bytes = vec![0; 160];
                bytes[0] = 128;
                self.keep(bytes)
            }
            "optval" => self.keep(words(&[variant as u64])),
            "siginfo" => {
                let mut bytes = vec![0; 128];
                bytes[0] = libc::SIGTERM as u8;
                bytes[8..12].copy_from_slice(&(-1_i32).to_ne_bytes());
                self.keep(bytes)
            }
            "rlimit" => self.keep(words(&[1024, 1024])),
            "sembuf" => self.keep(vec![0, 0, 1, 0, 0, 8]),
            _ => 0,
        }
    }
}

/// What stands in everything that a program writes.
pub(crate) fn mark(number: u32, epoch: u32, step: usize) -> String {
    format!("MARK:{number:06}:{epoch:02}:{step:02};")
}

/// The secrets in some bytes, a bit each.
pub(crate) fn secrets(bytes: &[u8]) -> u64 {
    let mut found = 0;
    let mut rest = bytes;
    while let Some(place) = rest.windows(SECRET.len()).position(|window| window == SECRET) {
        rest = &rest[place + SECRET.len()..];
        if let [tens @ b'0'..=b'9', ones @ b'0'..=b'9', b';', ..] = rest {
            found |= 1 << (u64::from(tens - b'0') * 10 + u64::from(ones - b'0'));
        }
    }
    found
}

/// Which process.
fn pid(variant: i64, facts: &Facts) -> i64 {
    match variant {
        0 => facts.victim.into(),
        1 => 0,
        2 => -1,
        3 => -i64::from(facts.victim),
        4 => facts.hunter.into(),
        5 => facts.daemon.into(),
        // SAFETY: the call has no precondition.
        _ => unsafe { libc::getpid() }.into(),
    }
}

/// The name of an object in a form.
fn path(object: usize, form: Form, facts: &Facts) -> String {
    let mut path = OBJECTS[object].path.to_owned();
    if let Some(rest) = path.strip_prefix("/run/hunt-victim/") {
        path = format!("/proc/{}/{rest}", facts.victim);
    }
    let rest = path.trim_start_matches('/');
    match form {
        Form::Absolute => path,
        Form::Relative => match path.strip_prefix(WORK) {
            Some("") => ".".to_owned(),
            Some(below) => below.trim_start_matches('/').to_owned(),
            None => format!("../../../{rest}"),
        },
        Form::Root => format!("/proc/self/root/{rest}"),
        // The link leads to the root.
        Form::Link => format!("/srv/hunt/links/root/{rest}"),
        Form::Odd => format!("/.//{}", rest.replace('/', "/.//")),
        Form::Slash => format!("{path}/"),
        Form::Capitals => match path.rsplit_once('/') {
            Some((folder, name)) => format!("{folder}/{}", name.to_uppercase()),
            None => path,
        },
        Form::Current => format!("/proc/self/cwd/../../../{rest}"),
    }
}

/// An address without a port of its own: any, that of a network card, the loopback, as IPv4 and as IPv6.
fn any_address(variant: i64) -> Vec<u8> {
    match variant {
        0 => v4([0, 0, 0, 0], 0),
        1 => v6([0; 16], 0),
        2 => v4([10, 66, 0, 9], 0),
        3 => v4([127, 0, 0, 1], 0),
        4 => v6(mapped([10, 66, 0, 9]), 0),
        _ => v6(loopback(), 0),
    }
}

fn mapped(host: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[10..12].copy_from_slice(&[0xff, 0xff]);
    bytes[12..].copy_from_slice(&host);
    bytes
}

fn loopback() -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[15] = 1;
    bytes
}

/// `struct sockaddr_in`.
fn v4(host: [u8; 4], port: u16) -> Vec<u8> {
    let mut bytes = (libc::AF_INET as u16).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes.extend_from_slice(&host);
    bytes.extend_from_slice(&[0; 8]);
    bytes
}

/// `struct sockaddr_in6`.
fn v6(host: [u8; 16], port: u16) -> Vec<u8> {
    let mut bytes = (libc::AF_INET6 as u16).to_ne_bytes().to_vec();
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&host);
    bytes.extend_from_slice(&[0; 4]);
    bytes
}

/// An endpoint's address in a form.
pub(crate) fn address_bytes(address: Address) -> Vec<u8> {
    let endpoint = &ENDPOINTS[address.endpoint];
    let form = address.form;
    let port = if form == AddressForm::NoPort { 0 } else { endpoint.port };
    let host = |text: &str| -> [u8; 4] {
        text.parse::<std::net::Ipv4Addr>().map_or([0; 4], |host| host.octets())
    };
    let mut bytes = match (endpoint.family, form) {
        (Family::V4, AddressForm::Mapped) => v6(mapped(host(endpoint.host)), port),
        (Family::V4, AddressForm::Any) => v4([0; 4], port),
        (Family::V4, _) => v4(host(endpoint.host), port),
        (Family::V6, AddressForm::Any) => v6([0; 16], port),
        (Family::V6, _) => v6(loopback(), port),
        (Family::Unix, _) => named(b"", endpoint.host),
        (Family::Abstract, _) => named(b"\0", endpoint.host),
    };
    match form {
        AddressForm::Unspecified => bytes[..2].copy_from_slice(&[0, 0]),
        AddressForm::Short => drop(bytes.pop()),
        AddressForm::Long => bytes.resize(bytes.len() + 12, 0),
        _ => {}
    }
    bytes
}

/// `struct sockaddr_un`.
fn named(before: &[u8], name: &str) -> Vec<u8> {
    let mut bytes = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
    bytes.extend_from_slice(before);
    bytes.extend_from_slice(name.as_bytes());
    if before.is_empty() {
        bytes.push(0);
    }
    bytes
}
