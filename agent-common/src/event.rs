//! The record that a refusal sends from the kernel to the daemon.
//!
//! One fixed [`EventHeader`], then `path_len` bytes of the object's path, `to_len` bytes of the second
//! path of a rename or link, and `exe_len` bytes of the program's path, with nothing between.

use crate::{
    assert_layout,
    id::{BootNanos, Generation, SessionId, Slot},
    limits::ANCESTORS,
};

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What was tried. The numbers are those of the event record, the names those of incidents.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Operation { $($(#[$doc])* $name = $number,)* }

        impl Operation {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name that incidents use.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        impl TryFrom<u8> for Operation {
            type Error = u8;

            fn try_from(number: u8) -> Result<Self, u8> {
                match number { $($number => Ok(Self::$name),)* other => Err(other) }
            }
        }
    };
}

operations! {
    /// Opening a file or directory.
    FileOpen = 1, "file.open";
    /// Starting a program, its interpreter included.
    FileExec = 2, "file.exec";
    /// Mapping a file executable.
    FileMap = 3, "file.map";
    /// Making a file, directory, symbolic link, socket or device.
    FileCreate = 4, "file.create";
    /// Removing a name.
    FileDelete = 5, "file.delete";
    /// Renaming.
    FileRename = 6, "file.rename";
    /// Making a hard link.
    FileLink = 7, "file.link";
    /// Changing metadata, or truncating by path.
    FileSetattr = 8, "file.setattr";
    /// Device control.
    FileIoctl = 9, "file.ioctl";
    /// Receiving a descriptor.
    FileReceive = 10, "file.receive";
    /// Using a descriptor that is already open.
    FileUse = 11, "file.use";
    /// Making a socket.
    NetSocket = 20, "net.socket";
    /// Connecting.
    NetConnect = 21, "net.connect";
    /// Binding to a local endpoint.
    NetBind = 22, "net.bind";
    /// Listening.
    NetListen = 23, "net.listen";
    /// Sending to an address.
    NetSend = 24, "net.send";
    /// Using a socket that is already open.
    NetUse = 25, "net.use";
    /// Connecting or sending to a unix socket.
    UnixConnect = 26, "unix.connect";
    /// Setting an option of a socket by which packets go another way than was decided.
    NetOption = 27, "net.option";
    /// Tracing another process, or reading or writing its memory.
    ProcessTrace = 40, "process.trace";
    /// Signalling a process outside the session.
    ProcessSignal = 41, "process.signal";
    /// Changing the limits, priority or placement of a process outside the session.
    ProcessControl = 42, "process.control";
    /// Using System V memory, semaphores or queues that a process outside the session made.
    ProcessIpc = 43, "process.ipc";
    /// Using a key or keyring that a process outside the session made.
    ProcessKey = 44, "process.key";
    /// Making a process or a thread.
    ProcessFork = 45, "process.fork";
    /// Mounting, unmounting, moving a mount, changing the root.
    PrivMount = 60, "priv.mount";
    /// The `bpf` system call.
    PrivBpf = 61, "priv.bpf";
    /// Performance events.
    PrivPerf = 62, "priv.perf";
    /// Loading a kernel module or another kernel image.
    PrivModule = 63, "priv.module";
    /// Using a capability that would undo the confinement.
    PrivCapability = 64, "priv.capability";
    /// Making a user namespace.
    PrivUserns = 65, "priv.userns";
    /// Acting with credentials that were put aside, by io_uring.
    PrivCredentials = 66, "priv.credentials";
}

/// [`EventHeader::verdict`]: refused.
pub const VERDICT_DENIED: u8 = 0;
/// [`EventHeader::verdict`]: let pass, by the session's audit mode.
pub const VERDICT_WOULD_DENY: u8 = 1;

/// [`EventHeader::object`]: a path.
pub const OBJECT_PATH: u8 = 0;
/// [`EventHeader::object`]: an address, port and protocol.
pub const OBJECT_ENDPOINT: u8 = 1;
/// [`EventHeader::object`]: a socket's family (`arguments[0]`), type (`[1]`) and protocol (`[2]`).
pub const OBJECT_SOCKET: u8 = 2;
/// [`EventHeader::object`]: a process (`arguments[0]`) and a signal (`arguments[1]`).
pub const OBJECT_PROCESS: u8 = 3;
/// [`EventHeader::object`]: a number that the operation explains (`arguments[0]`): a capability, a
/// `bpf` command.
pub const OBJECT_NUMBER: u8 = 4;
/// [`EventHeader::object`]: the path of an abstract unix socket, without its leading zero byte.
pub const OBJECT_ABSTRACT: u8 = 5;

/// [`EventHeader::object`]: the path of a program that has more privilege than its user, by set-id bits or
/// capabilities of the file.
pub const OBJECT_SET_ID: u8 = 6;

/// A process in an event's ancestry.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ancestor {
    /// Process id in the first namespace; zero after the last.
    pub pid: u32,
    /// Its command name, zero-padded.
    pub comm: [u8; 16],
}

assert_layout!(Ancestor, 20, 4);

/// The fixed part of an event.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct EventHeader {
    /// When.
    pub time: BootNanos,
    /// Counted up with every event since the programs were loaded, whether or not it could be
    /// delivered: a number seen before is a repeat.
    pub sequence: u64,
    /// Whose.
    pub session: SessionId,
    /// Its slot.
    pub slot: Slot,
    /// The policy that was in force.
    pub generation: Generation,
    /// Process id (thread group) in the first namespace.
    pub pid: u32,
    /// Thread id in the first namespace.
    pub tid: u32,
    /// User id in the first namespace.
    pub uid: u32,
    /// Three numbers that `object` explains.
    pub arguments: [u32; 3],
    /// An [`Operation`].
    pub operation: u8,
    /// A [`crate::decision::Reason`].
    pub reason: u8,
    /// A `VERDICT_` constant.
    pub verdict: u8,
    /// The rights asked for ([`crate::access::Rights`]).
    pub rights: u8,
    /// An `OBJECT_` constant: what the rest says of the object.
    pub object: u8,
    /// IP protocol number of an endpoint: 6 or 17.
    pub protocol: u8,
    /// Port of an endpoint, native byte order.
    pub port: u16,
    /// Address of an endpoint: IPv6, or IPv4 mapped into it.
    pub address: [u8; 16],
    /// Bytes of the object's path that follow the header.
    pub path_len: u16,
    /// Bytes of the second path.
    pub to_len: u16,
    /// Bytes of the program's path.
    pub exe_len: u16,
    /// Ancestors filled in.
    pub ancestors_len: u16,
    /// The process's command name, zero-padded.
    pub comm: [u8; 16],
    /// Parent, its parent, and so on.
    pub ancestors: [Ancestor; ANCESTORS],
}

assert_layout!(EventHeader, 264, 8);
