//! System calls in a form that the operations use.

use std::{
    ffi::{CStr, c_int},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use crate::errno::Errno;

/// The result of a call that gives -1 for an error.
pub(crate) fn done(result: impl Into<i64>) -> Result<i64, Errno> {
    match result.into() {
        -1 => Err(Errno::last()),
        value => Ok(value),
    }
}

/// A descriptor that a call has just made.
pub(crate) fn owned(fd: c_int) -> Result<OwnedFd, Errno> {
    done(fd)?;
    // SAFETY: the call made the descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `openat(2)`.
pub(crate) fn open_at(
    folder: RawFd,
    path: &CStr,
    flags: c_int,
    mode: u32,
) -> Result<OwnedFd, Errno> {
    // SAFETY: the path is a C string.
    owned(unsafe { libc::openat(folder, path.as_ptr(), flags | libc::O_CLOEXEC, mode) })
}

/// `open(2)`; new files get mode 0644.
pub(crate) fn open(path: &CStr, flags: c_int) -> Result<OwnedFd, Errno> {
    open_at(libc::AT_FDCWD, path, flags, 0o644)
}

/// `read(2)`, once, of at most so many bytes.
pub(crate) fn read(fd: &OwnedFd, most: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; most];
    // SAFETY: the buffer has `most` bytes.
    let got = done(unsafe { libc::read(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), most) } as i64)?;
    bytes.truncate(usize::try_from(got).unwrap_or_default());
    Ok(bytes)
}

/// `write(2)`, once.
pub(crate) fn write(fd: &OwnedFd, bytes: &[u8]) -> Result<i64, Errno> {
    // SAFETY: the buffer has `len` bytes.
    done(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) } as i64)
}

/// `mmap(2)` of a file's first page, private.
pub(crate) fn map(fd: &OwnedFd, protection: c_int) -> Result<*mut libc::c_void, Errno> {
    // SAFETY: the kernel chooses the place, so nothing that is mapped is replaced.
    let address = unsafe {
        libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE, fd.as_raw_fd(), 0)
    };
    if address == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(address) }
}

/// Waits for a child and returns its status.
pub(crate) fn wait(pid: libc::pid_t) -> Result<c_int, Errno> {
    let mut status = 0;
    // SAFETY: the status is ours.
    done(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) })?;
    Ok(status)
}

/// A system call by its number. Pointers among the arguments have to be of values that outlive the call.
pub(crate) fn raw<const N: usize>(number: i64, arguments: [usize; N]) -> Result<i64, Errno> {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the callers' pointers are of values that live until the call is over; what the kernel
    // writes there has the size that they say.
    done(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}
