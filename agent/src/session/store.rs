//! The state directory: one file a session, and the tools' bits.
//!
//! Each file is written under a temporary name and renamed, so that a reader finds the old or the new one, never a
//! part. That holds after a power cut too, except for sessions' files: no session survives one. A file that would not
//! change is not written, so a directory that is full or read-only still serves.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Error, Id, Session};
use crate::policy::{self, Files, Source, tools::ToolBits};

/// The numbers that outlive a reload and a restart.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Numbers {
    /// The generation of the last policy that was put in force, or that was about to be.
    pub(super) generation: u32,
    /// Each tool's bit.
    pub(super) tools: ToolBits,
}

/// The file with the last policy that was in force.
const POLICY: &str = "policy.json";

/// The last good policy, as it is stored.
#[derive(Serialize, Deserialize)]
struct KeptPolicy {
    /// SHA-256 of the names and texts.
    digest: String,
    files: Vec<KeptFile>,
    /// What they took by `use`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shipped: Vec<KeptFile>,
}

/// One of its files.
#[derive(Serialize, Deserialize)]
struct KeptFile {
    path: PathBuf,
    text: String,
}

impl From<Source> for KeptFile {
    fn from(source: Source) -> Self {
        Self { path: source.path, text: source.text }
    }
}

impl From<KeptFile> for Source {
    fn from(file: KeptFile) -> Self {
        Self { path: file.path, text: file.text }
    }
}

/// The state directory.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens the directory, which is made if it does not exist.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let store = Self { dir: dir.to_owned() };
        store.lay_out()?;
        Ok(store)
    }

    /// The directory as it is, without making anything.
    pub(super) fn as_is(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Makes the folders that are missing.
    fn lay_out(&self) -> Result<(), Error> {
        let sessions = self.dir.join("sessions");
        fs::create_dir_all(&sessions).map_err(|source| failed("make", &sessions, source))?;
        for dir in [&self.dir, &sessions] {
            let metadata = fs::metadata(dir).map_err(|source| failed("read", dir, source))?;
            if metadata.permissions().mode() & 0o7777 != 0o700 {
                fs::set_permissions(dir, Permissions::from_mode(0o700))
                    .map_err(|source| failed("protect", dir, source))?;
            }
        }
        Ok(())
    }

    /// Reads the numbers; `None` before the first start.
    pub(super) fn numbers(&self) -> Result<Option<Numbers>, Error> {
        read(&self.dir.join("tools.json"))
    }

    /// Writes the numbers, if they changed. Returns whether they did.
    pub(super) fn write_numbers(&self, numbers: &Numbers) -> Result<bool, Error> {
        write(&self.dir.join("tools.json"), numbers, Lasting::PowerCuts)
    }

    /// Reads the last good policy; `None` before the first.
    ///
    /// # Errors
    /// It can't be read, or its hash is wrong.
    pub(super) fn policy(&self) -> Result<Option<Files>, Error> {
        let path = self.dir.join(POLICY);
        let Some(KeptPolicy { digest, files, shipped }) = read::<KeptPolicy>(&path)? else {
            return Ok(None);
        };
        let sources = |files: Vec<KeptFile>| files.into_iter().map(Source::from).collect();
        let files = Files { shipped: sources(shipped), ..Files::from(sources(files)) };
        if policy::source::digest(files.iter()) != digest {
            return Err(failed("read", &path, io::Error::other("its checksum is another")));
        }
        Ok(Some(files))
    }

    /// Stores a policy that is in force.
    pub(super) fn write_policy(&self, files: &Files) -> Result<bool, Error> {
        let digest = policy::source::digest(files.iter());
        let kept = |sources: &[Source]| sources.iter().cloned().map(KeptFile::from).collect();
        let policy = KeptPolicy { digest, files: kept(&files.own), shipped: kept(&files.shipped) };
        write(&self.dir.join(POLICY), &policy, Lasting::PowerCuts)
    }

    /// Reads all sessions. A file that can't be parsed is left alone and logged: its session is then ended by the
    /// kernel's entry.
    pub(super) fn sessions(&self) -> Result<Vec<Session>, Error> {
        let dir = self.dir.join("sessions");
        let list = |source| failed("list", &dir, source);
        let mut sessions = Vec::new();
        let entries = match fs::read_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(sessions),
            entries => entries.map_err(list)?,
        };
        for entry in entries {
            let path = entry.map_err(list)?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read::<Session>(&path) {
                Ok(Some(session)) => sessions.push(session),
                Ok(None) => {}
                Err(error) => tracing::error!("{error}; the session is not taken over"),
            }
        }
        sessions.sort_by_key(|session| session.id);
        Ok(sessions)
    }

    /// Writes a session.
    pub(super) fn write_session(&self, session: &Session) -> Result<bool, Error> {
        write(&self.path(session.id), session, Lasting::Crashes)
    }

    /// Removes a session's file.
    pub(super) fn remove_session(&self, id: Id) -> Result<(), Error> {
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path, source))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, id: Id) -> PathBuf {
        self.dir.join("sessions").join(format!("{id}.json"))
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Store { action, path: path.to_owned(), source }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("read", path, source)),
    };
    serde_json::from_slice(&text).map(Some).map_err(|error| failed("read", path, error.into()))
}

/// What a written file has to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    /// The end of the daemon.
    Crashes,
    /// A power cut too.
    PowerCuts,
}

/// Writes a value, unless the file has it already. Returns whether it was written.
fn write<T: Serialize>(path: &Path, value: &T, lasting: Lasting) -> Result<bool, Error> {
    let text = serde_json::to_vec(value).map_err(|error| failed("write", path, error.into()))?;
    if fs::read(path).is_ok_and(|before| before == text) {
        return Ok(false);
    }
    let fail = |source| failed("write", path, source);
    let temporary = write_temporary(path, &text, 0o600, lasting).map_err(fail)?;
    take_place(&temporary, path).map_err(fail)?;
    if lasting == Lasting::PowerCuts {
        sync_folder(path).map_err(fail)?;
    }
    Ok(true)
}

/// Writes a file under a temporary name, and renames it. It is on the disk when this returns.
pub(super) fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    take_place(&write_temporary(path, text, mode, Lasting::PowerCuts)?, path)?;
    sync_folder(path)
}

/// The temporary name of a file.
pub(super) fn temporary_name(path: &Path) -> PathBuf {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    PathBuf::from(temporary)
}

/// Writes a file under its temporary name, to the disk: a rename could otherwise reach the disk before the content
/// does.
pub(super) fn prepare(path: &Path, text: &[u8], mode: u32) -> io::Result<PathBuf> {
    write_temporary(path, text, mode, Lasting::PowerCuts)
}

fn write_temporary(path: &Path, text: &[u8], mode: u32, lasting: Lasting) -> io::Result<PathBuf> {
    let temporary = temporary_name(path);
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(text)?;
        if lasting == Lasting::PowerCuts { file.sync_all() } else { Ok(()) }
    })();
    match written {
        Ok(()) => Ok(temporary),
        Err(error) => {
            // The first error is reported. A file that is left over is overwritten next time.
            let _ = fs::remove_file(&temporary);
            Err(error)
        }
    }
}

/// Renames a file from its temporary name.
fn take_place(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path).inspect_err(|_| {
        let _ = fs::remove_file(temporary);
    })
}

/// Syncs the folder of a file, so that a rename in it is on the disk.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_policy_that_is_damaged_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.policy().unwrap(), None);
        let source = |name: &str, text: &str| Source { path: name.into(), text: text.into() };
        let own = vec![source("/p/a.toml", "schema = 1\n"), source("/p/b.toml", "[[deny]]\n")];
        let shipped = vec![source("/s/git.toml", "schema = 1\n")];
        let files = Files { shipped, ..Files::from(own) };
        store.write_policy(&files).unwrap();
        assert_eq!(store.policy().unwrap(), Some(files));
        let path = dir.path().join(POLICY);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("[[deny]]", "")).unwrap();
        assert!(store.policy().unwrap_err().to_string().contains("checksum"));
    }

    #[test]
    fn unchanged_file_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let written = || fs::metadata(&path).unwrap().modified().unwrap();
        write(&path, &[1, 2], Lasting::PowerCuts).unwrap();
        File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        write(&path, &[1, 2], Lasting::PowerCuts).unwrap();
        assert_eq!(written(), std::time::UNIX_EPOCH);
        write(&path, &[1, 3], Lasting::PowerCuts).unwrap();
        assert_ne!(written(), std::time::UNIX_EPOCH);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
