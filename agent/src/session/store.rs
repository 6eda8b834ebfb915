//! The state directory: one file a session, and the tools' bits.
//!
//! Each file is written beside its place and moved into it, so that a reader finds the old or the
//! new one, never a part; also after a power cut, but for the sessions' own files: no session outlives one. What
//! did not change is not written: a directory that is full or read-only still serves.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Error, Id, Session};
use crate::policy::{self, Source, tools::ToolBits};

/// What a reload must find again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Numbers {
    /// The number of the last policy that was, or was to be, put in force.
    pub(super) generation: u32,
    /// Each tool's bit.
    pub(super) tools: ToolBits,
}

/// The file with the last policy that was in force.
const POLICY: &str = "policy.json";

/// A policy as it is kept.
#[derive(Serialize, Deserialize)]
struct KeptPolicy {
    /// SHA-256 over names and texts.
    digest: String,
    files: Vec<KeptFile>,
}

/// One file of it.
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
    /// Opens the directory, and makes it where it is missing.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let store = Self { dir: dir.to_owned() };
        store.lay_out()?;
        Ok(store)
    }

    /// The directory, as far as it is there.
    pub(super) fn as_is(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Makes what is missing of it.
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

    /// Reads the numbers; none are there before the first start.
    pub(super) fn numbers(&self) -> Result<Option<Numbers>, Error> {
        read(&self.dir.join("tools.json"))
    }

    /// Writes the numbers. Says whether they had to be written: what did not change is not.
    pub(super) fn write_numbers(&self, numbers: &Numbers) -> Result<bool, Error> {
        write(&self.dir.join("tools.json"), numbers, Lasting::PowerCuts)
    }

    /// Reads the last policy that was in force; none before the first.
    ///
    /// # Errors
    /// It can't be read, or is not whole.
    pub(super) fn policy(&self) -> Result<Option<Vec<Source>>, Error> {
        let path = self.dir.join(POLICY);
        let Some(KeptPolicy { digest, files }) = read::<KeptPolicy>(&path)? else {
            return Ok(None);
        };
        let sources: Vec<Source> = files.into_iter().map(Source::from).collect();
        if policy::source::digest(&sources) != digest {
            return Err(failed("read", &path, io::Error::other("its checksum is another")));
        }
        Ok(Some(sources))
    }

    /// Keeps a policy that is in force.
    pub(super) fn write_policy(&self, sources: &[Source]) -> Result<bool, Error> {
        let digest = policy::source::digest(sources);
        let files = sources.iter().cloned().map(KeptFile::from).collect();
        write(&self.dir.join(POLICY), &KeptPolicy { digest, files }, Lasting::PowerCuts)
    }

    /// Reads all sessions. A file that can't be understood is left alone and named in the log: its
    /// session is found in the kernel and ended there.
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

/// What a file has to outlast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    /// The daemon's end, in whatever way.
    Crashes,
    /// The host's as well.
    PowerCuts,
}

/// Writes a value, unless the file says just that.
fn write<T: Serialize>(path: &Path, value: &T, lasting: Lasting) -> Result<bool, Error> {
    let text = serde_json::to_vec(value).map_err(|error| failed("write", path, error.into()))?;
    if fs::read(path).is_ok_and(|before| before == text) {
        return Ok(false);
    }
    let fail = |source| failed("write", path, source);
    let beside = beside(path, &text, 0o600, lasting).map_err(fail)?;
    take_place(&beside, path).map_err(fail)?;
    if lasting == Lasting::PowerCuts {
        sync_folder(path).map_err(fail)?;
    }
    Ok(true)
}

/// Writes a file beside its place, and moves it into it. It is on the disk when this returns.
pub(super) fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    take_place(&beside(path, text, mode, Lasting::PowerCuts)?, path)?;
    sync_folder(path)
}

/// Where a file is written before it takes its place.
pub(super) fn place_beside(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    PathBuf::from(beside)
}

/// Writes a file beside its place, to the disk: a rename may get there before what the file says.
pub(super) fn prepare(path: &Path, text: &[u8], mode: u32) -> io::Result<PathBuf> {
    beside(path, text, mode, Lasting::PowerCuts)
}

fn beside(path: &Path, text: &[u8], mode: u32, lasting: Lasting) -> io::Result<PathBuf> {
    let beside = place_beside(path);
    let written = (|| {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        file.write_all(text)?;
        if lasting == Lasting::PowerCuts { file.sync_all() } else { Ok(()) }
    })();
    match written {
        Ok(()) => Ok(beside),
        Err(error) => {
            // The error that matters is the one at hand; what is left over is overwritten next time.
            let _ = fs::remove_file(&beside);
            Err(error)
        }
    }
}

/// Moves what was written beside a place into it.
fn take_place(beside: &Path, path: &Path) -> io::Result<()> {
    fs::rename(beside, path).inspect_err(|_| {
        let _ = fs::remove_file(beside);
    })
}

/// Has the disk keep the names of a file's folder.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_that_is_kept_is_the_whole_one_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.policy().unwrap(), None);
        let source = |name: &str, text: &str| Source { path: name.into(), text: text.into() };
        let sources = vec![source("/p/a.toml", "schema = 1\n"), source("/p/b.toml", "[[deny]]\n")];
        store.write_policy(&sources).unwrap();
        assert_eq!(store.policy().unwrap(), Some(sources));
        let path = dir.path().join(POLICY);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("[[deny]]", "")).unwrap();
        assert!(store.policy().unwrap_err().to_string().contains("checksum"));
    }

    #[test]
    fn file_that_says_the_same_is_not_written_again() {
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
