//! Operations on names, without an open file.

use std::ffi::OsStr;

use crate::{Answer, Words, c, errno::Errno, file::nothing, number, sys::done};

/// Tries an operation of this kind.
pub(crate) fn run(name: &str, words: Words<'_>) -> Option<Answer> {
    let result = match (name, words) {
        // SAFETY: the call takes a C string that lives for the call, as do all below.
        ("unlink", [path]) => unsafe { libc::unlink(c(path).as_ptr()) },
        // SAFETY: see above.
        ("rmdir", [path]) => unsafe { libc::rmdir(c(path).as_ptr()) },
        // SAFETY: see above.
        ("mkdir", [path]) => unsafe { libc::mkdir(c(path).as_ptr(), 0o755) },
        // SAFETY: see above.
        ("chdir", [path]) => unsafe { libc::chdir(c(path).as_ptr()) },
        // SAFETY: see above.
        ("chroot", [path]) => unsafe { libc::chroot(c(path).as_ptr()) },
        // SAFETY: see above.
        ("link", [old, new]) => unsafe { libc::link(c(old).as_ptr(), c(new).as_ptr()) },
        // SAFETY: see above.
        ("symlink", [to, path]) => unsafe { libc::symlink(c(to).as_ptr(), c(path).as_ptr()) },
        ("rename", [old, new]) => return Some(rename(old, new, 0)),
        ("exchange", [old, new]) => return Some(rename(old, new, libc::RENAME_EXCHANGE)),
        ("rename-new", [old, new]) => return Some(rename(old, new, libc::RENAME_NOREPLACE)),
        ("mknod", [path, kind]) => {
            let (kind, device) = match kind.to_str() {
                Some("file") => (libc::S_IFREG, 0),
                Some("fifo") => (libc::S_IFIFO, 0),
                Some("socket") => (libc::S_IFSOCK, 0),
                Some("null") => (libc::S_IFCHR, libc::makedev(1, 3)),
                _ => return None,
            };
            // SAFETY: see above.
            unsafe { libc::mknod(c(path).as_ptr(), kind | 0o644, device) }
        }
        // SAFETY: see above.
        ("truncate", [path]) => unsafe { libc::truncate(c(path).as_ptr(), 0) },
        // SAFETY: see above.
        ("chmod", [path, mode]) => unsafe { libc::chmod(c(path).as_ptr(), number(mode)) },
        ("chown", [path, user]) => {
            // SAFETY: see above.
            unsafe { libc::chown(c(path).as_ptr(), number(user), number(user)) }
        }
        // SAFETY: see above; no times means now.
        ("touch", [path]) => unsafe {
            libc::utimensat(libc::AT_FDCWD, c(path).as_ptr(), std::ptr::null(), 0)
        },
        ("setxattr", [path, name]) => {
            // SAFETY: see above; the value has one byte.
            unsafe {
                libc::setxattr(c(path).as_ptr(), c(name).as_ptr(), [b'1'].as_ptr().cast(), 1, 0)
            }
        }
        // SAFETY: see above.
        ("removexattr", [path, name]) => unsafe {
            libc::removexattr(c(path).as_ptr(), c(name).as_ptr())
        },
        ("stat", [path]) => return Some(stat(path)),
        ("read-link", [path]) => {
            let target = std::fs::read_link(path).map_err(Errno::from);
            return Some(target.map(|target| target.to_string_lossy().into_owned()));
        }
        _ => return None,
    };
    Some(done(result).map(nothing))
}

fn rename(old: &OsStr, new: &OsStr, flags: u32) -> Answer {
    let (old, new) = (c(old), c(new));
    // SAFETY: both are C strings.
    let result = unsafe {
        libc::renameat2(libc::AT_FDCWD, old.as_ptr(), libc::AT_FDCWD, new.as_ptr(), flags)
    };
    done(result).map(nothing)
}

/// Length and permissions of a file.
fn stat(path: &OsStr) -> Answer {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::symlink_metadata(path)?;
    Ok(format!("{} {:o} {}", found.len(), found.mode() & 0o7777, found.uid()))
}
