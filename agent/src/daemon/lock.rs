//! One daemon at a time. A daemon locks the state directory itself, which also works where nothing can be written, and
//! a file in it with its process id. It also locks the pin directory: two daemons with different state directories must
//! not share the pinned programs and maps.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    iter,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon has locked the state directory.
    #[error("another remitd runs already{}", pid.map(|pid| format!(", process {pid}")).unwrap_or_default())]
    Taken {
        /// Its process id, if the file has it.
        pid: Option<u32>,
    },
    /// Another daemon has locked the pin directory.
    #[error(
        "another remitd has the pins in `{}`{}",
        path.display(),
        pid.map(|pid| format!(": process {pid}")).unwrap_or_default()
    )]
    Pinned {
        /// The directory.
        path: PathBuf,
        /// Its process id, if the kernel tells.
        pid: Option<u32>,
    },
    /// The system refused.
    #[error("can't lock `{}`: {source}", path.display())]
    System {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// A lock; released when it is dropped or the process exits.
#[derive(Debug)]
pub(super) struct Lock(
    #[expect(dead_code, reason = "open descriptors are the lock")] (File, Option<File>),
);

impl Lock {
    /// Takes the lock of a state directory.
    pub(super) fn take(state_dir: &Path) -> Result<Self, LockError> {
        let path = state_dir.join("lock");
        let failed = |source| LockError::System { path: state_dir.to_owned(), source };
        fs::create_dir_all(state_dir).map_err(failed)?;
        let dir = File::open(state_dir).map_err(failed)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(&path).ok();
        for held in iter::once(&dir).chain(&file) {
            match flock(held, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let pid = fs::read_to_string(&path).ok();
                    let pid = pid.and_then(|pid| pid.trim().parse().ok());
                    return Err(LockError::Taken { pid });
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
        let written = file.as_ref().map(|mut file| {
            file.set_len(0)?;
            writeln!(file, "{}", std::process::id())
        });
        if let Some(Err(error)) = written {
            tracing::warn!("can't write our process id to `{}`: {error}", path.display());
        }
        Ok(Self((dir, file)))
    }

    /// Takes the lock of a pin directory. It is on the directory itself, so it does not depend on the path.
    pub(super) fn take_pins(pin_dir: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::System { path: pin_dir.to_owned(), source };
        fs::create_dir_all(pin_dir).map_err(failed)?;
        let dir = File::open(pin_dir).map_err(failed)?;
        match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self((dir, None))),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let inode = dir.metadata().map_err(failed)?.ino();
                Err(LockError::Pinned { path: pin_dir.to_owned(), pid: holder(inode) })
            }
            Err(error) => Err(failed(error.into())),
        }
    }
}

/// The process that has locked an inode (proc(5), `/proc/locks`).
fn holder(inode: u64) -> Option<u32> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, file, ..] = words.as_slice() else { return None };
        let number: u64 = file.rsplit(':').next()?.parse().ok()?;
        (number == inode).then(|| pid.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_daemon_is_refused_until_the_first_ends() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::take(dir.path()).unwrap();
        let error = Lock::take(dir.path()).unwrap_err();
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        assert!(Lock::take(dir.path()).is_ok());
    }

    #[test]
    fn second_owner_of_the_pins_is_refused_with_the_first_one_s_process() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        let pins = dir.path().join("pins");
        std::os::unix::fs::symlink(&pins, &link).unwrap();
        let first = Lock::take_pins(&pins).unwrap();
        let error = Lock::take_pins(&link).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert!(Lock::take_pins(&link).is_ok());
    }
}
