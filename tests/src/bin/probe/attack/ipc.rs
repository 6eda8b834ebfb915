//! What processes share without a file: System V IPC, POSIX message queues, keyrings.

use std::ffi::OsStr;

use crate::{
    Answer, Words, c,
    file::nothing,
    number,
    sys::{done, owned, raw},
};

/// Tries an operation of this kind.
pub(super) fn run(name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        // Makes one that everybody may use, under a key: its number.
        ("shm-make", [key]) => get(libc::SYS_shmget, &[number(key) as usize, 4096, CREATE]),
        ("msg-make", [key]) => get(libc::SYS_msgget, &[number(key) as usize, CREATE]),
        ("sem-make", [key]) => get(libc::SYS_semget, &[number(key) as usize, 1, CREATE]),
        ("shm-use", [key]) => raw(libc::SYS_shmget, [number(key) as usize, 0, 0])
            .and_then(|found| raw(libc::SYS_shmat, [found as usize, 0, 0]))
            .map(nothing),
        ("shm-remove", [key]) => raw(libc::SYS_shmget, [number(key) as usize, 0, 0])
            .and_then(|found| raw(libc::SYS_shmctl, [found as usize, libc::IPC_RMID as usize, 0]))
            .map(nothing),
        ("msg-send", [key]) => msg_send(key),
        ("msg-take", [key]) => msg_take(key),
        ("sem-use", [key]) => sem_use(key),
        ("queue-make", [name]) => queue(name, libc::O_RDWR | libc::O_CREAT),
        ("queue-open", [name]) => queue(name, libc::O_RDWR),
        // A key in the user's keyring.
        ("key-add", [name, keyring]) => key_add(name, keyring),
        ("key-read", [name]) => key_read(name),
        _ => return None,
    })
}

/// `IPC_CREAT` and the mode 0666.
const CREATE: usize = 0o1666;

fn get(call: i64, arguments: &[usize]) -> Answer {
    let mut all = [0; 3];
    all[..arguments.len()].copy_from_slice(arguments);
    raw(call, all).map(|found| found.to_string())
}

/// `struct msgbuf`: the type, then the text.
fn msg_send(key: &OsStr) -> Answer {
    let queue = raw(libc::SYS_msgget, [number(key) as usize, 0])?;
    let message = [1u64, 0];
    let at = message.as_ptr() as usize;
    raw(libc::SYS_msgsnd, [queue as usize, at, 8, libc::IPC_NOWAIT as usize]).map(nothing)
}

fn msg_take(key: &OsStr) -> Answer {
    let queue = raw(libc::SYS_msgget, [number(key) as usize, 0])?;
    let mut message = [0u64, 0];
    let at = message.as_mut_ptr() as usize;
    raw(libc::SYS_msgrcv, [queue as usize, at, 8, 0, libc::IPC_NOWAIT as usize]).map(nothing)
}

fn sem_use(key: &OsStr) -> Answer {
    let found = raw(libc::SYS_semget, [number(key) as usize, 0, 0])?;
    // `struct sembuf`: which, by how much, flags.
    let operation = [0i16, 1, 0];
    raw(libc::SYS_semop, [found as usize, operation.as_ptr() as usize, 1]).map(nothing)
}

fn queue(name: &OsStr, flags: i32) -> Answer {
    // The system call takes the name without its slash.
    let name = c(name);
    // SAFETY: the name is a C string; a null pointer asks for the default sizes.
    let fd = unsafe {
        libc::syscall(libc::SYS_mq_open, name.as_ptr(), flags | libc::O_CLOEXEC, 0o666, 0)
    };
    owned(i32::try_from(done(fd)?).unwrap_or(-1)).map(nothing)
}

/// `KEY_SPEC_USER_KEYRING` and `KEY_SPEC_PROCESS_KEYRING` (include/uapi/linux/keyctl.h).
fn keyring(word: &OsStr) -> usize {
    let number: isize = if word == "user" { -4 } else { -2 };
    number as usize
}

fn key_add(name: &OsStr, word: &OsStr) -> Answer {
    let (name, text) = (c(name), b"secret");
    let (kind, name) = (c"user".as_ptr() as usize, name.as_ptr() as usize);
    let at = text.as_ptr() as usize;
    raw(libc::SYS_add_key, [kind, name, at, text.len(), keyring(word)]).map(nothing)
}

/// Looks for a key in the user's keyring and reads it.
fn key_read(name: &OsStr) -> Answer {
    let name = c(name);
    let (kind, name) = (c"user".as_ptr() as usize, name.as_ptr() as usize);
    // `KEYCTL_SEARCH` and `KEYCTL_READ`.
    let key = raw(libc::SYS_keyctl, [10, keyring("user".as_ref()), kind, name, 0])?;
    let mut text = [0u8; 16];
    let at = text.as_mut_ptr() as usize;
    raw(libc::SYS_keyctl, [11, key as usize, at, text.len()]).map(nothing)
}
