//! Removes a folder whose content was made by processes that nobody trusts.
//!
//! Every name is looked up in a folder that is held open, no link is followed and no mount is entered, so a process that
//! renames folders or plants links meanwhile brings about nothing elsewhere. Folders in folders are moved up before they
//! are emptied: a tree of any depth takes three descriptors, and no path is ever put together.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Instant,
};

use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags, fstat, openat2, renameat, unlinkat},
    io::Errno,
};

/// Removes a folder or file. In folders of others than `owner` nothing is removed, unless that is root: the user could
/// not do it either, and may only have moved such a folder there.
///
/// # Errors
/// Something could not be removed, or it took until `deadline`. The rest is gone.
pub(super) fn remove(
    parent: BorrowedFd<'_>,
    name: &CStr,
    owner: u32,
    deadline: Instant,
) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut removal = Removal { top: open(parent, name)?, owner, deadline, moved: 0 };
    removal.check_owner(&removal.top)?;
    while removal.pass()? {}
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// Opens a folder by its name in another one, unless it is a link or something is mounted there.
fn open(folder: impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(openat2(folder, name, flags, Mode::empty(), resolve)?)
}

struct Removal {
    /// The folder that is to go.
    top: OwnedFd,
    owner: u32,
    deadline: Instant,
    /// How many folders were moved up.
    moved: u64,
}

impl Removal {
    /// Goes once over the folder. Returns whether there was something in it.
    fn pass(&mut self) -> io::Result<bool> {
        let (mut is_empty, mut progress, mut failed) = (true, false, None);
        for entry in Dir::read_from(&self.top)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dots(name) {
                continue;
            }
            if Instant::now() >= self.deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            is_empty = false;
            match self.take(name) {
                Ok(()) => progress = true,
                Err((some, error)) => {
                    progress |= some;
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if !progress => Err(error),
            _ => Ok(!is_empty),
        }
    }

    /// Removes one entry of the folder. An error says whether some of it is gone.
    fn take(&mut self, name: &CStr) -> Result<(), (bool, io::Error)> {
        let is_gone = unlink(&self.top, name).map_err(|error| (false, error))?;
        if is_gone {
            return Ok(());
        }
        let folder = open(&self.top, name).map_err(|error| (false, error))?;
        self.check_owner(&folder).map_err(|error| (false, error))?;
        let (mut progress, mut failed) = (false, None);
        for entry in Dir::read_from(&folder).map_err(|error| (false, error.into()))? {
            let entry = entry.map_err(|error| (progress, error.into()))?;
            if is_dots(entry.file_name()) {
                continue;
            }
            let taken = unlink(&folder, entry.file_name()).and_then(|is_gone| {
                if is_gone { Ok(()) } else { self.move_up(&folder, entry.file_name()) }
            });
            match taken {
                Ok(()) => progress = true,
                Err(error) => failed = Some(error),
            }
        }
        let removed = unlinkat(&self.top, name, AtFlags::REMOVEDIR);
        match (failed, removed) {
            (_, Ok(()) | Err(Errno::NOENT)) => Ok(()),
            (Some(error), Err(_)) => Err((progress, error)),
            (None, Err(error)) => Err((progress, error.into())),
        }
    }

    /// Moves a folder from a folder into the one that is to go, where the next pass finds it.
    fn move_up(&mut self, folder: &OwnedFd, name: &CStr) -> io::Result<()> {
        loop {
            self.moved += 1;
            let new = format!("remit.{}", self.moved);
            match renameat(folder, name, &self.top, new) {
                // The name is taken, by something that has to go anyway.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Err(Errno::NOENT) => return Ok(()),
                other => return Ok(other?),
            }
        }
    }

    fn check_owner(&self, folder: &OwnedFd) -> io::Result<()> {
        let of = fstat(folder)?.st_uid;
        if self.owner == 0 || of == self.owner {
            return Ok(());
        }
        Err(io::Error::other(format!("a folder in it belongs to user {of}")))
    }
}

/// Removes a file or an empty folder. Returns whether it is gone: `false` for a folder with something in it.
fn unlink(folder: &OwnedFd, name: &CStr) -> io::Result<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error.into()),
    }
    match unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::fs::symlink,
        time::Duration,
    };

    use super::*;

    fn remove_in(dir: &std::path::Path, name: &CStr) -> io::Result<()> {
        let parent = File::open(dir).unwrap();
        let me = rustix::process::geteuid().as_raw();
        remove(parent.as_fd(), name, me, Instant::now() + Duration::from_secs(60))
    }

    #[test]
    fn links_out_of_the_folder_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let (gone, kept) = (dir.path().join("gone"), dir.path().join("kept"));
        fs::create_dir_all(gone.join("a/b")).unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "x").unwrap();
        fs::hard_link(kept.join("file"), gone.join("a/hard")).unwrap();
        symlink(&kept, gone.join("link")).unwrap();
        symlink(&kept, gone.join("a/b/link")).unwrap();
        symlink("nowhere", gone.join("dangling")).unwrap();
        remove_in(dir.path(), c"gone").unwrap();
        assert!(!gone.exists());
        assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "x");
        // What is at the name may be a link itself.
        symlink(&kept, &gone).unwrap();
        remove_in(dir.path(), c"gone").unwrap();
        assert!(gone.symlink_metadata().is_err() && kept.join("file").exists());
        remove_in(dir.path(), c"gone").unwrap();
    }

    #[test]
    fn tree_deeper_than_any_path_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut at = OwnedFd::from(File::open(dir.path()).unwrap());
        let name = [b'd'; 200];
        let name = std::ffi::CString::new(name).unwrap();
        for depth in 0..400 {
            let name = if depth == 0 { c"gone" } else { &name };
            rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o700)).unwrap();
            at = open(&at, name).unwrap();
            rustix::fs::mkdirat(&at, c"remit.1", Mode::from_raw_mode(0o700)).unwrap();
        }
        remove_in(dir.path(), c"gone").unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn folder_of_another_user_is_left() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("gone");
        fs::create_dir_all(gone.join("foreign")).unwrap();
        fs::create_dir_all(gone.join("own/sub")).unwrap();
        fs::write(gone.join("foreign/file"), "x").unwrap();
        for path in ["", "own", "own/sub"] {
            std::os::unix::fs::chown(gone.join(path), Some(4711), None).unwrap();
        }
        let parent = File::open(dir.path()).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let error = remove(parent.as_fd(), c"gone", 4711, until).unwrap_err();
        assert!(error.to_string().contains("belongs to user 0"), "{error}");
        assert!(gone.join("foreign/file").exists() && !gone.join("own").exists());
        remove(parent.as_fd(), c"gone", 0, until).unwrap();
    }
}
