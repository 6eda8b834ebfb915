//! The policy's folder: installs its policy, and writes pushed files into it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    Actor, Error, Sessions,
    acts::Act,
    losses,
    registry::Installed,
    store::{self, replace, sync_folder, temporary_name},
};
use crate::{
    policy::{self, Files, Policy},
    troubles::Trouble,
};

/// A file that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its name in the policy's folder.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// The policy's folder, and the registry that its policy is installed in. One change at a time.
#[derive(Clone)]
pub struct PolicyDir {
    dir: Arc<PathBuf>,
    shipped: Arc<PathBuf>,
    sessions: Sessions,
    changing: Arc<Mutex<()>>,
}

impl PolicyDir {
    /// The folder of a registry's policy, and the one that `use` takes from.
    pub fn new(dir: &Path, shipped: &Path, sessions: Sessions) -> Self {
        let (dir, shipped) = (Arc::new(dir.to_owned()), Arc::new(shipped.to_owned()));
        Self { dir, shipped, sessions, changing: Arc::new(Mutex::new(())) }
    }

    /// Waits for its turn to change the folder. After a panic in the middle of a change the folder may be half changed:
    /// then the process ends, and the next daemon repairs it ([`finish_push`]).
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(|_| {
            tracing::error!(
                "a panic left the policy's folder half changed: the daemon ends, enforcement stays"
            );
            std::process::abort()
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// Reads the folder and puts its policy in force, or with `dry_run` only returns what that would change.
    ///
    /// # Errors
    /// The policy can't be read, has errors or does not fit. Nothing was changed then.
    pub fn reload(&self, dry_run: bool, by: &Actor) -> Result<(Installed, Policy), Error> {
        let _changing = self.lock();
        let reloaded = self.merged(&[]).and_then(|files| {
            let policy = checked(&files)?;
            self.install(policy, &files, dry_run, Act::Reload, by)
        });
        if let (Err(error), false) = (&reloaded, dry_run)
            && is_in_the_files(error)
        {
            let troubles = Arc::clone(self.sessions.lock().troubles());
            let help = mend(&self.dir);
            troubles.begin(
                Trouble::Policy,
                format!("the policy before stays in force: {error}; {help}"),
            );
        }
        reloaded
    }

    /// Writes files into the folder, and puts the policy of the whole folder in force.
    ///
    /// # Errors
    /// A name is not allowed, the whole policy has errors or does not fit, or the folder can't be written. Folder and
    /// policy in force are then as before.
    pub fn push(
        &self,
        files: &[Pushed],
        dry_run: bool,
        by: &Actor,
    ) -> Result<(Installed, Policy), Error> {
        let _changing = self.lock();
        let all = self.merged(files)?;
        let policy = checked(&all)?;
        if dry_run {
            return self.install(policy, &all, true, Act::Push, by);
        }
        self.sessions.lock().try_install(&policy, by)?;
        let mut before = Vec::new();
        for file in files {
            let path = self.dir.join(&file.name);
            before.push((path.clone(), content(&path)?));
        }
        let pushed = put(&self.dir, files).map_err(|(path, source)| Error::Store {
            action: "write",
            path,
            source,
        });
        let done = pushed.and_then(|()| self.install(policy, &all, false, Act::Push, by));
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

    /// The folder's files with some of them replaced or added, in name order, and what they take by `use`.
    ///
    /// # Errors
    /// A name is not allowed, or something can't be read.
    pub fn merged(&self, files: &[Pushed]) -> Result<Files, Error> {
        let mut sources = policy::read(&self.dir)?;
        for file in files {
            if !is_file_name(&file.name) {
                return Err(Error::BadFile { name: file.name.clone() });
            }
            let path = self.dir.join(&file.name);
            sources.retain(|source| source.path != path);
            sources.push(policy::Source { path, text: file.text.clone() });
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(policy::with_shipped(sources, &self.shipped)?)
    }

    fn install(
        &self,
        policy: Policy,
        files: &Files,
        dry_run: bool,
        act: Act,
        by: &Actor,
    ) -> Result<(Installed, Policy), Error> {
        let mut registry = self.sessions.lock();
        let installed = if dry_run {
            registry.try_install(&policy, by)?
        } else {
            let installed = registry.install(policy.clone(), act, by)?;
            registry.keep_policy(files);
            installed
        };
        drop(registry);
        // The policy is in force in any case; errors here are in the daemon's log.
        let _ = losses::settle(&self.sessions);
        Ok((installed, policy))
    }
}

/// The list of the files of a push that is under way, one name a line, in the policy's folder.
const PUSH: &str = ".push";

/// Writes pushed files into the folder: all or none of them, even after a crash, once [`finish_push`] has run. First
/// all files are written to the disk under temporary names, then the list of their names, and only then they are
/// renamed.
fn put(dir: &Path, files: &[Pushed]) -> Result<(), (PathBuf, io::Error)> {
    let list = dir.join(PUSH);
    let done = (|| {
        for file in files {
            let path = dir.join(&file.name);
            store::prepare(&path, file.text.as_bytes(), 0o644).map_err(|error| (path, error))?;
        }
        let names: String = files.iter().map(|file| format!("{}\n", file.name)).collect();
        let failed = |error| (list.clone(), error);
        replace(&list, names.as_bytes(), 0o600).map_err(failed)?;
        finish_push(dir).map_err(failed)
    })();
    if done.is_err() {
        let _ = fs::remove_file(&list);
        for file in files {
            let _ = fs::remove_file(temporary_name(&dir.join(&file.name)));
        }
    }
    done
}

/// Finishes a push that a crash interrupted after all its files were written: renames the rest of them.
///
/// # Errors
/// What the system said; it can be tried again.
pub fn finish_push(dir: &Path) -> io::Result<()> {
    let list = dir.join(PUSH);
    let names = match fs::read_to_string(&list) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for name in names.lines().filter(|name| is_file_name(name)) {
        let path = dir.join(name);
        match fs::rename(temporary_name(&path), &path) {
            // It was renamed already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
    }
    sync_folder(&list)?;
    fs::remove_file(&list)
}

/// Whether an error is in the folder's files, and stays until somebody mends them.
fn is_in_the_files(error: &Error) -> bool {
    matches!(error, Error::Policy(_) | Error::Read(_) | Error::Compile(_))
}

/// How to mend a policy's folder, for messages.
pub fn mend(dir: &Path) -> String {
    format!("`remit policy check {}` says what to mend, then `remit policy reload`", dir.display())
}

/// Checks all files of a policy.
///
/// # Errors
/// Everything that is wrong with them.
pub fn checked(files: &Files) -> Result<Policy, Error> {
    let mut policy = policy::check_files(files).map_err(Error::Policy)?;
    policy::links::widen(&mut policy);
    Ok(policy)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(name: &str, text: &str) -> Pushed {
        Pushed { name: name.into(), text: text.into() }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn pushed_files_leave_no_temporary_ones() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.toml"), "old").unwrap();
        put(dir.path(), &[pushed("a.toml", "new"), pushed("b.toml", "b")]).unwrap();
        assert_eq!(names(dir.path()), ["a.toml", "b.toml"]);
        assert_eq!(fs::read_to_string(dir.path().join("a.toml")).unwrap(), "new");
    }

    #[test]
    fn push_interrupted_by_a_crash_is_finished_or_undone() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.toml"), dir.path().join("b.toml"));
        fs::write(&a, "old a").unwrap();
        fs::write(&b, "old b").unwrap();
        let texts = || (fs::read_to_string(&a).unwrap(), fs::read_to_string(&b).unwrap());
        // A crash before the list was written: no file is renamed, and temporary files are no policy.
        store::prepare(&a, b"new a", 0o644).unwrap();
        finish_push(dir.path()).unwrap();
        assert_eq!(texts(), ("old a".into(), "old b".into()));
        // A crash after it, with one of two files renamed: the other follows.
        store::prepare(&b, b"new b", 0o644).unwrap();
        fs::write(dir.path().join(PUSH), "a.toml\nb.toml\n../x\n").unwrap();
        fs::rename(temporary_name(&a), &a).unwrap();
        finish_push(dir.path()).unwrap();
        assert_eq!(texts(), ("new a".into(), "new b".into()));
        assert_eq!(names(dir.path()), ["a.toml", "b.toml"]);
    }

    #[test]
    fn push_that_fails_leaves_the_folder_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.toml"), "old").unwrap();
        // The second file can't be written.
        fs::create_dir(dir.path().join("b.toml.new")).unwrap();
        assert!(put(dir.path(), &[pushed("a.toml", "new"), pushed("b.toml", "b")]).is_err());
        assert_eq!(fs::read_to_string(dir.path().join("a.toml")).unwrap(), "old");
        assert_eq!(names(dir.path()), ["a.toml", "b.toml.new"]);
    }
}
