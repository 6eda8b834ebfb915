//! Any system call, by its name: `sys mount s=tmpfs s=/mnt s=tmpfs 0 0`.
//!
//! `sys` calls it as every program does, `sys32` by the 32-bit entry (`int 0x80`, with numbers of that
//! table), `sysx32` by the table of x32.

use std::{
    ffi::OsString,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use super::entry::{self, Low};
use crate::{
    Answer, State, Words, c,
    errno::Errno,
    file::kept,
    number,
    sys::{self, open, owned},
};

/// Tries an operation of this kind.
pub(super) fn run(state: &mut State, name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        ("sys", [call, arguments @ ..]) => {
            let number = by_name(call.to_str().unwrap_or_default());
            native(state, number, arguments)
        }
        ("sysx32", [call, arguments @ ..]) => {
            // `__X32_SYSCALL_BIT` (arch/x86/include/uapi/asm/unistd.h).
            let number = by_name(call.to_str().unwrap_or_default()) | 0x4000_0000;
            native(state, number, arguments)
        }
        ("sys32", [call, arguments @ ..]) => low(state, number(call), arguments),
        _ => return None,
    })
}

macro_rules! numbers {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name)),*] };
}

/// The calls that attacks make by name.
const NUMBERS: &[(&str, i64)] = numbers! {
    SYS_acct SYS_add_key SYS_adjtimex SYS_bind SYS_chmod SYS_chown SYS_chroot SYS_clock_settime
    SYS_connect SYS_delete_module SYS_fallocate SYS_fanotify_init SYS_fchmodat SYS_fchown SYS_fcntl
    SYS_fsetxattr SYS_get_robust_list SYS_getdents64 SYS_inotify_init1 SYS_ioctl SYS_ioperm SYS_iopl
    SYS_ioprio_set SYS_kcmp SYS_kexec_file_load SYS_kexec_load SYS_keyctl SYS_kill SYS_lchown SYS_link
    SYS_linkat SYS_lremovexattr SYS_migrate_pages SYS_mkdir SYS_mount SYS_mount_setattr SYS_msgctl
    SYS_msgget SYS_msgrcv SYS_msgsnd SYS_name_to_handle_at SYS_open SYS_openat SYS_perf_event_open
    SYS_personality SYS_pidfd_open SYS_pidfd_send_signal SYS_prctl SYS_prlimit64 SYS_process_madvise
    SYS_ptrace SYS_quotactl SYS_reboot SYS_removexattr SYS_rename SYS_request_key SYS_rt_sigqueueinfo
    SYS_rt_tgsigqueueinfo SYS_sched_setaffinity SYS_sched_setattr SYS_sched_setscheduler SYS_semctl
    SYS_semget SYS_semop SYS_setdomainname SYS_sethostname SYS_setns SYS_setpriority SYS_setsockopt
    SYS_settimeofday SYS_setxattr SYS_shmat SYS_shmctl SYS_shmget SYS_socket SYS_swapoff SYS_swapon
    SYS_symlink SYS_syslog SYS_tgkill SYS_tkill SYS_truncate SYS_umount2 SYS_unlink SYS_unlinkat
    SYS_unshare SYS_utimensat SYS_fchmod SYS_ftruncate SYS_mknod SYS_rmdir SYS_capset SYS_setuid
    SYS_userfaultfd SYS_move_pages SYS_execve SYS_process_vm_readv SYS_listen SYS_sendto
};

/// A number is itself: the calls that x32 has of its own have no name here.
fn by_name(name: &str) -> i64 {
    if let Ok(number) = name.parse() {
        return number;
    }
    let wanted = format!("SYS_{name}");
    let found = NUMBERS.iter().find(|(known, _)| *known == wanted);
    found.unwrap_or_else(|| panic!("`{name}` is not in the list of calls")).1
}

/// An argument: a number, or memory or a descriptor that lives until the call is over.
enum Argument {
    Number(i64),
    Bytes(Vec<u8>),
    Descriptor(OwnedFd),
}

/// `s=TEXT` a string, `x=HEX` bytes, `z=LENGTH` zeros; `r=PATH`, `w=PATH` and `p=PATH` an open file (to
/// read, to read and write, `O_PATH`), `k=KEY` a kept descriptor, `socket=FAMILY,TYPE,PROTOCOL`,
/// `pidfd=PID`; else a number.
fn argument(state: &mut State, word: &OsString) -> Result<Argument, Errno> {
    let bytes = word.as_bytes();
    let split = bytes.iter().position(|byte| *byte == b'=');
    let Some((kind, rest)) = split.map(|at| (&bytes[..at], &bytes[at + 1..])) else {
        return Ok(Argument::Number(signed(word)));
    };
    let path = std::ffi::OsStr::from_bytes(rest);
    let text = path.to_str().unwrap_or_default();
    Ok(match kind {
        b"s" => Argument::Bytes([rest, &[0]].concat()),
        b"z" => Argument::Bytes(vec![0; number(path) as usize]),
        b"x" => Argument::Bytes(hex(text)),
        b"r" => Argument::Descriptor(open(&c(path), libc::O_RDONLY)?),
        b"w" => Argument::Descriptor(open(&c(path), libc::O_RDWR)?),
        b"p" => Argument::Descriptor(open(&c(path), libc::O_PATH)?),
        b"k" => Argument::Number(kept(state, path).as_raw_fd().into()),
        b"socket" => {
            let numbers: Vec<i32> = text.split(',').filter_map(|part| part.parse().ok()).collect();
            let [family, kind, protocol] = numbers[..] else { panic!("no socket: {text}") };
            // SAFETY: the call takes numbers only.
            Argument::Descriptor(owned(unsafe { libc::socket(family, kind, protocol) })?)
        }
        b"pidfd" => {
            let pid = number(path) as usize;
            let fd = sys::raw(libc::SYS_pidfd_open, [pid, 0])?;
            Argument::Descriptor(owned(i32::try_from(fd).unwrap_or(-1))?)
        }
        _ => panic!("no such argument: {}", word.display()),
    })
}

fn signed(word: &OsString) -> i64 {
    let text = word.to_str().unwrap_or_default();
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("`{text}` is no number"))
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16);
    (0..text.len())
        .step_by(2)
        .map(|at| digit(at).unwrap_or_else(|_| panic!("`{text}` is not hexadecimal")))
        .collect()
}

fn arguments(state: &mut State, words: Words<'_>) -> Result<Vec<Argument>, Errno> {
    words.iter().map(|word| argument(state, word)).collect()
}

fn native(state: &mut State, number: i64, words: Words<'_>) -> Answer {
    let mut all = arguments(state, words)?;
    let mut values = [0; 6];
    for (value, argument) in values.iter_mut().zip(&mut all) {
        *value = match argument {
            Argument::Number(number) => *number as usize,
            Argument::Bytes(bytes) => bytes.as_mut_ptr() as usize,
            Argument::Descriptor(fd) => fd.as_raw_fd() as usize,
        };
    }
    sys::raw(number, values).map(|value| value.to_string())
}

/// The same by the 32-bit entry, with all memory below four gigabytes.
fn low(state: &mut State, number: u32, words: Words<'_>) -> Answer {
    let all = arguments(state, words)?;
    let mut memory = Low::new()?;
    let mut values = [0; 6];
    for (value, argument) in values.iter_mut().zip(&all) {
        *value = match argument {
            Argument::Number(number) => *number as u32,
            Argument::Bytes(bytes) => memory.keep(bytes),
            Argument::Descriptor(fd) => fd.as_raw_fd() as u32,
        };
    }
    entry::int80(number, values).map(|value| value.to_string())
}

/// Runs a program in a child by the 32-bit entry: an error is that of the call.
pub(crate) fn execute32(program: &std::ffi::OsStr) -> Answer {
    let mut memory = Low::new()?;
    let path = memory.keep(c(program).as_bytes_with_nul());
    // The list of arguments: the path, and the end.
    let list = [path.to_ne_bytes(), [0; 4]].concat();
    let list = memory.keep(&list);
    // SAFETY: this process has one thread, and the child only makes system calls.
    let pid = sys::done(unsafe { libc::fork() })?;
    if pid == 0 {
        // `__NR_execve` of the 32-bit table.
        let error = entry::int80(11, [path, list, 0, 0, 0, 0]).map_or_else(|error| error.0, |_| 0);
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(error) };
    }
    let status = sys::wait(i32::try_from(pid).unwrap_or_default())?;
    match libc::WEXITSTATUS(status) {
        0 => Ok(String::new()),
        error => Err(Errno(error)),
    }
}
