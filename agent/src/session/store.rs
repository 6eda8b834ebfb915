//! The state directory: one file a session, and the tools' bits.
//!
//! Each file is written beside its place and moved into it, so that a reader finds the old or the
//! new one, never a part.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Error, Id, Session};
use crate::policy::tools::ToolBits;

/// What a reload must find again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Numbers {
    /// The number of the last policy that was, or was to be, put in force.
    pub(super) generation: u32,
    /// Each tool's bit.
    pub(super) tools: ToolBits,
}

/// The state directory.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens the directory, and makes it where it is missing.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let sessions = dir.join("sessions");
        let store = Self { dir: dir.to_owned() };
        fs::create_dir_all(&sessions).map_err(|source| failed("make", &sessions, source))?;
        for dir in [dir, &sessions] {
            fs::set_permissions(dir, Permissions::from_mode(0o700))
                .map_err(|source| failed("protect", dir, source))?;
        }
        Ok(store)
    }

    /// Reads the numbers; none are there before the first start.
    pub(super) fn numbers(&self) -> Result<Option<Numbers>, Error> {
        read(&self.dir.join("tools.json"))
    }

    /// Writes the numbers.
    pub(super) fn write_numbers(&self, numbers: &Numbers) -> Result<(), Error> {
        write(&self.dir.join("tools.json"), numbers)
    }

    /// Reads all sessions. A file that can't be understood is left alone and named in the log: its
    /// session is found in the kernel and ended there.
    pub(super) fn sessions(&self) -> Result<Vec<Session>, Error> {
        let dir = self.dir.join("sessions");
        let list = |source| failed("list", &dir, source);
        let mut sessions = Vec::new();
        for entry in fs::read_dir(&dir).map_err(list)? {
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
    pub(super) fn write_session(&self, session: &Session) -> Result<(), Error> {
        write(&self.path(session.id), session)
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

fn write<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text = serde_json::to_vec(value).map_err(|error| failed("write", path, error.into()))?;
    replace(path, &text, 0o600).map_err(|source| failed("write", path, source))
}

/// Writes a file beside its place, and moves it into it.
pub(super) fn replace(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        file.write_all(text)?;
        drop(file);
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        // The error that matters is the one at hand; what is left over is overwritten next time.
        let _ = fs::remove_file(&beside);
    }
    written
}
