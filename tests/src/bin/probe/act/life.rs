//! Processes that are made in unusual ways, and that are hard to end.

use std::{
    fs, io,
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    ptr, thread,
    time::Duration,
};

use super::{
    Outcome,
    call::{self, number},
};

/// `CLONE_PARENT`, and `CLONE_INTO_CGROUP` (include/uapi/linux/sched.h).
const CLONE_PARENT: u64 = 0x8000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Does the act, if it is one of these.
pub(super) fn act(words: &[&str]) -> Option<Outcome> {
    Some(match words {
        // A child that ends at once.
        ["fork"] => clone(0, 0),
        // The same, as a child of this process's parent.
        ["clone-parent"] => clone(CLONE_PARENT, 0),
        // The same, in another control group.
        ["clone-into", group] => fs::File::options()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(group)
            .and_then(|group| clone(CLONE_INTO_CGROUP, group.as_raw_fd() as u64)),
        // A child whose main thread has ended, while another goes on counting in a file's first eight bytes: its id.
        ["headless", path] => headless(path),
        // So many chains of processes, each of which makes the next one and ends, and counts in the file.
        ["chains", count, path] => chains(number(count), path),
        _ => return None,
    })
}

/// `clone3(2)` of a child that ends at once.
fn clone(flags: u64, group: u64) -> Outcome {
    let mut arguments = [0u64; 11];
    arguments[0] = flags;
    // With that flag it is the one of this process.
    arguments[4] = if flags & CLONE_PARENT == 0 { libc::SIGCHLD as u64 } else { 0 };
    arguments[10] = group;
    let at = arguments.as_ptr() as usize;
    let pid = call::call(libc::SYS_clone3, [at, size_of_val(&arguments)])?;
    if pid == 0 {
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(77) };
    }
    if flags & CLONE_PARENT == 0 {
        // SAFETY: the call takes a number, and nothing to write to.
        unsafe { libc::waitpid(pid as i32, ptr::null_mut(), 0) };
    }
    Ok(pid.to_string())
}

/// The first word of a file, mapped.
fn mapped(path: &str) -> io::Result<*mut u64> {
    let file = fs::File::options().read(true).write(true).open(path)?;
    let (kind, rights) = (libc::MAP_SHARED, libc::PROT_READ | libc::PROT_WRITE);
    // SAFETY: a new mapping.
    let at = unsafe { libc::mmap(ptr::null_mut(), 4096, rights, kind, file.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.cast()) }
}

/// Counts once more in the mapped word.
fn count(word: usize) {
    let word = word as *mut u64;
    // SAFETY: the word is mapped as long as the process lives, and a number that is lost matters to nobody.
    unsafe { word.write_volatile(word.read_volatile().wrapping_add(1)) };
}

fn headless(path: &str) -> Outcome {
    let word = mapped(path)? as usize;
    // SAFETY: this process has one thread.
    match unsafe { libc::fork() } {
        0 => {
            thread::spawn(move || {
                loop {
                    count(word);
                    thread::sleep(Duration::from_millis(10));
                }
            });
            // SAFETY: ends this thread alone.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
            unreachable!("the thread has ended")
        }
        pid if pid > 0 => Ok(pid.to_string()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn chains(many: usize, path: &str) -> Outcome {
    let word = mapped(path)? as usize;
    for _ in 0..many {
        // SAFETY: this process has one thread, and the children call nothing but these.
        unsafe {
            if libc::fork() == 0 {
                loop {
                    count(word);
                    if libc::fork() > 0 {
                        libc::_exit(0);
                    }
                }
            }
        }
    }
    Ok(String::new())
}
