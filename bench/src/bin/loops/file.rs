//! Operations on files and names.

use std::{ffi::CString, io, mem::MaybeUninit};

use bench::{DEEP, DEEP_FILES, FILE, NAMES, REFUSED, WRITTEN};

use crate::{
    measure::{Batch, Loop, Run, Taken, time},
    sys::{self, done},
};

/// A file that was opened before.
pub(crate) const OPEN: Loop = Loop {
    name: "open+close",
    rounds: 200,
    taken: Taken::Least(40),
    prepare: || {
        let path = sys::path(FILE)?;
        Ok(timed(move || sys::open(&path, libc::O_RDONLY).map(drop)))
    },
};

/// Files that this process never opened; the kernel knows their names already.
pub(crate) const OPEN_FIRST: Loop = Loop {
    name: "open+close, first time",
    rounds: DEEP_FILES as u64,
    taken: Taken::First,
    prepare: || {
        let paths = (0..DEEP_FILES).map(|number| sys::path(format!("{DEEP}/{number:03}")));
        let paths = paths.collect::<io::Result<Vec<_>>>()?;
        for path in &paths {
            stat(path)?;
        }
        let mut paths = paths.into_iter();
        Ok(timed(move || {
            let path = paths.next().ok_or(io::ErrorKind::NotFound)?;
            sys::open(&path, libc::O_RDONLY).map(drop)
        }))
    },
};

/// `stat(2)`.
pub(crate) const STAT: Loop = Loop {
    name: "stat",
    rounds: 200,
    taken: Taken::Least(40),
    prepare: || {
        let path = sys::path(FILE)?;
        Ok(timed(move || stat(&path)))
    },
};

/// `access(2)`.
pub(crate) const ACCESS: Loop = Loop {
    name: "access",
    rounds: 200,
    taken: Taken::Least(40),
    prepare: || {
        let path = sys::path(FILE)?;
        // SAFETY: the path is a C string.
        Ok(timed(move || done(unsafe { libc::access(path.as_ptr(), libc::R_OK) }).map(drop)))
    },
};

/// `pread(2)` of one byte.
pub(crate) const READ_BYTE: Loop =
    Loop { name: "read of 1 byte", rounds: 400, taken: Taken::Least(40), prepare: || reading(1) };

/// `pwrite(2)` of one byte.
pub(crate) const WRITE_BYTE: Loop =
    Loop { name: "write of 1 byte", rounds: 400, taken: Taken::Least(40), prepare: || writing(1) };

/// `pread(2)` of a page.
pub(crate) const READ_PAGE: Loop =
    Loop { name: "read of 4 KiB", rounds: 400, taken: Taken::Least(40), prepare: || reading(4096) };

/// `pwrite(2)` of a page.
pub(crate) const WRITE_PAGE: Loop = Loop {
    name: "write of 4 KiB",
    rounds: 400,
    taken: Taken::Least(40),
    prepare: || writing(4096),
};

/// `unlink(2)` of files that were made for it.
pub(crate) const UNLINK: Loop = Loop {
    name: "unlink",
    rounds: 50,
    taken: Taken::Least(20),
    prepare: || {
        let paths = names(50)?;
        Ok(Box::new(move |_| {
            for path in &paths {
                sys::open(path, libc::O_CREAT | libc::O_WRONLY)?;
            }
            let unlink = |path: &CString| {
                // SAFETY: the path is a C string.
                done(unsafe { libc::unlink(path.as_ptr()) }).map(drop)
            };
            time(|| paths.iter().try_for_each(unlink)).map(Batch::from)
        }))
    },
};

/// `rename(2)` of a file in its folder, to a name that is free.
pub(crate) const RENAME: Loop = Loop {
    name: "rename",
    rounds: 50,
    taken: Taken::Least(20),
    prepare: || {
        let (mut old, mut new) =
            (sys::path(format!("{NAMES}/old"))?, sys::path(format!("{NAMES}/new"))?);
        sys::open(&old, libc::O_CREAT | libc::O_WRONLY)?;
        Ok(timed(move || {
            // SAFETY: both are C strings.
            done(unsafe { libc::rename(old.as_ptr(), new.as_ptr()) })?;
            std::mem::swap(&mut old, &mut new);
            Ok(())
        }))
    },
};

/// `mkdir(2)`.
pub(crate) const MKDIR: Loop = Loop {
    name: "mkdir",
    rounds: 50,
    taken: Taken::Least(20),
    prepare: || {
        let paths = names(50)?;
        Ok(Box::new(move |_| {
            let make = |path: &CString| {
                // SAFETY: the path is a C string.
                done(unsafe { libc::mkdir(path.as_ptr(), 0o755) }).map(drop)
            };
            let taken = time(|| paths.iter().try_for_each(make))?;
            for path in &paths {
                // SAFETY: the path is a C string.
                done(unsafe { libc::rmdir(path.as_ptr()) })?;
            }
            Ok(taken.into())
        }))
    },
};

/// A file outside of the work folder: opened and closed where nothing refuses it.
pub(crate) const REFUSED_OPEN: Loop = Loop {
    name: "refused open",
    rounds: 3000,
    taken: Taken::WithDaemon,
    prepare: || {
        let path = sys::path(REFUSED)?;
        Ok(Box::new(move |rounds| {
            let mut batch = Batch::default();
            for _ in 0..rounds {
                match sys::open(&path, libc::O_RDONLY) {
                    Err(error) if error.raw_os_error() == Some(libc::EACCES) => batch.refused += 1,
                    other => drop(other?),
                }
            }
            Ok(batch)
        }))
    },
};

/// So many rounds of `round`, timed as a whole.
pub(crate) fn timed(mut round: impl FnMut() -> io::Result<()> + 'static) -> Run {
    Box::new(move |rounds| time(|| (0..rounds).try_for_each(|_| round())).map(Batch::from))
}

fn reading(length: usize) -> io::Result<Run> {
    let file = sys::open(&sys::path(FILE)?, libc::O_RDONLY)?;
    let mut buffer = vec![0; length];
    Ok(timed(move || sys::read(&file, &mut buffer)))
}

fn writing(length: usize) -> io::Result<Run> {
    let file = sys::open(&sys::path(WRITTEN)?, libc::O_WRONLY)?;
    let buffer = vec![0; length];
    Ok(timed(move || sys::write(&file, &buffer)))
}

/// Names that are free.
fn names(count: usize) -> io::Result<Vec<CString>> {
    (0..count).map(|number| sys::path(format!("{NAMES}/name-{number}"))).collect()
}

fn stat(path: &CString) -> io::Result<()> {
    let mut found = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the path is a C string, and the call fills what it is given.
    done(unsafe { libc::stat(path.as_ptr(), found.as_mut_ptr()) }).map(drop)
}
