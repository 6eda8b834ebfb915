//! The canary's process: `remitd` itself, started again with a first argument of its own. It waits until it is tagged,
//! makes one system call after another, and writes the result of each to standard output. It has no privilege of its
//! own: anybody else who starts it only learns what they may do themselves.

use std::{
    env,
    ffi::{CString, OsStr},
    io::{self, Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    process::ExitCode,
};

use super::{ALLOWED, Call, DOOMED, FOLDER, FORBIDDEN, MOVED, SOCKET, TRIES};

/// The first argument of the canary's process. The folder follows, and [`DENIED`] or nothing.
pub const TRY: &str = "canary-try";
/// The first argument of the program that the canary must not be able to start.
pub const RAN: &str = "canary-ran";
/// The argument for a policy that denies reading `allowed`.
pub const DENIED: &str = "denied";

/// The line that it writes when it can be tagged: before, it still has to open its libraries.
pub const READY: &str = "ready";

/// The discard port on the loopback address.
const PORT: u16 = 9;

/// Does the canary's work, if this process was started as the canary's.
pub fn main() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    match arguments.next()?.to_str()? {
        TRY => {
            let folder = arguments.next()?;
            let readable = arguments.next().is_none_or(|word| word != DENIED);
            Some(try_all(Path::new(&folder), readable))
        }
        // The last try, starting a program, was not refused.
        RAN => Some(answer(TRIES.len() - 1, 0)),
        _ => None,
    }
}

/// Writes the result of a try.
fn answer(index: usize, errno: i32) -> ExitCode {
    let mut out = io::stdout().lock();
    match writeln!(out, "{index} {errno}").and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn try_all(folder: &Path, readable: bool) -> ExitCode {
    let Some(mut canary) = Canary::new(folder) else { return ExitCode::FAILURE };
    // All libraries are loaded by now.
    let mut out = io::stdout().lock();
    if writeln!(out, "{READY}").and_then(|()| out.flush()).is_err() {
        return ExitCode::FAILURE;
    }
    drop(out);
    // The daemon writes a byte once this process is tagged, and closes the pipe if it can't tag it.
    if io::stdin().lock().read_exact(&mut [0]).is_err() {
        return ExitCode::FAILURE;
    }
    for (index, what) in TRIES.iter().enumerate() {
        let errno = match what.call {
            Call::OpenAllowed | Call::Map if !readable => -1,
            call => canary.attempt(call).err().unwrap_or(0),
        };
        if answer(index, errno) != ExitCode::SUCCESS {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Paths and descriptors that the tries use.
struct Canary {
    folder: CString,
    allowed: CString,
    forbidden: CString,
    doomed: CString,
    moved: CString,
    empty: CString,
    made: CString,
    node: CString,
    made_folder: CString,
    link: CString,
    symlink: CString,
    renamed: CString,
    socket: Vec<u8>,
    parent: i32,
    /// `allowed`, open.
    file: i32,
}

/// A system call's result: the error's number.
type Result<T> = std::result::Result<T, i32>;

/// Calls the kernel.
fn call(number: libc::c_long, arguments: [usize; 6]) -> Result<usize> {
    let [one, two, three, four, five, six] = arguments;
    // SAFETY: the callers pass numbers, and addresses of values that live longer than the call; the kernel writes to no
    // memory of this process but the buffers that it is given.
    let done = unsafe { libc::syscall(number, one, two, three, four, five, six) };
    match usize::try_from(done) {
        Ok(done) => Ok(done),
        Err(_) => Err(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
    }
}

/// A signed number as an argument.
const fn signed(number: i32) -> usize {
    number as isize as usize
}

/// The current folder, for paths.
const HERE: usize = signed(libc::AT_FDCWD);

/// The address of a text.
fn at(text: &CString) -> usize {
    text.as_ptr() as usize
}

/// `sockaddr_in` of the loopback address.
fn loopback(port: u16) -> [u8; 16] {
    let [high, low] = port.to_be_bytes();
    let [one, two] = (libc::AF_INET as u16).to_ne_bytes();
    [one, two, high, low, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
}

impl Canary {
    fn new(folder: &Path) -> Option<Self> {
        let text = |path: &OsStr| CString::new(path.as_bytes()).ok();
        let within = |name: &str| text(folder.join(name).as_os_str());
        let socket = folder.join(SOCKET);
        let mut address = (libc::AF_UNIX as u16).to_ne_bytes().to_vec();
        address.extend_from_slice(socket.as_os_str().as_bytes());
        address.push(0);
        Some(Self {
            folder: text(folder.as_os_str())?,
            allowed: within(ALLOWED)?,
            forbidden: within(FORBIDDEN)?,
            doomed: within(DOOMED)?,
            moved: within(MOVED)?,
            empty: within(FOLDER)?,
            made: within("made")?,
            node: within("made-node")?,
            made_folder: within("made-folder")?,
            link: within("made-link")?,
            symlink: within("made-symlink")?,
            renamed: within("renamed")?,
            socket: address,
            parent: std::os::unix::process::parent_id().cast_signed(),
            file: -1,
        })
    }

    /// Tries one operation. Descriptors that it opens are closed when the process exits.
    fn attempt(&mut self, what: Call) -> Result<()> {
        use libc::{
            SYS_bind, SYS_connect, SYS_fchmodat, SYS_fchownat, SYS_kill, SYS_linkat, SYS_listen,
            SYS_mkdirat, SYS_mknodat, SYS_mmap, SYS_renameat2, SYS_sendto, SYS_setpriority,
            SYS_symlinkat, SYS_truncate, SYS_umount2, SYS_unlinkat, SYS_unshare,
        };
        let parent = signed(self.parent);
        let made = match what {
            Call::OpenAllowed => {
                let file = self.open(&self.allowed, libc::O_RDONLY)?;
                self.file = i32::try_from(file).unwrap_or(-1);
                Ok(file)
            }
            Call::MakeSocket => self.internet(libc::SOCK_STREAM),
            Call::SignalItself => {
                let own = std::process::id() as usize;
                call(SYS_kill, [own, libc::SIGURG as usize, 0, 0, 0, 0])
            }
            Call::Open => self.open(&self.forbidden, libc::O_RDONLY),
            Call::OpenAfterFork => self.open_after_fork(),
            Call::Map => {
                let protection = (libc::PROT_READ | libc::PROT_EXEC) as usize;
                let private = libc::MAP_PRIVATE as usize;
                call(SYS_mmap, [0, 4096, protection, private, signed(self.file), 0])
            }
            Call::Create => self.open(&self.made, libc::O_CREAT | libc::O_WRONLY),
            Call::MakeNode => {
                let mode = (libc::S_IFIFO | 0o600) as usize;
                call(SYS_mknodat, [HERE, at(&self.node), mode, 0, 0, 0])
            }
            Call::MakeFolder => call(SYS_mkdirat, [HERE, at(&self.made_folder), 0o700, 0, 0, 0]),
            Call::MakeSymlink => {
                call(SYS_symlinkat, [at(&self.forbidden), HERE, at(&self.symlink), 0, 0, 0])
            }
            Call::Link => call(SYS_linkat, [HERE, at(&self.forbidden), HERE, at(&self.link), 0, 0]),
            Call::Rename => {
                call(SYS_renameat2, [HERE, at(&self.moved), HERE, at(&self.renamed), 0, 0])
            }
            Call::Unlink => call(SYS_unlinkat, [HERE, at(&self.doomed), 0, 0, 0, 0]),
            Call::RemoveFolder => {
                let folder = libc::AT_REMOVEDIR as usize;
                call(SYS_unlinkat, [HERE, at(&self.empty), folder, 0, 0, 0])
            }
            Call::Truncate => call(SYS_truncate, [at(&self.forbidden), 0, 0, 0, 0, 0]),
            Call::ChangeMode => call(SYS_fchmodat, [HERE, at(&self.forbidden), 0o600, 0, 0, 0]),
            Call::ChangeOwner => {
                let (user, group) = (signed(-1), signed(-1));
                call(SYS_fchownat, [HERE, at(&self.forbidden), user, group, 0, 0])
            }
            Call::OwnSignals => {
                // `FIOSETOWN`, which libc does not have: asm-generic/sockios.h.
                let own = std::process::id();
                call(libc::SYS_ioctl, [1, 0x8901, (&raw const own) as usize, 0, 0, 0])
            }
            Call::SocketFamily => self.socket(libc::AF_PACKET, libc::SOCK_RAW),
            Call::Connect => {
                let (socket, address) = (self.internet(libc::SOCK_STREAM)?, loopback(PORT));
                call(SYS_connect, [socket, address.as_ptr() as usize, address.len(), 0, 0, 0])
            }
            Call::Send => {
                let (socket, address) = (self.internet(libc::SOCK_DGRAM)?, loopback(PORT));
                let message = b"canary";
                let (text, len) = (message.as_ptr() as usize, message.len());
                call(SYS_sendto, [socket, text, len, 0, address.as_ptr() as usize, address.len()])
            }
            Call::Bind => {
                let (socket, address) = (self.internet(libc::SOCK_STREAM)?, loopback(PORT));
                call(SYS_bind, [socket, address.as_ptr() as usize, address.len(), 0, 0, 0])
            }
            Call::Listen => {
                // Port zero is one that the kernel chooses; binding to it is no business of a tool's.
                let (socket, address) = (self.internet(libc::SOCK_STREAM)?, loopback(0));
                call(SYS_bind, [socket, address.as_ptr() as usize, address.len(), 0, 0, 0])
                    .map_err(|_| libc::EIO)?;
                call(SYS_listen, [socket, 1, 0, 0, 0, 0])
            }
            Call::ConnectUnix => {
                // A path longer than an address takes: nothing listens there either.
                if self.socket.len() > size_of::<libc::sockaddr_un>() {
                    return Err(-1);
                }
                let socket = self.socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
                let address = self.socket.as_ptr() as usize;
                call(SYS_connect, [socket, address, self.socket.len(), 0, 0, 0])
            }
            Call::RobustList => {
                let (mut head, mut len) = (0usize, 0usize);
                let places = [(&raw mut head) as usize, (&raw mut len) as usize];
                call(libc::SYS_get_robust_list, [parent, places[0], places[1], 0, 0, 0])
            }
            // SIGURG, which processes ignore by default.
            Call::Kill => call(SYS_kill, [parent, libc::SIGURG as usize, 0, 0, 0, 0]),
            Call::SetPriority => {
                // The system call gives 20 less the nice value.
                let process = libc::PRIO_PROCESS as usize;
                let kept = call(libc::SYS_getpriority, [process, parent, 0, 0, 0, 0])?;
                let nice = 20usize.wrapping_sub(kept);
                call(SYS_setpriority, [process, parent, nice, 0, 0, 0])
            }
            Call::SetAffinity => {
                let mut mask = [0u8; 1024];
                let (place, len) = (mask.as_mut_ptr() as usize, mask.len());
                let got = call(libc::SYS_sched_getaffinity, [parent, len, place, 0, 0, 0])?;
                call(libc::SYS_sched_setaffinity, [parent, got, place, 0, 0, 0])
            }
            Call::Bpf => {
                // `BPF_PROG_GET_NEXT_ID` of zero.
                let attributes = [0u32; 3];
                let (place, len) = (attributes.as_ptr() as usize, size_of_val(&attributes));
                call(libc::SYS_bpf, [11, place, len, 0, 0, 0])
            }
            Call::Mount => {
                // No mount's root, so there is nothing to make private.
                let private = libc::MS_PRIVATE as usize;
                call(libc::SYS_mount, [0, at(&self.folder), 0, private, 0, 0])
            }
            // No mount's root either; the capability is asked for first.
            Call::Unmount => call(SYS_umount2, [at(&self.folder), 0, 0, 0, 0, 0]),
            Call::Unshare => call(SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0, 0, 0, 0]),
            Call::Execute => {
                let (program, word) = (c"/proc/self/exe", CString::new(RAN));
                let word = word.map_err(|_| libc::EIO)?;
                let arguments = [program.as_ptr(), word.as_ptr(), std::ptr::null()];
                let nothing = [std::ptr::null::<libc::c_char>()];
                let places = [arguments.as_ptr() as usize, nothing.as_ptr() as usize];
                let program = program.as_ptr() as usize;
                call(libc::SYS_execve, [program, places[0], places[1], 0, 0, 0])
            }
        };
        made.map(drop)
    }

    fn open(&self, path: &CString, flags: i32) -> Result<usize> {
        let flags = (flags | libc::O_CLOEXEC) as usize;
        call(libc::SYS_openat, [HERE, at(path), flags, 0o600, 0, 0])
    }

    fn socket(&self, family: i32, kind: i32) -> Result<usize> {
        let kind = (kind | libc::SOCK_CLOEXEC) as usize;
        call(libc::SYS_socket, [family as usize, kind, 0, 0, 0, 0])
    }

    /// An IPv4 socket; if the kernel has none, the try is skipped.
    fn internet(&self, kind: i32) -> Result<usize> {
        match self.socket(libc::AF_INET, kind) {
            Err(libc::EAFNOSUPPORT) => Err(-1),
            made => made,
        }
    }

    /// Opens the forbidden file in a child, which must have inherited the tag.
    fn open_after_fork(&self) -> Result<usize> {
        // SAFETY: this process has one thread, and the child makes system calls only.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let errno = self.open(&self.forbidden, libc::O_RDONLY).err().unwrap_or(0);
            // SAFETY: `_exit` has no precondition. It runs none of the parent's exit handlers.
            unsafe { libc::_exit(errno.clamp(0, 255)) }
        }
        let mut status = 0;
        // SAFETY: the status outlives the call.
        if child < 0 || unsafe { libc::waitpid(child, &raw mut status, 0) } != child {
            return Err(libc::EIO);
        }
        match libc::WEXITSTATUS(status) {
            0 if libc::WIFEXITED(status) => Ok(0),
            0 => Err(libc::EIO),
            errno => Err(errno),
        }
    }
}
