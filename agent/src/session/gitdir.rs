//! Where the repository of a work folder lies, if that is elsewhere: `{gitdir}`, and `{worktree}`, its name there.
//!
//! The file `.git` in a work folder says where its repository is, and the last session that worked there may have
//! written it. So what it says counts only if the repository says the same: a linked worktree's is registered in the
//! repository, a submodule's has `core.worktree`. Where git writes nothing of that kind (`--separate-git-dir`), it counts
//! if the file is the starter's, and no session worked in the folder or only such as had the same repository.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::folder::{Starter, Workplace, as_user, may_write, walk};

/// The largest file of git's that is read here.
const LARGEST: u64 = 64 << 10;

/// A repository elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its folder: that of all worktrees, with `objects` and `refs`.
    pub folder: PathBuf,
    /// The name of the work folder below its `worktrees`, if it is a linked one.
    pub worktree: Option<String>,
}

/// What is known of former sessions in a work folder: the repository of each that worked in or above it.
pub type Former<'a> = &'a [Option<PathBuf>];

/// Finds the repository of a work folder, with the rights of the user who starts the session. `None` if it is in the
/// folder itself, or if there is none.
///
/// # Errors
/// There is one elsewhere, and the session can't have it: the reason.
pub fn find(
    workdir: &Path,
    starter: &Starter,
    workplaces: &[Workplace],
    former: Former<'_>,
) -> Result<Option<Repository>, String> {
    as_user(starter, || Search { workdir, starter, workplaces, former }.run())
        .unwrap_or_else(|error| Err(error.to_string()))
}

struct Search<'a> {
    workdir: &'a Path,
    starter: &'a Starter,
    workplaces: &'a [Workplace],
    former: Former<'a>,
}

impl Search<'_> {
    fn run(&self) -> Result<Option<Repository>, String> {
        let file = self.workdir.join(".git");
        match fs::symlink_metadata(&file) {
            Ok(found) if found.is_file() => {}
            _ => return Ok(None),
        }
        let text = read(&file).map_err(|error| format!("`{}`: {error}", file.display()))?;
        let Some(target) = text.strip_prefix("gitdir:").map(str::trim) else {
            return Err(format!("`{}` does not begin with `gitdir:`", file.display()));
        };
        let own = self.resolve(self.workdir, target)?;
        if own.starts_with(self.workdir) {
            return Ok(None);
        }
        let repository = match own.parent().filter(|above| above.ends_with("worktrees")) {
            Some(above) if own.join("commondir").exists() => {
                self.worktree(&own, above.parent().unwrap_or(above))?
            }
            _ => {
                self.whole(&own)?;
                Repository { folder: own, worktree: None }
            }
        };
        self.check(&repository.folder)?;
        Ok(Some(repository))
    }

    /// A path that a file of git's names, without links that others may have planted.
    fn resolve(&self, from: &Path, target: &str) -> Result<PathBuf, String> {
        let path = from.join(target);
        walk(&path, self.starter, self.workplaces).map_err(|problem| problem.message)
    }

    /// A linked worktree: its folder in the repository names this work folder.
    fn worktree(&self, own: &Path, folder: &Path) -> Result<Repository, String> {
        let named = |name: &str| {
            let file = own.join(name);
            let text = read(&file).map_err(|error| format!("`{}`: {error}", file.display()))?;
            Ok::<_, String>(text.trim().to_owned())
        };
        if self.resolve(own, &named("commondir")?)? != folder {
            return Err(format!("`{}` belongs to another repository", own.display()));
        }
        let back = own.join(named("gitdir")?);
        let is_this = back.ends_with(".git")
            && back.parent().is_some_and(|place| {
                place.to_str().is_some_and(|place| {
                    self.resolve(Path::new("/"), place).is_ok_and(|place| place == self.workdir)
                })
            });
        if !is_this {
            let (own, workdir) = (own.display(), self.workdir.display());
            return Err(format!(
                "`{own}` is the worktree of another folder than `{workdir}` (`git worktree repair` mends it)"
            ));
        }
        let name = own.file_name().and_then(|name| name.to_str());
        let name = name.filter(|name| !name.contains('*')).map(str::to_owned);
        Ok(Repository { folder: folder.to_owned(), worktree: name })
    }

    /// A repository that only this folder uses.
    fn whole(&self, own: &Path) -> Result<(), String> {
        let config = read(&own.join("config")).unwrap_or_default();
        let named = worktree_of(&config).map(|place| self.resolve(own, place));
        if named.is_some_and(|place| place.is_ok_and(|place| place == self.workdir)) {
            return Ok(());
        }
        let file = fs::symlink_metadata(self.workdir.join(".git"));
        let is_own = file.is_ok_and(|found| found.uid() == self.starter.uid);
        if is_own && self.former.iter().all(|former| former.as_deref() == Some(own)) {
            return Ok(());
        }
        let (own, workdir) = (own.display(), self.workdir.display());
        Err(format!(
            "`{own}` does not say that it belongs to `{workdir}`, whose `.git` a session or another user may \
             have written: `git --git-dir {own} config core.worktree {workdir}` does"
        ))
    }

    /// Whether a folder is a repository of the starter's own.
    fn check(&self, folder: &Path) -> Result<(), String> {
        let shown = folder.display();
        let is = |name: &str, is_fit: fn(&fs::Metadata) -> bool| {
            fs::symlink_metadata(folder.join(name)).is_ok_and(|found| is_fit(&found))
        };
        let is_repository = is("HEAD", fs::Metadata::is_file)
            && is("objects", fs::Metadata::is_dir)
            && is("refs", fs::Metadata::is_dir);
        if !is_repository {
            return Err(format!("`{shown}` is not a git repository"));
        }
        let is_own = fs::metadata(folder).is_ok_and(|found| found.uid() == self.starter.uid);
        if !is_own || !may_write(folder) {
            return Err(format!("`{shown}` is not a repository of your own"));
        }
        if folder.to_str().is_none_or(|path| path.contains('*')) {
            return Err(format!("no rule can have the path `{shown}`"));
        }
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<String> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() || found.len() > LARGEST {
        return Err(io::Error::other("it is no file of git's"));
    }
    fs::read_to_string(path)
}

/// The value of `core.worktree` in the text of a repository's `config`, as git writes it.
fn worktree_of(config: &str) -> Option<&str> {
    let mut section = "";
    for line in config.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').trim();
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        if section.eq_ignore_ascii_case("core") && name.trim().eq_ignore_ascii_case("worktree") {
            return Some(value.trim().trim_matches('"'));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        path: PathBuf,
        _dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().canonicalize().unwrap();
            let place = Self { path, _dir: dir };
            place.repository("main/.git");
            place.write("main/.git/worktrees/wt/commondir", "../..\n");
            place.write("main/.git/worktrees/wt/gitdir", &format!("{}\n", place.text("wt/.git")));
            place.git("wt", &place.text("main/.git/worktrees/wt"));
            place
        }

        fn path(&self, path: &str) -> PathBuf {
            self.path.join(path)
        }

        fn text(&self, path: &str) -> String {
            self.path(path).to_str().unwrap().to_owned()
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn repository(&self, path: &str) {
            self.write(&format!("{path}/HEAD"), "ref: refs/heads/main\n");
            for folder in ["objects", "refs"] {
                fs::create_dir_all(self.path(path).join(folder)).unwrap();
            }
        }

        fn git(&self, folder: &str, to: &str) {
            self.write(&format!("{folder}/.git"), &format!("gitdir: {to}\n"));
        }

        fn find(&self, folder: &str, former: Former<'_>) -> Result<Option<Repository>, String> {
            let gid = rustix::process::getegid().as_raw();
            let starter = Starter { uid: rustix::process::geteuid().as_raw(), groups: vec![gid] };
            find(&self.path(folder), &starter, &[], former)
        }
    }

    #[test]
    fn linked_worktree_has_its_repository_and_name() {
        let place = Place::new();
        let found = place.find("wt", &[None]).unwrap().unwrap();
        assert_eq!(found.folder, place.path("main/.git"));
        assert_eq!(found.worktree.as_deref(), Some("wt"));
        assert_eq!(place.find("main", &[]), Ok(None));
        assert_eq!(place.find("main/.git", &[]), Ok(None));
        // Relative paths, as newer versions of git write them.
        place.git("wt", "../main/.git/worktrees/wt");
        place.write("main/.git/worktrees/wt/gitdir", "../../../../wt/.git\n");
        assert_eq!(place.find("wt", &[]).unwrap().unwrap(), found);
    }

    #[test]
    fn file_that_a_session_wrote_leads_nowhere() {
        let place = Place::new();
        place.repository("other/.git");
        let none: Former<'_> = &[None];
        // Another repository, another worktree of the same, a repository that the session made.
        place.git("wt", &place.text("other/.git"));
        assert!(place.find("wt", none).unwrap_err().contains("core.worktree"));
        place.write("main/.git/worktrees/two/commondir", "../..\n");
        place.write("main/.git/worktrees/two/gitdir", &place.text("two/.git"));
        place.git("wt", &place.text("main/.git/worktrees/two"));
        assert!(place.find("wt", none).unwrap_err().contains("of another folder"));
        place.write("wt/own/worktrees/wt/commondir", &place.text("other/.git"));
        place.write("wt/own/worktrees/wt/gitdir", &place.text("wt/.git"));
        place.git("wt", "own/worktrees/wt");
        assert_eq!(place.find("wt", none), Ok(None));
        // The worktree's own folder, changed to belong to another repository.
        place.git("wt", &place.text("main/.git/worktrees/wt"));
        place.write("main/.git/worktrees/wt/commondir", &place.text("other/.git"));
        assert!(place.find("wt", none).unwrap_err().contains("another repository"));
        place.git("wt", "/etc");
        assert!(place.find("wt", &[]).unwrap_err().contains("not a git repository"));
        place.write("wt/.git", "no");
        assert!(place.find("wt", &[]).unwrap_err().contains("gitdir:"));
    }

    #[test]
    fn repository_apart_is_believed_before_a_session_worked_there() {
        let place = Place::new();
        place.repository("apart.git");
        place.git("sep", &place.text("apart.git"));
        let found = Ok(Some(Repository { folder: place.path("apart.git"), worktree: None }));
        assert_eq!(place.find("sep", &[]), found);
        assert_eq!(place.find("sep", &[Some(place.path("apart.git"))]), found);
        assert!(place.find("sep", &[Some(place.path("main/.git"))]).is_err());
        assert!(place.find("sep", &[None]).is_err());
        place.write("apart.git/config", "[core]\n\tbare = false\n\tworktree = ../sep\n");
        assert_eq!(place.find("sep", &[None]), found);
    }

    #[test]
    fn worktree_is_read_from_the_section_core() {
        assert_eq!(worktree_of("[x]\nworktree=a\n[core]\n\tWorktree = ../b\n"), Some("../b"));
        assert_eq!(worktree_of("[core]\nbare\n[remote \"worktree\"]\nworktree = a\n"), None);
    }
}
