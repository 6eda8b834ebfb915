//! Processes that end at once.

use std::{env, ffi::CStr, io, os::unix::ffi::OsStrExt as _};

use crate::{
    file::timed,
    measure::{Loop, Taken},
    sys::{self, done},
};

/// `fork(2)`, the child's end, and its parent's waiting for it.
pub(crate) const FORK: Loop = Loop {
    name: "fork+exit",
    rounds: 8,
    taken: Taken::Least(40),
    prepare: || Ok(timed(|| child(|| 0))),
};

/// The same, with a program in between that has no shared libraries: this one.
pub(crate) const EXEC: Loop = Loop {
    name: "fork+exec+exit",
    rounds: 4,
    taken: Taken::Least(40),
    prepare: || {
        let program = sys::path(env::current_exe()?.as_os_str().as_bytes())?;
        Ok(timed(move || child(|| execute(&program))))
    },
};

/// Makes a child that does `life` and ends with its status, and waits for it.
fn child(life: impl FnOnce() -> i32) -> io::Result<()> {
    // SAFETY: this process has one thread; the child calls nothing but `execve` and `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let status = life();
        // SAFETY: ends the process at once.
        unsafe { libc::_exit(status) }
    }
    done(child)?;
    let mut status = 0;
    // SAFETY: the status is ours.
    done(unsafe { libc::waitpid(child, &raw mut status, 0) })?;
    if status == 0 { Ok(()) } else { Err(io::Error::other("the child failed")) }
}

/// Becomes a program that ends at once; comes back only when it can't.
fn execute(program: &CStr) -> i32 {
    let arguments = [program.as_ptr(), c"exit".as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null()];
    // SAFETY: both arrays end with a null pointer, and what they point to are C strings.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    127
}
