//! System calls in the form that the loops use: nothing is done beside the call.

use std::{
    ffi::{CStr, CString, c_int},
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// The result of a call that gives -1 for an error.
pub(crate) fn done(result: impl Into<i64>) -> io::Result<i64> {
    match result.into() {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// A descriptor that a call has just made.
pub(crate) fn owned(fd: c_int) -> io::Result<OwnedFd> {
    done(fd)?;
    // SAFETY: the call made the descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A path for system calls.
pub(crate) fn path(text: impl Into<Vec<u8>>) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::from)
}

/// `open(2)`; new files get mode 0644. The descriptor is closed when it is dropped.
pub(crate) fn open(path: &CStr, flags: c_int) -> io::Result<OwnedFd> {
    // SAFETY: the path is a C string.
    owned(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC, 0o644) })
}

/// `pread(2)` at the beginning, of the whole buffer.
pub(crate) fn read(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<()> {
    // SAFETY: the buffer has `len` bytes.
    let got =
        unsafe { libc::pread(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) } as i64;
    whole(got, buffer.len())
}

/// `pwrite(2)` at the beginning, of the whole buffer.
pub(crate) fn write(fd: &OwnedFd, buffer: &[u8]) -> io::Result<()> {
    // SAFETY: the buffer has `len` bytes.
    let put = unsafe { libc::pwrite(fd.as_raw_fd(), buffer.as_ptr().cast(), buffer.len(), 0) };
    whole(put as i64, buffer.len())
}

fn whole(result: i64, length: usize) -> io::Result<()> {
    if done(result)? == length as i64 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The clock of the processor time of another process (`MAKE_PROCESS_CPUCLOCK` of the kernel's
/// include/linux/posix-timers_types.h, with `CPUCLOCK_SCHED`).
pub(crate) fn clock_of(process: libc::pid_t) -> libc::clockid_t {
    (!process << 3) | 2
}

/// What a clock says, in nanoseconds.
pub(crate) fn now(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is ours.
    done(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned())
}
