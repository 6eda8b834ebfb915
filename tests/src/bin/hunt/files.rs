//! The files of the world: laid out before each program, and compared after it.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, symlink},
    path::Path,
    sync::OnceLock,
};

use tests::image;

use crate::{
    servers::own_sockets,
    world::{Class, Content, OBJECTS, ORDINARY, Object, ROOT, WORK},
};

/// What a file holds that anybody may know. As long as a secret, so that files keep their length.
const TEXT: &str = "text text;";

/// A secret's text.
pub(crate) fn secret(number: u32) -> String {
    format!("SECRET:{number:02};")
}

fn lay_out() {
    for folder in ["no/dir", "ro", "spare", "deadly", "star/sub", "sock", "links", "own", "put"] {
        fs::create_dir_all(Path::new(ROOT).join(folder)).expect("a folder can be made");
    }
    let image = "/run/hunt-fat";
    image::write_fat(image);
    if let Err(reason) = image::mount(image, "vfat", &format!("{ROOT}/fat")) {
        println!("hunt: without a file system that takes names for the same: {}", reason.trim());
    }
    symlink("/", Path::new(ROOT).join("links/root")).expect("a link can be made");
    for object in OBJECTS.iter().filter(|object| !is_in_work(object.path)) {
        put(object.path, object.content);
    }
    for object in OBJECTS.iter().filter(|object| object.name == "no/a") {
        set_attribute(Path::new(object.path), "user.secret", &secret(6));
    }
    // The kernel must not be the one that refuses.
    for object in OBJECTS.iter().filter(|object| object.path.starts_with(ROOT)) {
        own(object.path);
    }
    for folder in ["no", "ro", "spare", "deadly", "star", "sock", "put", ""] {
        own(&format!("{ROOT}/{folder}"));
    }
}

/// The files as they are before a program.
pub(crate) struct Files {
    /// How each was left: what has not changed since need not be made again.
    left: BTreeMap<&'static str, Stamp>,
}

/// What a change of a file leaves a trace in, but for stores to a mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    links: u64,
    len: u64,
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &str) -> Option<Self> {
        let meta = fs::symlink_metadata(path).ok()?;
        Some(Self {
            inode: meta.ino(),
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            links: meta.nlink(),
            len: meta.len(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

impl Files {
    /// Lays out everything, once.
    ///
    /// # Panics
    /// When it can't.
    pub(crate) fn lay_out() -> Self {
        lay_out();
        Self { left: BTreeMap::new() }
    }

    /// Makes the work folder and what others may have changed as they were.
    ///
    /// # Panics
    /// When it can't.
    pub(crate) fn refresh(&mut self) {
        for path in own_sockets() {
            let _ = fs::remove_file(path);
        }
        for folder in ["own", "spare", "ro", "star", "fat", "put", "deadly"] {
            clear(&format!("{ROOT}/{folder}"));
        }
        // Of what no tool covers, a session can move what lies in these.
        let can_change = |object: &&Object| {
            ["own/", "star/", "fat/"].iter().any(|folder| object.name.starts_with(folder))
                || object.class != Class::Never && object.path.starts_with(ROOT)
        };
        for object in OBJECTS.iter().filter(can_change) {
            if object.content != Content::Nothing {
                self.refresh_one(object);
            }
        }
    }

    fn refresh_one(&mut self, object: &Object) {
        let stamp = Stamp::of(object.path);
        if stamp.is_some() && stamp.as_ref() == self.left.get(object.path) {
            let text = match object.content {
                Content::Text => TEXT.to_owned(),
                Content::Secret(number) => secret(number),
                _ => return,
            };
            if fs::read(object.path).is_ok_and(|content| content == text.as_bytes()) {
                return;
            }
        }
        // Attributes and other names go with it.
        if object.content != Content::Folder {
            let _ = fs::remove_file(object.path);
        }
        put(object.path, object.content);
        own(object.path);
        if object.class == Class::WriteOnly {
            set_attribute(Path::new(object.path), "user.secret", &secret(21));
        }
        match Stamp::of(object.path) {
            Some(stamp) => drop(self.left.insert(object.path, stamp)),
            None => drop(self.left.remove(object.path)),
        }
    }
}

/// Has the kernel forget names that it looked up: by which name a file was found first can matter.
pub(crate) fn forget_names() {
    let _ = fs::write("/proc/sys/vm/drop_caches", "2");
}

/// Removes from a folder what the world does not have.
fn clear(folder: &str) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let known = OBJECTS
            .iter()
            .find(|object| Path::new(object.path) == path && object.content != Content::Nothing);
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match known {
            Some(object) if is_folder && object.content == Content::Folder => clear(object.path),
            Some(object)
                if !is_folder && object.content != Content::Folder && !path.is_symlink() => {}
            _ if is_folder => drop(fs::remove_dir_all(&path)),
            _ => drop(fs::remove_file(&path)),
        }
    }
}

fn is_in_work(path: &str) -> bool {
    Path::new(path).starts_with(WORK)
}

/// Gives a file to everybody, so that the kernel by itself refuses nobody.
fn own(path: &str) {
    if Path::new(path).is_symlink() || !Path::new(path).exists() {
        return;
    }
    let _ = chown(path, Some(ORDINARY.0), Some(ORDINARY.1));
    let mode = if Path::new(path).is_dir() || path.ends_with("run") { 0o777 } else { 0o666 };
    let _ = fs::set_permissions(path, Permissions::from_mode(mode));
}

/// Makes an object as it should be, without following a link in its place.
fn put(path: &str, content: Content) {
    let write = |text: &[u8]| {
        if Path::new(path).is_dir() {
            let _ = fs::remove_dir_all(path);
        }
        if overwrite(path, text).is_err() {
            let _ = fs::remove_file(path);
            let _ = fs::write(path, text);
        }
    };
    match content {
        Content::Text => write(TEXT.as_bytes()),
        Content::Secret(number) => write(secret(number).as_bytes()),
        Content::Program => write(program()),
        Content::Folder => {
            let _ = fs::create_dir_all(path);
        }
        Content::Nothing | Content::Found => {}
    }
}

/// A program's bytes.
fn program() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| fs::read("/usr/bin/true").unwrap_or_default())
}

/// Writes over the beginning of a file that is there, so that mappings and pipes of it see it too.
pub(crate) fn overwrite(path: &str, text: &[u8]) -> io::Result<()> {
    let mut file = fs::File::options()
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    file.write_all(text)?;
    if file.metadata()?.len() != text.len() as u64 {
        file.set_len(text.len() as u64)?;
    }
    Ok(())
}

/// Puts a text that anybody may know in the place of a file's content.
pub(crate) fn declassify(path: &str) {
    let _ = overwrite(path, TEXT.as_bytes());
}

/// Puts a secret in the place of a file's content.
pub(crate) fn classify(path: &str, number: u32) {
    let _ = overwrite(path, secret(number).as_bytes());
}

fn set_attribute(path: &Path, name: &str, value: &str) {
    let (Ok(path), Ok(name)) =
        (CString::new(path.as_os_str().as_encoded_bytes()), CString::new(name))
    else {
        return;
    };
    // SAFETY: all are valid for the call.
    unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
}

/// How the objects of a class are: everything that a change leaves a trace in.
pub(crate) fn state(wanted: impl Fn(Class) -> bool) -> Vec<(&'static str, String)> {
    let all = OBJECTS.iter().filter(|object| {
        wanted(object.class)
            && object.path.starts_with(ROOT)
            && !is_in_work(object.path)
            // Names may be made in this folder, and given to others.
            && !object.path.starts_with("/srv/hunt/star")
            && !object.path.starts_with("/srv/hunt/fat")
    });
    let state = |object: &Object| match fs::symlink_metadata(object.path) {
        // A file of the session's own with a second name here: it may change it by the first.
        Ok(meta) if object.content == Content::Nothing && meta.is_file() && meta.nlink() > 1 => {
            format!("inode {} with another name", meta.ino())
        }
        Ok(meta) => format!(
            "inode {} mode {:o} owner {}:{} links {} bytes {} written {}.{} changed {}.{}",
            meta.ino(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.nlink(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec()
        ),
        Err(error) => error.kind().to_string(),
    };
    all.map(|object| (object.path, state(object))).collect()
}

/// What is different now.
pub(crate) fn changed(
    before: &[(&'static str, String)],
    wanted: impl Fn(Class) -> bool,
) -> Option<String> {
    let now = state(wanted);
    let different = before.iter().zip(&now).find(|(before, now)| before != now);
    different
        .map(|(before, now)| format!("`{}` was changed: {}, now {}", before.0, before.1, now.1))
}

/// A lock of the session's that keeps others out of a file that it may not write.
pub(crate) fn lock_in_the_way() -> Option<String> {
    for object in OBJECTS {
        if !matches!(object.class, Class::Never | Class::ReadOnly)
            || !matches!(object.content, Content::Text | Content::Secret(_))
            || is_in_work(object.path)
        {
            continue;
        }
        let Ok(file) = fs::File::open(object.path) else { continue };
        if file.try_lock_shared().is_err() {
            return Some(format!("a lock keeps others out of `{}`", object.path));
        }
        let mut lock = libc::flock {
            l_type: libc::F_RDLCK as i16,
            l_whence: 0,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        use std::os::fd::AsRawFd as _;
        // SAFETY: the structure is valid.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) };
        if lock.l_type != libc::F_UNLCK as i16 {
            return Some(format!("a record lock keeps others out of `{}`", object.path));
        }
    }
    None
}

/// A program in the work folder that runs as its owner.
pub(crate) fn set_id_program() -> Option<String> {
    let mut folders = vec![WORK.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            let path = entry.path().display().to_string();
            if meta.is_dir() {
                folders.push(path);
            } else if meta.mode() & 0o6000 != 0 {
                return Some(format!(
                    "`{path}` runs as its owner or group (mode {:o})",
                    meta.mode()
                ));
            }
        }
    }
    None
}
