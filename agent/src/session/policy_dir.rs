//! The policy's folder: reading it whole, and putting pushed files into it.

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
    store::{self, place_beside, replace, sync_folder},
};
use crate::{
    policy::{self, Policy, Source},
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

    /// One change at a time. A panic in the middle of one may have left the folder half changed: the next start makes
    /// it whole ([`finish_push`]).
    fn gate(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap_or_else(|_| {
            tracing::error!(
                "a panic left the policy's folder half changed: the daemon ends, enforcement stays"
            );
            std::process::abort()
        })
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
        let _one = self.gate();
        let reloaded = policy::read(&self.dir).map_err(Error::from).and_then(|sources| {
            let policy = checked(&sources)?;
            self.install(policy, &sources, dry_run, Act::Reload, by)
        });
        if let (Err(error), false) = (&reloaded, dry_run)
            && is_of_the_folder(error)
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
        let _one = self.gate();
        let sources = self.merged(files)?;
        let policy = checked(&sources)?;
        if dry_run {
            return self.install(policy, &sources, true, Act::Push, by);
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
        let done = pushed.and_then(|()| self.install(policy, &sources, false, Act::Push, by));
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
        sources: &[Source],
        dry_run: bool,
        act: Act,
        by: &Actor,
    ) -> Result<(Installed, Policy), Error> {
        let mut registry = self.sessions.lock();
        let installed = if dry_run {
            registry.try_install(&policy, by)?
        } else {
            let installed = registry.install(policy.clone(), act, by)?;
            registry.keep_policy(sources);
            installed
        };
        drop(registry);
        // The policy is in force whatever is left, which is in the daemon's log.
        let _ = losses::settle(&self.sessions);
        Ok((installed, policy))
    }
}

/// The names of the files of a push that is under way, a line each, in the policy's folder.
const PUSH: &str = ".push";

/// Puts pushed files into the folder so that after a crash at any moment it has all of them or, once
/// [`finish_push`] was there, none: each is on the disk beside its place before the list of them is, and none takes its
/// place before that.
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
            let _ = fs::remove_file(place_beside(&dir.join(&file.name)));
        }
    }
    done
}

/// Ends a push that a crash interrupted after all its files were written: they take their places.
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
        match fs::rename(place_beside(&path), &path) {
            // It has its place already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
    }
    sync_folder(&list)?;
    fs::remove_file(&list)
}

/// Whether an error is one of what the folder says, and stays until somebody mends that.
fn is_of_the_folder(error: &Error) -> bool {
    matches!(error, Error::Policy(_) | Error::Read(_) | Error::Compile(_))
}

/// What mends a policy's folder.
pub fn mend(dir: &Path) -> String {
    format!("`remit policy check {}` says what to mend, then `remit policy reload`", dir.display())
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
    fn pushed_files_take_their_places_and_leave_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.toml"), "old").unwrap();
        put(dir.path(), &[pushed("a.toml", "new"), pushed("b.toml", "b")]).unwrap();
        assert_eq!(names(dir.path()), ["a.toml", "b.toml"]);
        assert_eq!(fs::read_to_string(dir.path().join("a.toml")).unwrap(), "new");
    }

    #[test]
    fn push_that_a_crash_interrupted_is_finished_or_was_none() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a.toml"), dir.path().join("b.toml"));
        fs::write(&a, "old a").unwrap();
        fs::write(&b, "old b").unwrap();
        let texts = || (fs::read_to_string(&a).unwrap(), fs::read_to_string(&b).unwrap());
        // Before the list: nothing takes its place, and what is beside is no policy.
        store::prepare(&a, b"new a", 0o644).unwrap();
        finish_push(dir.path()).unwrap();
        assert_eq!(texts(), ("old a".into(), "old b".into()));
        // With the list, one of two in its place: all of it.
        store::prepare(&b, b"new b", 0o644).unwrap();
        fs::write(dir.path().join(PUSH), "a.toml\nb.toml\n../x\n").unwrap();
        fs::rename(place_beside(&a), &a).unwrap();
        finish_push(dir.path()).unwrap();
        assert_eq!(texts(), ("new a".into(), "new b".into()));
        assert_eq!(names(dir.path()), ["a.toml", "b.toml"]);
    }

    #[test]
    fn push_that_can_not_be_written_leaves_the_folder_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.toml"), "old").unwrap();
        // The second has no place to be written in.
        fs::create_dir(dir.path().join("b.toml.new")).unwrap();
        assert!(put(dir.path(), &[pushed("a.toml", "new"), pushed("b.toml", "b")]).is_err());
        assert_eq!(fs::read_to_string(dir.path().join("a.toml")).unwrap(), "old");
        assert_eq!(names(dir.path()), ["a.toml", "b.toml.new"]);
    }
}
