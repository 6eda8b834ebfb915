//! What processes share without a file: System V IPC, POSIX message queues, keyrings.

use std::ffi::OsStr;

use crate::{
    Answer, Words, c,
    errno::Errno,
    file::nothing,
    number,
    sys::{done, owned, raw},
};

/// Tries an operation of this kind.
pub(super) fn run(name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        ("queue-make", [name]) => queue(name, libc::O_RDWR | libc::O_CREAT),
        ("queue-open", [name]) => queue(name, libc::O_RDWR),
        ("queue-remove", [name]) => {
            let name = c(name);
            raw(libc::SYS_mq_unlink, [name.as_ptr() as usize]).map(nothing)
        }
        // A key in the user's keyring.
        ("key-add", [name, keyring]) => key_add(name, keyring),
        ("key-read", [name]) => key_read(name),
        _ => return system_v(name, words),
    })
}

/// `KIND-OPERATION`, such as `shm-make`.
fn system_v(name: &str, words: Words<'_>) -> Option<Answer> {
    let (kind, operation) = name.split_once('-')?;
    let kind = match kind {
        "shm" => Kind::Memory,
        "msg" => Kind::Queue,
        "sem" => Kind::Semaphore,
        _ => return None,
    };
    Some(match (operation, words) {
        // Makes one that everybody may use, under a key: its number.
        ("make", [key]) => kind.get(number(key) as usize, CREATE).map(|made| made.to_string()),
        ("use" | "send", [key]) => kind.find(key).and_then(|found| kind.work(found)),
        ("take", [key]) if matches!(kind, Kind::Queue) => kind.find(key).and_then(take),
        ("remove", [key]) => kind.find(key).and_then(|found| kind.remove(found)),
        // So many that everybody may use: their numbers.
        ("make-many", [count]) => make_many(kind, count).map(|made| {
            let made: Vec<String> = made.iter().map(ToString::to_string).collect();
            made.join(" ")
        }),
        // Makes so many, then uses and removes each.
        ("come-and-go", [count]) => make_many(kind, count)
            .and_then(|made| each(&made, |one| kind.work(one).and_then(|_| kind.remove(one)))),
        // Uses the first of these numbers that it may use.
        ("use-any", numbers) => any(&listed(numbers), |one| kind.work(one)),
        ("remove-all", numbers) => each(&listed(numbers), |one| kind.remove(one)),
        _ => return None,
    })
}

/// `IPC_CREAT` and the mode 0666.
const CREATE: usize = 0o1666;

/// A kind of System V object.
#[derive(Clone, Copy)]
enum Kind {
    Memory,
    Queue,
    Semaphore,
}

impl Kind {
    fn get(self, key: usize, flags: usize) -> Result<usize, Errno> {
        let found = match self {
            Self::Memory => raw(libc::SYS_shmget, [key, 4096, flags]),
            Self::Queue => raw(libc::SYS_msgget, [key, flags]),
            Self::Semaphore => raw(libc::SYS_semget, [key, 1, flags]),
        };
        found.map(|found| found as usize)
    }

    fn find(self, key: &OsStr) -> Result<usize, Errno> {
        self.get(number(key) as usize, 0)
    }

    /// Attaches memory, sends to a queue, raises a semaphore.
    fn work(self, object: usize) -> Answer {
        match self {
            Self::Memory => {
                let place = raw(libc::SYS_shmat, [object, 0, 0])?;
                raw(libc::SYS_shmdt, [place as usize])
            }
            Self::Queue => {
                // `struct msgbuf`: the type, then the text.
                let message = [1u64, 0];
                let at = message.as_ptr() as usize;
                raw(libc::SYS_msgsnd, [object, at, 8, libc::IPC_NOWAIT as usize])
            }
            Self::Semaphore => {
                // `struct sembuf`: which, by how much, flags.
                let operation = [0i16, 1, 0];
                raw(libc::SYS_semop, [object, operation.as_ptr() as usize, 1])
            }
        }
        .map(nothing)
    }

    fn remove(self, object: usize) -> Answer {
        let command = libc::IPC_RMID as usize;
        match self {
            Self::Memory => raw(libc::SYS_shmctl, [object, command, 0]),
            Self::Queue => raw(libc::SYS_msgctl, [object, command, 0]),
            Self::Semaphore => raw(libc::SYS_semctl, [object, 0, command]),
        }
        .map(nothing)
    }
}

/// Takes a message from a queue.
fn take(queue: usize) -> Answer {
    let mut message = [0u64, 0];
    let at = message.as_mut_ptr() as usize;
    raw(libc::SYS_msgrcv, [queue, at, 8, 0, libc::IPC_NOWAIT as usize]).map(nothing)
}

/// So many of a kind, under no key.
fn make_many(kind: Kind, count: &OsStr) -> Result<Vec<usize>, Errno> {
    (0..number(count)).map(|_| kind.get(libc::IPC_PRIVATE as usize, CREATE)).collect()
}

fn listed(numbers: Words<'_>) -> Vec<usize> {
    numbers.iter().map(|word| number(word) as usize).collect()
}

/// The act on each, until it fails with one.
fn each(objects: &[usize], act: impl Fn(usize) -> Answer) -> Answer {
    objects.iter().try_for_each(|object| act(*object).map(drop)).map(nothing)
}

/// The act on one after another, until it succeeds with one; else the last one's error.
fn any(objects: &[usize], act: impl Fn(usize) -> Answer) -> Answer {
    let mut answer = Err(Errno(libc::ENOENT));
    for object in objects {
        answer = act(*object);
        if answer.is_ok() {
            break;
        }
    }
    answer
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
