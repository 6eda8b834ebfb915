//! What aya has no call for: values of task storage, by pidfd, and maps of maps.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use agent_common::id::Tag;

/// Commands of the `bpf` system call (`enum bpf_cmd`, include/uapi/linux/bpf.h).
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;

const MAP_CREATE: libc::c_int = 0;
const OBJ_PIN: libc::c_int = 6;
/// `BPF_MAP_TYPE_ARRAY_OF_MAPS`.
const ARRAY_OF_MAPS: u32 = 12;

/// The system call, with attributes that are those of the command.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: the attributes are those that the command reads; what they point to is valid, by the callers.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The member of `union bpf_attr` that makes a map, as far as an array of maps needs it.
#[repr(C)]
struct MapOfMaps {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner: u32,
}

/// The member of `union bpf_attr` that pins.
#[repr(C)]
struct Pin {
    path: u64,
    object: u32,
    flags: u32,
}

/// Makes an array of maps like `inner`, and pins it.
///
/// # Errors
/// What the kernel says.
pub(super) fn pin_array_of_maps(
    inner: BorrowedFd<'_>,
    entries: u32,
    path: &Path,
) -> io::Result<()> {
    let attributes = MapOfMaps {
        kind: ARRAY_OF_MAPS,
        key_size: 4,
        value_size: 4,
        max_entries: entries,
        flags: 0,
        inner: inner.as_raw_fd().cast_unsigned(),
    };
    let made = bpf(MAP_CREATE, &attributes)?;
    // SAFETY: the command returns a new descriptor.
    let made = unsafe { OwnedFd::from_raw_fd(made as libc::c_int) };
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attributes =
        Pin { path: path.as_ptr() as u64, object: made.as_raw_fd().cast_unsigned(), flags: 0 };
    bpf(OBJ_PIN, &attributes).map(drop)
}

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
    bpf(command, &attributes).map(drop)
}

/// Sets the tag of the task behind a pidfd.
///
/// # Errors
/// What the kernel says: `ESRCH` when it is gone.
pub(super) fn set_tag(map: BorrowedFd<'_>, pidfd: BorrowedFd<'_>, tag: Tag) -> io::Result<()> {
    let mut tag = tag;
    element(MAP_UPDATE_ELEM, map, &pidfd.as_raw_fd(), &raw mut tag)
}

/// The tag of the task behind a pidfd.
///
/// # Errors
/// What the kernel says.
pub(super) fn tag(map: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> io::Result<Option<Tag>> {
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
