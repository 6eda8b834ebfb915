//! Opening files, and what is done with open ones.

use std::{
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    ptr,
};

use crate::{
    Answer, State, Words, c,
    errno::Errno,
    number,
    sys::{self, done, open, open_at},
};

/// Tries an operation of this kind.
pub(crate) fn run(state: &mut State, name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        ("open-read", [path]) => open(&c(path), libc::O_RDONLY).map(nothing),
        ("open-write", [path]) => open(&c(path), libc::O_WRONLY).map(nothing),
        ("open-both", [path]) => open(&c(path), libc::O_RDWR).map(nothing),
        ("open-append", [path]) => open(&c(path), libc::O_WRONLY | libc::O_APPEND).map(nothing),
        ("open-empty", [path]) => open(&c(path), libc::O_WRONLY | libc::O_TRUNC).map(nothing),
        ("open-path", [path]) => open(&c(path), libc::O_PATH).map(nothing),
        // Access mode 3: for device control only; the kernel checks reading and writing.
        ("open-ioctl", [path]) => open(&c(path), 3).map(nothing),
        ("open-create", [path]) => open(&c(path), libc::O_WRONLY | libc::O_CREAT).map(nothing),
        ("create", [path]) => {
            open(&c(path), libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL).map(nothing)
        }
        ("create-read", [path]) => {
            open(&c(path), libc::O_RDONLY | libc::O_CREAT | libc::O_EXCL).map(nothing)
        }
        ("read", [path]) => open(&c(path), libc::O_RDONLY).and_then(|fd| text(&fd)),
        ("write", [path, content]) => open(&c(path), libc::O_WRONLY)
            .and_then(|fd| sys::write(&fd, content.as_bytes()))
            .map(nothing),
        ("list", [path]) => list(path),
        ("open-at", [folder, name]) => open(&c(folder), libc::O_PATH | libc::O_DIRECTORY)
            .and_then(|folder| open_at(folder.as_raw_fd(), &c(name), libc::O_RDONLY, 0))
            .map(nothing),
        ("openat2", [path]) => openat2(&c(path)).map(nothing),
        ("tmpfile", [folder]) => open(&c(folder), libc::O_RDWR | libc::O_TMPFILE).map(nothing),
        ("tmpfile-link", [folder, path]) => tmpfile_link(folder, path),
        ("keep-read", [key, path]) => keep(state, key, open(&c(path), libc::O_RDONLY)),
        ("keep-write", [key, path]) => keep(state, key, open(&c(path), libc::O_WRONLY)),
        ("keep-both", [key, path]) => keep(state, key, open(&c(path), libc::O_RDWR)),
        ("keep-path", [key, path]) => keep(state, key, open(&c(path), libc::O_PATH)),
        ("kept-read", [key]) => text(kept(state, key)),
        ("kept-write", [key, content]) => {
            sys::write(kept(state, key), content.as_bytes()).map(nothing)
        }
        ("kept-reopen", [key]) => {
            let path = format!("/proc/self/fd/{}", kept(state, key).as_raw_fd());
            open(&c(path.as_ref()), libc::O_RDONLY).map(nothing)
        }
        ("kept-reopen-write", [key]) => {
            let path = format!("/proc/self/fd/{}", kept(state, key).as_raw_fd());
            open(&c(path.as_ref()), libc::O_WRONLY).map(nothing)
        }
        ("kept-open-at", [key, name]) => {
            open_at(kept(state, key).as_raw_fd(), &c(name), libc::O_RDONLY, 0).map(nothing)
        }
        ("kept-chmod", [key, mode]) => {
            // SAFETY: the call takes numbers only.
            done(unsafe { libc::fchmod(kept(state, key).as_raw_fd(), number(mode)) }).map(nothing)
        }
        ("kept-truncate", [key]) => {
            // SAFETY: the call takes numbers only.
            done(unsafe { libc::ftruncate(kept(state, key).as_raw_fd(), 0) }).map(nothing)
        }
        ("kept-map", [key]) => sys::map(kept(state, key), libc::PROT_READ).map(nothing),
        ("drop", [key]) => {
            state.kept.remove(key).map_or(Err(Errno(libc::EBADF)), |_| Ok(String::new()))
        }
        ("inherited-read", [fd]) => {
            // A descriptor that was passed to the process, under the number that it has here.
            open(&c(format!("/proc/self/fd/{}", number(fd)).as_ref()), libc::O_RDONLY).map(nothing)
        }
        _ => return None,
    })
}

/// For results that need not be told.
pub(crate) fn nothing<T>(_: T) -> String {
    String::new()
}

pub(crate) fn keep(state: &mut State, key: &std::ffi::OsStr, fd: Result<OwnedFd, Errno>) -> Answer {
    state.kept.insert(key.to_owned(), fd?);
    Ok(String::new())
}

pub(crate) fn kept<'a>(state: &'a State, key: &std::ffi::OsStr) -> &'a OwnedFd {
    state.kept.get(key).unwrap_or_else(|| panic!("no descriptor is kept as {}", key.display()))
}

/// The first 4,096 bytes as text.
fn text(fd: &OwnedFd) -> Answer {
    Ok(String::from_utf8_lossy(&sys::read(fd, 4096)?).into_owned())
}

/// The names in a folder.
fn list(path: &std::ffi::OsStr) -> Answer {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.join(" "))
}

/// `struct open_how` (include/uapi/linux/openat2.h).
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

fn openat2(path: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    let how = OpenHow { flags: libc::O_CLOEXEC as u64, mode: 0, resolve: 0 };
    // SAFETY: the path is a C string, the record has the length that is given.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            libc::AT_FDCWD,
            path.as_ptr(),
            ptr::from_ref(&how),
            size_of::<OpenHow>(),
        )
    };
    sys::owned(i32::try_from(fd).unwrap_or(-1))
}

/// Makes a file without a name and gives it one.
fn tmpfile_link(folder: &std::ffi::OsStr, path: &std::ffi::OsStr) -> Answer {
    let fd = open(&c(folder), libc::O_RDWR | libc::O_TMPFILE)?;
    let old = c(format!("/proc/self/fd/{}", fd.as_raw_fd()).as_ref());
    let new = c(path);
    // SAFETY: both are C strings.
    done(unsafe {
        libc::linkat(
            libc::AT_FDCWD,
            old.as_ptr(),
            libc::AT_FDCWD,
            new.as_ptr(),
            libc::AT_SYMLINK_FOLLOW,
        )
    })
    .map(nothing)
}
