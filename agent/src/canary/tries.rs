//! The canary's tries, as data. Each is harmless if it is not refused: it reads the canary's own files, sets a value
//! that is set already, or is invalid in a way that the kernel checks only after the point where Remit refuses.

use agent_common::event::Operation::{self, *};

/// A system call, in the form that the canary makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named by `Call::name` and described where it is made")]
pub enum Call {
    OpenAllowed,
    MakeSocket,
    SignalItself,
    Open,
    OpenAfterFork,
    Map,
    Create,
    MakeNode,
    MakeFolder,
    MakeSymlink,
    Link,
    Rename,
    Unlink,
    RemoveFolder,
    Truncate,
    ChangeMode,
    ChangeOwner,
    OwnSignals,
    SocketFamily,
    Connect,
    Send,
    Bind,
    Listen,
    ConnectUnix,
    RobustList,
    Kill,
    SetPriority,
    SetAffinity,
    Bpf,
    Mount,
    Unmount,
    Unshare,
    Execute,
}

impl Call {
    /// The call's name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAllowed | Self::Open => "openat",
            Self::MakeSocket | Self::SocketFamily => "socket",
            Self::SignalItself | Self::Kill => "kill",
            Self::OpenAfterFork => "fork and openat",
            Self::Map => "mmap",
            Self::Create => "openat with O_CREAT",
            Self::MakeNode => "mknodat",
            Self::MakeFolder => "mkdirat",
            Self::MakeSymlink => "symlinkat",
            Self::Link => "linkat",
            Self::Rename => "renameat2",
            Self::Unlink => "unlinkat",
            Self::RemoveFolder => "unlinkat of a folder",
            Self::Truncate => "truncate",
            Self::ChangeMode => "fchmodat",
            Self::ChangeOwner => "fchownat",
            Self::OwnSignals => "ioctl with FIOSETOWN",
            Self::Connect | Self::ConnectUnix => "connect",
            Self::Send => "sendto",
            Self::Bind => "bind",
            Self::Listen => "listen",
            Self::RobustList => "get_robust_list",
            Self::SetPriority => "setpriority",
            Self::SetAffinity => "sched_setaffinity",
            Self::Bpf => "bpf",
            Self::Mount => "mount",
            Self::Unmount => "umount2",
            Self::Unshare => "unshare",
            Self::Execute => "execve",
        }
    }
}

/// The right outcome of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// It is allowed.
    Done,
    /// It is refused, and the kernel reports it.
    Refused,
}

/// One try.
#[derive(Clone, Copy, Debug)]
pub struct Try {
    /// The operation, as incidents name it.
    pub operation: Operation,
    /// The system call.
    pub call: Call,
    /// The right outcome.
    pub wants: Wants,
}

const fn done(operation: Operation, call: Call) -> Try {
    Try { operation, call, wants: Wants::Done }
}

const fn refused(operation: Operation, call: Call) -> Try {
    Try { operation, call, wants: Wants::Refused }
}

/// The tries, in their order. Those that would change the canary's process itself come last. `perf_event_open` is not
/// among them: where the host's setting demands a capability first (Debian's `perf_event_paranoid`), Remit refuses the
/// capability, and the hook is not reached.
pub const TRIES: &[Try] = &[
    done(FileOpen, Call::OpenAllowed),
    done(NetSocket, Call::MakeSocket),
    done(ProcessSignal, Call::SignalItself),
    refused(FileOpen, Call::Open),
    refused(FileOpen, Call::OpenAfterFork),
    refused(FileMap, Call::Map),
    refused(FileCreate, Call::Create),
    refused(FileCreate, Call::MakeNode),
    refused(FileCreate, Call::MakeFolder),
    refused(FileCreate, Call::MakeSymlink),
    refused(FileLink, Call::Link),
    refused(FileRename, Call::Rename),
    refused(FileDelete, Call::Unlink),
    refused(FileDelete, Call::RemoveFolder),
    refused(FileSetattr, Call::Truncate),
    refused(FileSetattr, Call::ChangeMode),
    refused(FileSetattr, Call::ChangeOwner),
    refused(FileIoctl, Call::OwnSignals),
    refused(NetSocket, Call::SocketFamily),
    refused(NetConnect, Call::Connect),
    refused(NetSend, Call::Send),
    refused(NetBind, Call::Bind),
    refused(NetListen, Call::Listen),
    refused(UnixConnect, Call::ConnectUnix),
    refused(ProcessTrace, Call::RobustList),
    refused(ProcessSignal, Call::Kill),
    refused(ProcessControl, Call::SetPriority),
    refused(ProcessControl, Call::SetAffinity),
    refused(PrivBpf, Call::Bpf),
    refused(PrivMount, Call::Mount),
    refused(PrivCapability, Call::Unmount),
    refused(PrivUserns, Call::Unshare),
    refused(FileExec, Call::Execute),
];
