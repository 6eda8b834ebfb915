//! The folders that the daemon makes for sessions: `{tmp}`, which goes with its session, and `{cache}`, which stays.
//!
//! Both lie below folders that only root can change (or sticky ones, such as `/tmp`). A temporary folder has a name that
//! nobody can guess, and a record in the state directory from before it is made until it is gone: a daemon that was
//! killed in between leaves nothing behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
    fs, io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, Uid, fchmod, fchown, fstat, mkdirat, openat, unlinkat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{Error, removal, store};

/// How long one attempt to remove a folder may take. What is left then is removed by the next one.
const LONGEST: Duration = Duration::from_secs(120);
/// Mode bits: the group or others may write; only owners may remove what is in a folder.
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Where sessions' own folders are made, and the records of the temporary ones.
#[derive(Debug)]
pub struct PrivateFolders {
    tmp_dir: PathBuf,
    cache_dir: PathBuf,
    pub(super) records: PathBuf,
    /// The temporary folders of sessions that are being started.
    pub(super) starting: Mutex<BTreeSet<String>>,
    /// Whether somebody asked for folders to be removed since that began last.
    pub(super) is_wanted: AtomicBool,
    /// Held while folders are removed: why those that are left could not be.
    pub(super) left: Mutex<BTreeMap<String, String>>,
}

/// What the state directory remembers of a temporary folder.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) path: PathBuf,
    /// Its user.
    uid: u32,
}

/// The temporary folder of a session that is being started. Once this is dropped, the folder stays only if a live
/// session has it.
#[derive(Debug)]
pub struct Temporary {
    folders: Arc<PrivateFolders>,
    name: String,
    path: PathBuf,
}

impl Temporary {
    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        locked(&self.folders.starting).remove(&self.name);
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is half done in it: each user makes one call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PrivateFolders {
    /// Makes nothing yet.
    pub fn new(tmp_dir: &Path, cache_dir: &Path, state_dir: &Path) -> Self {
        Self {
            tmp_dir: tmp_dir.to_owned(),
            cache_dir: cache_dir.to_owned(),
            records: state_dir.join("tmp"),
            starting: Mutex::default(),
            is_wanted: AtomicBool::new(false),
            left: Mutex::default(),
        }
    }

    /// Makes a temporary folder for a session of that user.
    ///
    /// # Errors
    /// It can't be made, or others could replace it.
    pub fn temporary(self: &Arc<Self>, uid: u32, gid: u32) -> Result<Temporary, Error> {
        let failed = |source| Error::Folder { variable: "tmp", dir: self.tmp_dir.clone(), source };
        let (dir, folder) = safe(&self.tmp_dir).map_err(failed)?;
        let name = format!("remit-{:032x}", random().map_err(failed)?);
        let path = dir.join(&name);
        locked(&self.starting).insert(name.clone());
        let temporary = Temporary { folders: Arc::clone(self), name, path };
        self.write(&temporary, uid)?;
        // A name that is taken is an error: nobody can have guessed it.
        mkdirat(&folder, &temporary.name, Mode::RWXU).map_err(|error| failed(error.into()))?;
        let made = open(&folder, &temporary.name).map_err(failed)?;
        give(&made, uid, gid).map_err(failed)?;
        Ok(temporary)
    }

    fn write(&self, temporary: &Temporary, uid: u32) -> Result<(), Error> {
        let (path, file) = (temporary.path.clone(), self.record(&temporary.name));
        let failed = |source| Error::Store { action: "write", path: file.clone(), source };
        fs::create_dir_all(&self.records).map_err(failed)?;
        let text = serde_json::to_vec(&Record { path, uid }).map_err(|e| failed(e.into()))?;
        store::replace(&file, &text, 0o600).map_err(failed)
    }

    pub(super) fn record(&self, name: &str) -> PathBuf {
        self.records.join(format!("{name}.json"))
    }

    /// The folder that is kept for a profile and a user; made if it is not there.
    ///
    /// # Errors
    /// It can't be made, or others could replace it.
    pub fn cache(&self, profile: &str, uid: u32, gid: u32) -> Result<PathBuf, Error> {
        let make = || {
            make_parents(&self.cache_dir)?;
            let (dir, folder) = safe(&self.cache_dir)?;
            let of_profile = make_parent(&folder, profile)?;
            let name = uid.to_string();
            let own = match sub_folder(&of_profile, &name) {
                // A session of root can have put something else in its place. Only root can, so it is nobody else's.
                Err(error) if is_no_folder(&error) => {
                    unlinkat(&of_profile, &name, AtFlags::empty())?;
                    sub_folder(&of_profile, &name)?
                }
                made => made?,
            };
            give(&own, uid, gid)?;
            Ok(dir.join(profile).join(name))
        };
        make().map_err(|source| Error::Folder {
            variable: "cache",
            dir: self.cache_dir.clone(),
            source,
        })
    }

    /// Removes a temporary folder.
    pub(super) fn remove(&self, name: &str, record: &Record) -> io::Result<()> {
        let (Some(dir), Ok(last)) = (record.path.parent(), CString::new(name)) else {
            return Ok(());
        };
        let (_, folder) = match safe(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        let found = match rustix::fs::statat(&folder, &last, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            found => found?,
        };
        // The folder itself is the user's, or root's where the daemon was killed before it could give it away. What
        // another user put there meanwhile is theirs.
        if found.st_uid != record.uid && found.st_uid != 0 {
            tracing::warn!("`{}` is another user's now, and stays", record.path.display());
            return Ok(());
        }
        if found.st_uid == 0 && record.uid != 0 {
            // Nothing is in it then.
            return Ok(unlinkat(&folder, &last, AtFlags::REMOVEDIR)?);
        }
        removal::remove(folder.as_fd(), &last, record.uid, Instant::now() + LONGEST)
    }
}

/// The names in the folder of records.
pub(super) fn names(records: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(records) else { return Vec::new() };
    let name =
        |entry: fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.into());
    entries.filter_map(|entry| name(entry.ok()?)).collect()
}

pub(super) fn read(file: &Path) -> Option<Record> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// Opens a folder, its path without links, if only root (or the daemon's own user) can replace what is in it.
fn safe(dir: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    let dir = dir.canonicalize()?;
    for place in dir.ancestors() {
        let found = fs::symlink_metadata(place)?;
        let is_closed = found.mode() & OTHERS_WRITE == 0 || found.mode() & STICKY != 0;
        if !found.is_dir() || !is_ours(found.uid()) || !is_closed {
            let place = place.display();
            let why = format!("others than root can change what is in `{place}`");
            return Err(io::Error::other(why));
        }
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = rustix::fs::open(&dir, flags, Mode::empty())?;
    Ok((dir, folder))
}

fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Makes the folder that all caches lie in, with those above it.
fn make_parents(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let (Some(above), Some(name)) = (dir.parent(), dir.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    make_parents(above)?;
    let (_, folder) = safe(above)?;
    make_parent(&folder, name.as_bytes()).map(drop)
}

/// Makes a folder of root's through which others can go and which they can't list, or opens the one that is there.
fn make_parent(folder: &OwnedFd, name: impl rustix::path::Arg + Copy) -> io::Result<OwnedFd> {
    let made = mkdirat(folder, name, Mode::RWXU);
    let opened = open(folder, name)?;
    match made {
        Ok(()) => fchmod(&opened, Mode::from_raw_mode(0o711))?,
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let found = fstat(&opened)?;
    if !is_ours(found.st_uid) || found.st_mode & OTHERS_WRITE != 0 {
        return Err(io::Error::other("others than root can change a folder above it"));
    }
    Ok(opened)
}

/// Makes a folder, or opens the one that is there.
fn sub_folder(folder: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    match mkdirat(folder, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open(folder, name),
        Err(error) => Err(error.into()),
    }
}

fn is_no_folder(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTDIR | libc::ELOOP))
}

/// Opens a folder in a folder, without following a link.
fn open(folder: &OwnedFd, name: impl rustix::path::Arg) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, Mode::empty())?)
}

/// Makes a folder a user's, and closes it to all others.
fn give(folder: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
    let found = fstat(folder)?;
    if found.st_uid != uid || found.st_gid != gid {
        fchown(folder, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    // An access control list that the folder got from the one above it opens nothing by this mode.
    Ok(fchmod(folder, Mode::RWXU)?)
}

/// Random bits, from when the kernel has some.
fn random() -> io::Result<u128> {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(u128::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn me() -> (u32, u32) {
        (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    fn folders(dir: &Path) -> Arc<PrivateFolders> {
        let tmp = dir.join("tmp");
        fs::create_dir(&tmp).unwrap();
        fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777)).unwrap();
        Arc::new(PrivateFolders::new(&tmp, &dir.join("var/cache"), &dir.join("state")))
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn temporary_folder_is_closed_and_recorded_until_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        let (uid, gid) = me();
        let one = folders.temporary(uid, gid).unwrap();
        let two = folders.temporary(uid, gid).unwrap();
        assert_ne!(one.path(), two.path());
        assert_eq!(mode(one.path()), 0o700);
        assert_eq!(names(&folders.records).len(), 2);
        let record = read(&folders.record(&one.name)).unwrap();
        assert_eq!((record.path.as_path(), record.uid), (one.path(), uid));
        fs::write(one.path().join("file"), "").unwrap();
        folders.remove(&one.name, &record).unwrap();
        assert!(!one.path().exists() && two.path().exists());
    }

    #[test]
    fn folder_that_others_can_change_holds_no_private_one() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        let (uid, gid) = me();
        let open = |mode| {
            fs::set_permissions(dir.path().join("tmp"), fs::Permissions::from_mode(mode)).unwrap();
        };
        open(0o777);
        let error = folders.temporary(uid, gid).unwrap_err().to_string();
        assert!(error.contains("others than root"), "{error}");
        open(0o1777);
        folders.temporary(uid, gid).unwrap();
    }

    #[test]
    fn cache_is_kept_for_profile_and_user() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        let (uid, gid) = me();
        let cache = folders.cache("coder", uid, gid).unwrap();
        assert_eq!(cache, dir.path().join(format!("var/cache/coder/{uid}")));
        fs::write(cache.join("file"), "x").unwrap();
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(folders.cache("coder", uid, gid).unwrap(), cache);
        assert_eq!((mode(&cache), mode(cache.parent().unwrap())), (0o700, 0o711));
        assert!(cache.join("file").exists());
        assert_ne!(folders.cache("other", uid, gid).unwrap(), cache);
    }

    #[test]
    fn link_in_place_of_a_cache_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        let (uid, gid) = me();
        let cache = folders.cache("coder", uid, gid).unwrap();
        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::remove_dir(&cache).unwrap();
        symlink(&other, &cache).unwrap();
        let before = mode(&other);
        assert_eq!(folders.cache("coder", uid, gid).unwrap(), cache);
        assert!(fs::symlink_metadata(&cache).unwrap().is_dir());
        assert_eq!(mode(&other), before);
        let of_profile = cache.parent().unwrap();
        fs::remove_dir(&cache).unwrap();
        fs::remove_dir(of_profile).unwrap();
        symlink(&other, of_profile).unwrap();
        assert!(folders.cache("coder", uid, gid).is_err());
    }
}
