//! Other confinements, put on this process by itself.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use bench::{APPARMOR_PROFILE, PROGRAMS, WORK};

use crate::sys::{self, done, owned};

/// Rights of Landlock on files (`LANDLOCK_ACCESS_FS_*`, include/uapi/linux/landlock.h).
const EXECUTE: u64 = 1 << 0;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const READ: u64 = READ_FILE | READ_DIR;

/// How many rights on files each version of Landlock has, from the first on.
const RIGHTS: [u32; 5] = [13, 14, 15, 15, 16];

/// `struct landlock_ruleset_attr`, as far as its first version goes.
#[repr(C)]
struct Ruleset {
    handled_access_fs: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct Beneath {
    allowed_access: u64,
    parent: i32,
}

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION: u32 = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: u32 = 1;

/// Confines this process with Landlock: four rules, as for an agent that works in one folder.
///
/// # Errors
/// When the kernel has no Landlock, or a folder is not there.
pub(crate) fn landlock() -> io::Result<()> {
    let nothing = std::ptr::null::<Ruleset>();
    // SAFETY: with this flag the call reads no memory.
    let version = done(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION)
    })?;
    let place = usize::try_from(version - 1).unwrap_or_default().min(RIGHTS.len() - 1);
    let all = (1 << RIGHTS[place]) - 1;
    let attributes = Ruleset { handled_access_fs: all };
    let size = size_of::<Ruleset>();
    // SAFETY: the attributes have the size that is told.
    let ruleset =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, size, 0) };
    let ruleset = owned(ruleset as i32)?;
    for (folder, rights) in
        [("/usr", READ | EXECUTE), ("/etc", READ), (PROGRAMS, READ | EXECUTE), (WORK, all)]
    {
        add(&ruleset, folder, rights)?;
    }
    // SAFETY: the call takes two numbers.
    done(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })?;
    Ok(())
}

fn add(ruleset: &OwnedFd, folder: &str, rights: u64) -> io::Result<()> {
    let parent = sys::open(&sys::path(folder)?, libc::O_PATH)?;
    let rule = Beneath { allowed_access: rights, parent: parent.as_raw_fd() };
    let ruleset = ruleset.as_raw_fd();
    // SAFETY: the rule is one of the kind that is told.
    done(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, &raw const rule, 0)
    })?;
    Ok(())
}

/// Confines this process with a profile of AppArmor that is loaded.
///
/// # Errors
/// When there is none.
pub(crate) fn apparmor() -> io::Result<()> {
    fs::write("/proc/self/attr/apparmor/current", format!("changeprofile {APPARMOR_PROFILE}"))
}
