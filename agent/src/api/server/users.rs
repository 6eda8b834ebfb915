//! Names and ids of users and groups, by the host's user database.

use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    ptr,
};

/// Bytes of the largest entry that is read.
const LARGEST: usize = 1 << 20;

/// A user's name, or the id if there is none.
pub fn name(uid: u32) -> String {
    let found = lookup(|entry, buffer, result| {
        // SAFETY: `entry` and `result` are valid for writing, `buffer` is as long as said.
        unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr(), buffer.len(), result) }
    });
    found
        .ok()
        .flatten()
        .and_then(|(entry, _buffer): (libc::passwd, _)| {
            // SAFETY: a found entry's name is a C string in the buffer, which is still alive.
            unsafe { CStr::from_ptr(entry.pw_name) }.to_str().ok().map(str::to_owned)
        })
        .unwrap_or_else(|| uid.to_string())
}

/// A user's home folder.
pub fn home(uid: u32) -> Option<PathBuf> {
    let found = lookup(|entry, buffer, result| {
        // SAFETY: as in `name`.
        unsafe { libc::getpwuid_r(uid, entry, buffer.as_mut_ptr(), buffer.len(), result) }
    });
    let (entry, _buffer): (libc::passwd, _) = found.ok()??;
    // SAFETY: as in `name`.
    let home = unsafe { CStr::from_ptr(entry.pw_dir) };
    Some(PathBuf::from(OsStr::from_bytes(home.to_bytes())))
}

/// The id of a user, given by name or id.
pub fn uid(name: &str) -> Option<u32> {
    let text = CString::new(name).ok()?;
    let found = lookup(|entry: *mut libc::passwd, buffer, result| {
        // SAFETY: as in `name`; `text` is a C string.
        unsafe { libc::getpwnam_r(text.as_ptr(), entry, buffer.as_mut_ptr(), buffer.len(), result) }
    });
    found.ok().flatten().map(|(entry, _)| entry.pw_uid).or_else(|| name.parse().ok())
}

/// The id of a group, given by name or id.
pub fn gid(name: &str) -> Option<u32> {
    let text = CString::new(name).ok()?;
    let found = lookup(|entry: *mut libc::group, buffer, result| {
        // SAFETY: as in `name`; `text` is a C string.
        unsafe { libc::getgrnam_r(text.as_ptr(), entry, buffer.as_mut_ptr(), buffer.len(), result) }
    });
    found.ok().flatten().map(|(entry, _)| entry.gr_gid).or_else(|| name.parse().ok())
}

/// Calls one of the re-entrant look-ups with a buffer as large as it needs. The returned entry points into the buffer.
fn lookup<T>(
    call: impl Fn(*mut T, &mut [libc::c_char], *mut *mut T) -> libc::c_int,
) -> io::Result<Option<(T, Vec<libc::c_char>)>> {
    let mut buffer = vec![0; 1024];
    loop {
        let mut entry = std::mem::MaybeUninit::<T>::uninit();
        let mut result = ptr::null_mut();
        match call(entry.as_mut_ptr(), &mut buffer, &raw mut result) {
            0 if result.is_null() => return Ok(None),
            // SAFETY: a result that is not null says that the entry was filled in.
            0 => return Ok(Some((unsafe { entry.assume_init() }, buffer))),
            libc::ERANGE if buffer.len() < LARGEST => buffer.resize(buffer.len() * 4, 0),
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_id() {
        assert_eq!(name(0), "root");
        assert_eq!(uid("root"), Some(0));
        assert_eq!(gid("root"), Some(0));
        assert_eq!(uid("no-such-user"), None);
        assert_eq!(gid("4711"), Some(4711));
        assert_eq!(name(4_000_000_001), "4000000001");
    }
}
