//! What aya has no call for: values of task storage, by pidfd.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use agent_common::id::Tag;

/// Commands of the `bpf` system call (`enum bpf_cmd`, include/uapi/linux/bpf.h).
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;

/// The member of `union bpf_attr` for operations on elements.
#[repr(C)]
struct Element {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn element(
    command: libc::c_int,
    map: BorrowedFd<'_>,
    key: &libc::c_int,
    value: *mut Tag,
) -> io::Result<()> {
    let attributes = Element {
        map: map.as_raw_fd().cast_unsigned(),
        padding: 0,
        key: (&raw const *key) as u64,
        value: value as u64,
        flags: 0,
    };
    // SAFETY: the attributes are those that the command reads, and key and value are valid for the sizes
    // that the map has.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw const attributes, size_of::<Element>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sets the tag of the task behind a pidfd.
///
/// # Errors
/// What the kernel says: `ESRCH` when it is gone.
pub fn set_tag(map: BorrowedFd<'_>, pidfd: BorrowedFd<'_>, tag: Tag) -> io::Result<()> {
    let mut tag = tag;
    element(MAP_UPDATE_ELEM, map, &pidfd.as_raw_fd(), &raw mut tag)
}

/// The tag of the task behind a pidfd.
///
/// # Errors
/// What the kernel says.
pub fn tag(map: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> io::Result<Option<Tag>> {
    let mut tag = Tag {
        session: agent_common::id::SessionId(0),
        slot: agent_common::id::Slot(0),
        reserved: 0,
    };
    match element(MAP_LOOKUP_ELEM, map, &pidfd.as_raw_fd(), &raw mut tag) {
        Ok(()) => Ok(Some(tag)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
