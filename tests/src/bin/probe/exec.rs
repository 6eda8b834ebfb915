//! Running programs, and mapping files executable.

use std::{
    ffi::{CString, OsStr, OsString},
    os::fd::{AsRawFd as _, OwnedFd},
    ptr,
};

use crate::{
    Answer, Words, c,
    errno::Errno,
    file::nothing,
    sys::{self, done, open, owned},
};

/// Tries an operation of this kind.
pub(crate) fn run(name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        ("exec", [program, ..]) => spawn(
            |arguments, environment| {
                let program = c(program);
                // SAFETY: C strings and lists that end in null.
                unsafe { libc::execve(program.as_ptr(), arguments, environment) };
            },
            words,
        ),
        ("exec32", [program]) => crate::attack::execute32(program),
        ("exec-memory", [program, ..]) => match in_memory(program) {
            Ok(fd) => execute_descriptor(&fd, words),
            Err(error) => Err(error),
        },
        ("exec-descriptor", [program, ..]) => match open(&c(program), libc::O_PATH) {
            Ok(fd) => execute_descriptor(&fd, words),
            Err(error) => Err(error),
        },
        ("map-exec", [path]) => open(&c(path), libc::O_RDONLY)
            .and_then(|fd| sys::map(&fd, libc::PROT_READ | libc::PROT_EXEC))
            .map(nothing),
        ("protect-exec", [path]) => open(&c(path), libc::O_RDONLY).and_then(|fd| protect(&fd)),
        ("map-memory", []) => anonymous(),
        _ => return None,
    })
}

/// Runs a program in a child and gives its status; an error is that of `execve`.
fn spawn(
    execute: impl Fn(*const *const libc::c_char, *const *const libc::c_char),
    words: &[OsString],
) -> Answer {
    let arguments: Vec<CString> = words.iter().map(|word| c(word)).collect();
    let mut pointers: Vec<_> = arguments.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    let environment = [ptr::null()];
    let mut pipe = [0; 2];
    // SAFETY: the array takes two descriptors.
    done(unsafe { libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC) })?;
    let (reader, writer) = (owned(pipe[0])?, owned(pipe[1])?);
    // SAFETY: the child calls nothing but system calls.
    let pid = done(unsafe { libc::fork() })?;
    if pid == 0 {
        // SAFETY: the descriptors are open, both are numbers. The program's output is not the answer.
        unsafe { libc::dup2(2, 1) };
        execute(pointers.as_ptr(), environment.as_ptr());
        let error = Errno::last().0.to_ne_bytes();
        // A failure to tell shows as an empty answer.
        let _ = sys::write(&writer, &error);
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(127) };
    }
    drop(writer);
    let told = sys::read(&reader, 4)?;
    let status = sys::wait(i32::try_from(pid).unwrap_or_default())?;
    match <[u8; 4]>::try_from(told) {
        Ok(error) => Err(Errno(i32::from_ne_bytes(error))),
        Err(_) => Ok(format!("{}", libc::WEXITSTATUS(status))),
    }
}

fn execute_descriptor(fd: &OwnedFd, words: &[OsString]) -> Answer {
    let raw = fd.as_raw_fd();
    spawn(
        |arguments, environment| {
            // SAFETY: an empty path and lists that end in null.
            unsafe {
                libc::syscall(
                    libc::SYS_execveat,
                    raw,
                    c"".as_ptr(),
                    arguments,
                    environment,
                    libc::AT_EMPTY_PATH,
                )
            };
        },
        words,
    )
}

/// A copy of a program in a file that only this process has.
fn in_memory(program: &OsStr) -> Result<OwnedFd, Errno> {
    let content = std::fs::read(program)?;
    // SAFETY: the name is a C string.
    let fd = owned(unsafe { libc::memfd_create(c"copy".as_ptr(), libc::MFD_CLOEXEC) })?;
    let mut rest = content.as_slice();
    while !rest.is_empty() {
        let written = sys::write(&fd, rest)?;
        rest = &rest[usize::try_from(written).unwrap_or_default()..];
    }
    Ok(fd)
}

/// Maps a file readable, then makes the mapping executable.
fn protect(fd: &OwnedFd) -> Answer {
    let address = sys::map(fd, libc::PROT_READ)?;
    // SAFETY: the mapping is ours, nothing refers to it.
    let result = unsafe { libc::mprotect(address, 4096, libc::PROT_READ | libc::PROT_EXEC) };
    done(result).map(nothing)
}

/// Memory that is written, then executable, as compilers at run time use it.
fn anonymous() -> Answer {
    // SAFETY: the kernel chooses the place.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: the mapping is ours, nothing refers to it.
    let result = unsafe { libc::mprotect(address, 4096, libc::PROT_READ | libc::PROT_EXEC) };
    done(result).map(nothing)
}
