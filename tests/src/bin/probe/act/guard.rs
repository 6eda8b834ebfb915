//! Acts that no session may do, or only on its own processes.

use std::{
    fs,
    io::{self, Read as _},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::atomic::AtomicU64,
};

use super::{
    Outcome,
    call::{self, number, text},
};

/// What a process that reads our memory finds.
static MARK: AtomicU64 = AtomicU64::new(u64::from_ne_bytes(*b"the-mark"));

/// Does the act, if it is one of these.
pub(super) fn act(words: &[&str]) -> Option<Outcome> {
    let outcome = match words {
        // A child that only waits: its id, and where its mark is.
        ["child"] => child(),
        ["trace", pid] => call(libc::SYS_ptrace, [libc::PTRACE_SEIZE as usize, number(pid), 0, 0]),
        ["traced-child"] => traced_child(false),
        ["traced-orphan"] => traced_child(true),
        ["memory-read", pid, at] => memory(libc::SYS_process_vm_readv, number(pid), number(at)),
        ["memory-write", pid, at] => memory(libc::SYS_process_vm_writev, number(pid), number(at)),
        ["take-fd", pid, fd] => pidfd(number(pid)).and_then(|process| {
            let process = process.as_raw_fd() as usize;
            call::open(libc::SYS_pidfd_getfd, [process, number(fd), 0]).map(|_| String::new())
        }),
        ["signal", pid, signal] => call(libc::SYS_kill, [number(pid), number(signal)]),
        ["pidfd-signal", pid, signal] => pidfd(number(pid)).and_then(|process| {
            call(libc::SYS_pidfd_send_signal, [process.as_raw_fd() as usize, number(signal), 0, 0])
        }),
        ["join", pid, "mount"] => pidfd(number(pid)).and_then(|process| {
            call(libc::SYS_setns, [process.as_raw_fd() as usize, libc::CLONE_NEWNS as usize])
        }),
        ["unshare", "user"] => call(libc::SYS_unshare, [libc::CLONE_NEWUSER as usize]),
        ["unshare", "mount"] => call(libc::SYS_unshare, [libc::CLONE_NEWNS as usize]),
        ["hostname", name] => call(libc::SYS_sethostname, [name.as_ptr() as usize, name.len()]),
        ["device", path] => {
            let (path, mode) = (text(path), (libc::S_IFCHR | 0o600) as usize);
            let device = libc::makedev(1, 3) as usize;
            call(libc::SYS_mknodat, [cwd(), path.as_ptr() as usize, mode, device])
        }
        ["perf"] => perf(),
        ["module", path] => fs::File::open(path).and_then(|file| {
            let parameters = [0u8];
            let (fd, at) = (file.as_raw_fd() as usize, parameters.as_ptr() as usize);
            call(libc::SYS_finit_module, [fd, at, 0])
        }),
        ["module-image"] => {
            let (image, parameters) = ([0u8; 64], [0u8]);
            let at = image.as_ptr() as usize;
            call(libc::SYS_init_module, [at, image.len(), parameters.as_ptr() as usize])
        }
        _ => return mounts(words).or_else(|| bpf(words)),
    };
    Some(outcome)
}

/// A child asks to be traced by its parent: this process, or, where it is an orphan, whoever took it over.
fn traced_child(is_orphan: bool) -> Outcome {
    let (mut result, sender) = io::pipe()?;
    // SAFETY: the children only call the kernel, and write a number.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            let parent = libc::getpid();
            if is_orphan && libc::fork() > 0 {
                libc::_exit(0);
            }
            while is_orphan && libc::getppid() == parent {
                libc::usleep(1000);
            }
            let failed = libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) != 0;
            let error = if failed { *libc::__errno_location() } else { 0 };
            libc::write(sender.as_raw_fd(), (&raw const error).cast(), 4);
            libc::_exit(0);
        }
        libc::waitpid(child, std::ptr::null_mut(), 0);
    }
    drop(sender);
    let mut error = [0; 4];
    result.read_exact(&mut error)?;
    match i32::from_ne_bytes(error) {
        0 => Ok(String::new()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// Acts on mounts.
fn mounts(words: &[&str]) -> Option<Outcome> {
    let texts: Vec<Vec<u8>> = words.iter().map(|word| text(word)).collect();
    let at = |index: usize| texts[index].as_ptr() as usize;
    Some(match words {
        ["mount-tmpfs", _] => {
            let kind = text("tmpfs");
            let kind = kind.as_ptr() as usize;
            call(libc::SYS_mount, [kind, at(1), kind, 0, 0])
        }
        ["mount-bind", _, _] => call(libc::SYS_mount, [at(1), at(2), 0, libc::MS_BIND as usize, 0]),
        ["umount", _] => call(libc::SYS_umount2, [at(1), libc::MNT_DETACH as usize]),
        ["pivot-root", _, _] => call(libc::SYS_pivot_root, [at(1), at(2)]),
        ["tree-clone", _] => clone_tree(at(1)).map(|_| String::new()),
        ["mount-move", _, _] => {
            let none = text("");
            call::open(libc::SYS_open_tree, [cwd(), at(1), 0]).and_then(|tree| {
                let tree = tree.as_raw_fd() as usize;
                // MOVE_MOUNT_F_EMPTY_PATH
                call(libc::SYS_move_mount, [tree, none.as_ptr() as usize, cwd(), at(2), 4])
            })
        }
        ["fsopen", _] => call::open(libc::SYS_fsopen, [at(1), 0]).map(|_| String::new()),
        _ => return None,
    })
}

fn clone_tree(path: usize) -> io::Result<OwnedFd> {
    // OPEN_TREE_CLONE
    call::open(libc::SYS_open_tree, [cwd(), path, 1])
}

/// Uses of the `bpf` system call.
fn bpf(words: &[&str]) -> Option<Outcome> {
    let mut attributes = [0u8; 128];
    let at = (&raw mut attributes) as usize;
    let mut set = |offset: usize, value: &[u8]| {
        attributes[offset..offset + value.len()].copy_from_slice(value);
    };
    Some(match words {
        // An array of one element.
        ["bpf", "map"] => {
            for (offset, value) in [(0, 2u32), (4, 4), (8, 4), (12, 1)] {
                set(offset, &value.to_ne_bytes());
            }
            call::open(libc::SYS_bpf, [0, at, 128]).map(|_| String::new())
        }
        ["bpf", "next-program"] => call(libc::SYS_bpf, [11, at, 128]),
        ["bpf", "open-pin", path] => {
            let path = text(path);
            set(0, &(path.as_ptr() as u64).to_ne_bytes());
            call::open(libc::SYS_bpf, [7, at, 128]).map(|_| String::new())
        }
        _ => return None,
    })
}

fn call<const N: usize>(number: i64, arguments: [usize; N]) -> Outcome {
    call::call(number, arguments).map(|done| done.to_string())
}

/// `AT_FDCWD` as an argument.
fn cwd() -> usize {
    libc::AT_FDCWD as isize as usize
}

fn pidfd(pid: usize) -> io::Result<OwnedFd> {
    call::open(libc::SYS_pidfd_open, [pid, 0])
}

fn child() -> Outcome {
    // SAFETY: the child touches nothing of ours; it waits until it is killed.
    match unsafe { libc::fork() } {
        0 => loop {
            // SAFETY: it takes and changes nothing.
            unsafe { libc::pause() };
        },
        pid if pid > 0 => Ok(format!("{pid} {}", MARK.as_ptr() as usize)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reads or writes another process's memory, its own mark's eight bytes.
fn memory(number: i64, pid: usize, at: usize) -> Outcome {
    let mut bytes = [0u8; 8];
    let here = [(&raw mut bytes) as usize, bytes.len()];
    let there = [at, bytes.len()];
    let (here, there) = ((&raw const here) as usize, (&raw const there) as usize);
    call::call(number, [pid, here, 1, there, 1, 0])?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn perf() -> Outcome {
    // `struct perf_event_attr`: PERF_TYPE_SOFTWARE, its size (version 0), PERF_COUNT_SW_CPU_CLOCK.
    let mut attributes = [0u8; 64];
    attributes[0] = 1;
    attributes[4] = 64;
    let at = (&raw const attributes) as usize;
    let any = usize::MAX;
    call::open(libc::SYS_perf_event_open, [at, 0, any, any, 0]).map(|_| String::new())
}
