//! The work folder of a session: resolves the folder that a request names, with the rights of the user who starts the
//! session, and without following symbolic links that others may have planted. Of other sessions it knows only their
//! work folders.

use std::{
    collections::BTreeMap,
    ffi::{CString, OsString},
    fs::{self, Metadata},
    io,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Component, Path, PathBuf},
    thread,
};

use crate::policy::{pattern::PathPattern, value::Problem};

/// The most symbolic links on the way to a folder (`MAXSYMLINKS`, include/linux/namei.h).
const LINKS: usize = 40;
/// Mode bits: others may write; the group may write; only owners may remove what is in it.
const OTHERS_WRITE: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// The user who starts a session.
#[derive(Clone, Debug)]
pub struct Starter {
    /// The user.
    pub uid: u32,
    /// The groups; the effective one first.
    pub groups: Vec<u32>,
}

/// A folder where a session works or worked, and the session's name.
pub type Workplace = (PathBuf, String);

/// Resolves a folder, which must be absolute, exist, and not be the root. No link that others may have planted is
/// followed.
///
/// # Errors
/// What is wrong with it.
pub fn resolve(
    given: &str,
    starter: &Starter,
    workplaces: &[Workplace],
    must_write: bool,
) -> Result<String, Problem> {
    let shown = quoted(given);
    if !Path::new(given).is_absolute() {
        return Err(Problem::new(format!("{shown} is not an absolute path")));
    }
    let found = as_user(starter, || {
        let folder = walk(Path::new(given), starter, workplaces)?;
        if folder == Path::new("/") {
            let problem = Problem::new(format!("{shown} is the whole file system"));
            return Err(problem.help("a session works in a folder: `--workdir DIR`"));
        }
        if must_write && !may_write(&folder) {
            let problem = Problem::new(format!("you may not write in {shown}"));
            return Err(problem.help("the folder has to be one that you could change yourself"));
        }
        Ok(folder)
    });
    let folder = found.unwrap_or_else(|error| Err(failed(&shown, &error)))?;
    let text = folder.into_os_string().into_string();
    text.map_err(|_| Problem::new(format!("{shown} is not UTF-8")))
}

/// Whether a folder matches one of the patterns, with `{user}` and `{home}` filled in.
pub fn is_within(folder: &str, patterns: &[PathPattern], user: &str, home: &str) -> bool {
    let values: BTreeMap<String, String> =
        [("user".to_owned(), user.to_owned()), ("home".to_owned(), home.to_owned())].into();
    let names: Vec<&[u8]> =
        folder.split('/').filter(|name| !name.is_empty()).map(str::as_bytes).collect();
    let fits = |pattern: &PathPattern| matches!(pattern.expand(&values), Ok(Some(expanded)) if expanded.matches(&names, false));
    patterns.iter().any(fits)
}

fn quoted(text: &str) -> String {
    crate::policy::diagnostic::quote(text)
}

fn failed(shown: &str, error: &io::Error) -> Problem {
    Problem::new(format!("folder {shown}: {error}"))
        .help("the work folder is a folder that is there and that you can reach")
}

/// Follows a path name by name.
pub(super) fn walk(
    given: &Path,
    starter: &Starter,
    workplaces: &[Workplace],
) -> Result<PathBuf, Problem> {
    let shown = quoted(&given.to_string_lossy());
    let failed = |error: io::Error| failed(&shown, &error);
    let mut at = PathBuf::from("/");
    let mut ahead = names(given);
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let found = fs::symlink_metadata(&next).map_err(failed)?;
        if !found.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(failed(io::Error::from_raw_os_error(libc::ELOOP)));
        }
        let folder = fs::symlink_metadata(&at).map_err(failed)?;
        trust(&next, &found, &at, &folder, starter, workplaces)?;
        let target = fs::read_link(&next).map_err(failed)?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        ahead.extend(names(&target));
    }
    // Everything on the way was a folder; the end has to be one too.
    if !fs::symlink_metadata(&at).map_err(failed)?.is_dir() {
        return Err(failed(io::Error::from_raw_os_error(libc::ENOTDIR)));
    }
    Ok(at)
}

/// The names of a path, the last first.
fn names(path: &Path) -> Vec<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// Whether a symbolic link may be followed: only root or the user who starts the session can have made it, and no
/// session.
fn trust(
    link: &Path,
    found: &Metadata,
    at: &Path,
    folder: &Metadata,
    starter: &Starter,
    workplaces: &[Workplace],
) -> Result<(), Problem> {
    let shown = quoted(&link.to_string_lossy());
    let help = "give the folder that it leads to, if that is the one that you mean";
    let is_work = |(place, _): &&Workplace| place != Path::new("/") && at.starts_with(place);
    if let Some((_, session)) = workplaces.iter().find(is_work) {
        let message =
            format!("{shown} is a link in the work folder of session {}", quoted(session));
        return Err(Problem::new(message).help(help));
    }
    let is_mine = |uid: u32| uid == 0 || uid == starter.uid;
    let (mode, gid) = (folder.mode(), folder.gid());
    let own_group = gid == 0 || starter.groups.first() == Some(&gid);
    let is_closed = mode & OTHERS_WRITE == 0 && (mode & GROUP_WRITES == 0 || own_group);
    if is_mine(found.uid()) && is_mine(folder.uid()) && (is_closed || mode & STICKY != 0) {
        return Ok(());
    }
    let message = format!("{shown} is a link that somebody else may have put there");
    Err(Problem::new(message).help(help))
}

/// Whether the thread's user may create files in a folder.
pub(super) fn may_write(folder: &Path) -> bool {
    let Ok(path) = CString::new(folder.as_os_str().as_bytes()) else { return false };
    let mode = libc::W_OK | libc::X_OK;
    // SAFETY: the path is a C string that outlives the call; nothing is written.
    let done = unsafe {
        libc::syscall(libc::SYS_faccessat2, libc::AT_FDCWD, path.as_ptr(), mode, libc::AT_EACCESS)
    };
    done == 0
}

/// Runs a function in a thread with the user's file-system credentials.
pub(super) fn as_user<T: Send>(
    starter: &Starter,
    work: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = scope.spawn(|| become_user(starter).map(|()| work()));
        thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
    })
}

/// Gives this thread, and no other, the user's file-system credentials. It loses root's rights on files.
fn become_user(starter: &Starter) -> io::Result<()> {
    if starter.uid == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let group = starter.groups.first().copied().unwrap_or(u32::MAX);
    // SAFETY: raw system calls, since the C library's would change all threads; the list of groups has the given length
    // and outlives the call.
    unsafe {
        if libc::syscall(libc::SYS_setgroups, starter.groups.len(), starter.groups.as_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::syscall(libc::SYS_setfsgid, group);
        libc::syscall(libc::SYS_setfsuid, starter.uid);
        // These calls report no failure. A call with an invalid id changes nothing and returns the present one.
        let user = libc::syscall(libc::SYS_setfsuid, -1);
        if user != libc::c_long::from(starter.uid) {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
    }
    // When file-system credentials change, the kernel makes the whole process undumpable, so that access to its memory
    // needs `CAP_SYS_PTRACE` (`commit_creds`, kernel/cred.c). The canary's tries on this process would then be refused
    // for that reason, and not by Remit.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn me() -> Starter {
        let gid = rustix::process::getegid().as_raw();
        Starter { uid: rustix::process::geteuid().as_raw(), groups: vec![gid] }
    }

    fn find(path: &Path, workplaces: &[Workplace]) -> Result<String, String> {
        let found = resolve(path.to_str().unwrap(), &me(), workplaces, true);
        found.map_err(|problem| problem.message)
    }

    #[test]
    fn folder_behind_a_link_that_others_can_plant_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().canonicalize().unwrap();
        fs::create_dir_all(place.join("a/b")).unwrap();
        symlink("a/b/..", place.join("link")).unwrap();
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        assert_eq!(find(&place.join("a/./b/../b"), &[]), Ok(text(place.join("a/b"))));
        assert_eq!(find(&place.join("link/b"), &[]), Ok(text(place.join("a/b"))));
        let worked = [(place.clone(), "one".to_owned())];
        let error = find(&place.join("link/b"), &worked).unwrap_err();
        assert!(error.contains("in the work folder of session `one`"), "{error}");
        assert_eq!(find(&place.join("a/b"), &worked), Ok(text(place.join("a/b"))));
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        let error = find(&place.join("link"), &[]).unwrap_err();
        assert!(error.contains("somebody else may have put there"), "{error}");
        fs::set_permissions(&place, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(find(&place.join("link"), &[]).is_ok());
    }

    #[test]
    fn path_that_is_no_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().canonicalize().unwrap();
        fs::write(place.join("file"), "").unwrap();
        symlink("round", place.join("round")).unwrap();
        for (path, part) in [
            (Path::new("/"), "the whole file system"),
            (Path::new("/tmp/.."), "the whole file system"),
            (Path::new("tmp"), "not an absolute path"),
            (&place.join("file"), "Not a directory"),
            (&place.join("missing"), "No such file"),
            (&place.join("round"), "symbolic links"),
        ] {
            let error = find(path, &[]).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn folder_outside_of_the_patterns_is_not_within() {
        let place = || crate::policy::Place { file: Default::default(), line: 1, column: 1 };
        let patterns = ["{home}/src/**", "/srv/*/{user}"]
            .map(|text| PathPattern::parse(text, place()).unwrap());
        let within = |folder: &str| is_within(folder, &patterns, "dev", "/home/dev");
        for folder in ["/home/dev/src", "/home/dev/src/a/b", "/srv/x/dev"] {
            assert!(within(folder), "{folder}");
        }
        for folder in ["/home/dev", "/home/other/src", "/srv/x/dev/y", "/home/dev/srcs"] {
            assert!(!within(folder), "{folder}");
        }
    }
}
