//! The policy's folder: reading it whole, and putting pushed files into it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Actor, Error, Sessions, registry::Installed, store::replace, witness::Act};
use crate::policy::{self, Policy, Source};

/// A file that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its name in the policy's folder.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// The policy's folder, and the registry that its policy goes to. One change at a time.
#[derive(Clone)]
pub struct PolicyDir {
    dir: Arc<PathBuf>,
    sessions: Sessions,
    gate: Arc<Mutex<()>>,
}

impl PolicyDir {
    /// The folder whose policy the registry has.
    pub fn new(dir: &Path, sessions: Sessions) -> Self {
        Self { dir: Arc::new(dir.to_owned()), sessions, gate: Arc::new(Mutex::new(())) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Reads the folder and puts its policy in force, or only says what that would change.
    ///
    /// # Errors
    /// The policy can't be read, has errors or does not fit. Nothing was changed then.
    pub fn reload(&self, dry_run: bool, by: &Actor) -> Result<(Installed, Policy), Error> {
        let _one = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = checked(&policy::read(&self.dir)?)?;
        self.install(policy, dry_run, Act::Reload, by)
    }

    /// Puts files into the folder, and the policy of the whole folder in force.
    ///
    /// # Errors
    /// A name is no file's, the whole policy has errors or does not fit, or the folder can't be
    /// written. The folder and the policy in force are what they were then.
    pub fn push(
        &self,
        files: &[Pushed],
        dry_run: bool,
        by: &Actor,
    ) -> Result<(Installed, Policy), Error> {
        let _one = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let policy = checked(&self.merged(files)?)?;
        if dry_run {
            return self.install(policy, true, Act::Push, by);
        }
        self.sessions.lock().try_install(&policy, by)?;
        let mut before = Vec::new();
        let pushed = files.iter().try_for_each(|file| {
            let path = self.dir.join(&file.name);
            before.push((path.clone(), content(&path)?));
            replace(&path, file.text.as_bytes(), 0o644).map_err(|source| Error::Store {
                action: "write",
                path,
                source,
            })
        });
        let done = pushed.and_then(|()| self.install(policy, false, Act::Push, by));
        if done.is_err() {
            for (path, text) in before {
                let restored = match text {
                    Some(text) => replace(&path, &text, 0o644),
                    None => fs::remove_file(&path),
                };
                if let Err(error) = restored
                    && error.kind() != io::ErrorKind::NotFound
                {
                    tracing::error!("can't restore `{}`: {error}", path.display());
                }
            }
        }
        done
    }

    /// The folder's files with some of them replaced or added, in name order.
    ///
    /// # Errors
    /// A name is no file's, or the folder can't be read.
    pub fn merged(&self, files: &[Pushed]) -> Result<Vec<Source>, Error> {
        let mut sources = policy::read(&self.dir)?;
        for file in files {
            if !is_file_name(&file.name) {
                return Err(Error::BadFile { name: file.name.clone() });
            }
            let path = self.dir.join(&file.name);
            sources.retain(|source| source.path != path);
            sources.push(Source { path, text: file.text.clone() });
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(sources)
    }

    fn install(
        &self,
        policy: Policy,
        dry_run: bool,
        act: Act,
        by: &Actor,
    ) -> Result<(Installed, Policy), Error> {
        let mut registry = self.sessions.lock();
        let installed = if dry_run {
            registry.try_install(&policy, by)?
        } else {
            registry.install(policy.clone(), act, by)?
        };
        drop(registry);
        // The policy is in force whatever is left, which is in the daemon's log.
        let _ = self.sessions.settle_losses();
        Ok((installed, policy))
    }
}

/// Checks a policy whole.
///
/// # Errors
/// All that is wrong with it.
pub fn checked(sources: &[Source]) -> Result<Policy, Error> {
    policy::check(sources).map_err(Error::Policy)
}

fn content(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Store { action: "read", path: path.to_owned(), source }),
    }
}

fn is_file_name(name: &str) -> bool {
    name.len() <= 200
        && name.ends_with(".toml")
        && name.len() > ".toml".len()
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}
