//! Commands of the `bpf` system call that aya does not have: task storage by pidfd, many values at once, maps of maps,
//! iterators, links.

mod functions;

use std::{
    ffi::CString,
    fs,
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use agent_common::id::Tag;

pub(super) use functions::{functions, replace as replace_function, types};

/// Commands of the `bpf` system call (`enum bpf_cmd`, include/uapi/linux/bpf.h).
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const MAP_LOOKUP_BATCH: libc::c_int = 24;

const MAP_CREATE: libc::c_int = 0;
const OBJ_PIN: libc::c_int = 6;
/// `BPF_MAP_TYPE_ARRAY_OF_MAPS`.
const ARRAY_OF_MAPS: u32 = 12;

/// The system call. The attributes must be those of the command.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_long> {
    // SAFETY: the callers pass the attributes that the command reads, with valid pointers in them.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The member of `union bpf_attr` that makes a map, up to the fields that an array of maps needs.
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
    pin(descriptor(MAP_CREATE, &attributes)?.as_fd(), path)
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

/// One command on one element; `value` is null where the command takes none.
fn element<K, V>(
    command: libc::c_int,
    map: BorrowedFd<'_>,
    key: &K,
    value: *mut V,
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

/// The member of `union bpf_attr` for operations on many elements.
#[repr(C)]
struct Batch {
    from: u64,
    reached: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// The first `many` values of an array, by one call.
///
/// # Errors
/// What the kernel says.
pub(super) fn values(map: BorrowedFd<'_>, many: usize) -> io::Result<Vec<u64>> {
    let (mut keys, mut values, mut reached) = (vec![0_u32; many], vec![0_u64; many], 0_u32);
    let attributes = Batch {
        from: 0,
        reached: (&raw mut reached) as u64,
        keys: keys.as_mut_ptr() as u64,
        values: values.as_mut_ptr() as u64,
        count: many as u32,
        map: map.as_raw_fd().cast_unsigned(),
        element_flags: 0,
        flags: 0,
    };
    bpf(MAP_LOOKUP_BATCH, &attributes)?;
    Ok(values)
}

/// Stores a map at an index of an array of maps, and waits until no running program can use the one before.
///
/// # Errors
/// What the kernel says.
pub(super) fn put_inner(
    outer: BorrowedFd<'_>,
    place: u32,
    inner: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut inner = inner.as_raw_fd();
    element(MAP_UPDATE_ELEM, outer, &place, &raw mut inner)
}

/// Clears an index of an array of maps, and waits until no running program can use the map that was there.
///
/// # Errors
/// What the kernel says; none when there is no map at the index.
pub(super) fn drop_inner(outer: BorrowedFd<'_>, place: u32) -> io::Result<()> {
    match element(MAP_DELETE_ELEM, outer, &place, std::ptr::null_mut::<libc::c_int>()) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// The member of `union bpf_attr` that attaches a program of a hook.
#[repr(C)]
struct Attach {
    name: u64,
    program: u32,
    padding: u32,
    cookie: u64,
}

/// The member of `union bpf_attr` that makes a link. `what` points to the description of an iterator's objects, or is
/// the number of the function that is replaced.
#[repr(C)]
#[derive(Default)]
struct Link {
    program: u32,
    target: u32,
    kind: u32,
    flags: u32,
    what: u64,
    what_len: u32,
    padding: u32,
}

/// Restricts an iterator over tasks to one process (`union bpf_iter_link_info`, member `task`).
#[repr(C)]
struct TaskFilter {
    thread: u32,
    process: u32,
    pidfd: u32,
    padding: u32,
}

/// The member of `union bpf_attr` that runs an iterator.
#[repr(C)]
struct Run {
    link: u32,
    flags: u32,
}

const OBJ_GET: libc::c_int = 7;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const LINK_CREATE: libc::c_int = 28;
const ITER_CREATE: libc::c_int = 33;
/// `BPF_TRACE_ITER` (`enum bpf_attach_type`).
const TRACE_ITER: u32 = 28;

/// A command that returns a new descriptor.
fn descriptor<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    let made = bpf(command, attributes)?;
    // SAFETY: the callers pass a command that returns a new descriptor, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(made as libc::c_int) })
}

/// Opens a pinned program, map or link.
///
/// # Errors
/// What the kernel says.
pub(super) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    descriptor(OBJ_GET, &Pin { path: path.as_ptr() as u64, object: 0, flags: 0 })
}

/// Pins a program or link.
///
/// # Errors
/// What the kernel says.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let object = object.as_raw_fd().cast_unsigned();
    bpf(OBJ_PIN, &Pin { path: path.as_ptr() as u64, object, flags: 0 }).map(drop)
}

/// The member of `union bpf_attr` that asks for information on an object.
#[repr(C)]
struct Info {
    object: u32,
    len: u32,
    info: u64,
}

const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
/// Words of `struct bpf_prog_info` up to `recursion_misses`, and which of them that is (since 5.12).
const INFO_WORDS: usize = 27;
const MISSES: usize = 26;

/// Reads the kernel's information on an object.
fn read_info<T>(object: BorrowedFd<'_>, info: &mut T) -> io::Result<()> {
    let object = object.as_raw_fd().cast_unsigned();
    let (len, info) = (size_of::<T>() as u32, (&raw mut *info) as u64);
    bpf(OBJ_GET_INFO_BY_FD, &Info { object, len, info }).map(drop)
}

/// How often the kernel skipped a program because it was running on the same processor already.
///
/// # Errors
/// What the kernel says.
pub(super) fn misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    let mut info = [0_u64; INFO_WORDS];
    read_info(program, &mut info)?;
    Ok(info.get(MISSES).copied().unwrap_or(0))
}

/// Attaches a loaded program to its hook.
///
/// # Errors
/// What the kernel says.
pub(super) fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let program = program.as_raw_fd().cast_unsigned();
    descriptor(RAW_TRACEPOINT_OPEN, &Attach { name: 0, program, padding: 0, cookie: 0 })
}

/// `BPF_CGROUP_INET_EGRESS` (`enum bpf_attach_type`).
const CGROUP_INET_EGRESS: u32 = 1;

/// Attaches a program to the packets that sockets of a control group, and of those below it, send.
///
/// # Errors
/// What the kernel says.
pub(super) fn attach_to_group(
    program: BorrowedFd<'_>,
    group: BorrowedFd<'_>,
) -> io::Result<OwnedFd> {
    descriptor(
        LINK_CREATE,
        &Link {
            program: program.as_raw_fd().cast_unsigned(),
            target: group.as_raw_fd().cast_unsigned(),
            kind: CGROUP_INET_EGRESS,
            ..Link::default()
        },
    )
}

/// Runs an iterator over the open files of a process, to its end.
///
/// # Errors
/// What the kernel says.
pub(super) fn iterate_files(program: BorrowedFd<'_>, process: u32) -> io::Result<()> {
    let what = TaskFilter { thread: 0, process, pidfd: 0, padding: 0 };
    iterate(program, (&raw const what) as u64, size_of::<TaskFilter>() as u32)
}

/// Runs an iterator over the TCP sockets of this process's network namespace, to its end.
///
/// # Errors
/// What the kernel says.
pub(super) fn iterate_connections(program: BorrowedFd<'_>) -> io::Result<()> {
    iterate(program, 0, 0)
}

/// Runs an iterator over all tasks, to its end, and returns what it writes.
///
/// # Errors
/// What the kernel says.
pub(super) fn iterate_tasks(program: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut written = Vec::new();
    iterator(program, 0, 0)?.read_to_end(&mut written)?;
    Ok(written)
}

/// Runs an iterator to its end. `what` is the address of a filter, or zero for all objects.
fn iterate(program: BorrowedFd<'_>, what: u64, what_len: u32) -> io::Result<()> {
    io::copy(&mut iterator(program, what, what_len)?, &mut io::sink()).map(drop)
}

/// A file that runs an iterator while it is read.
fn iterator(program: BorrowedFd<'_>, what: u64, what_len: u32) -> io::Result<fs::File> {
    let link = descriptor(
        LINK_CREATE,
        &Link {
            program: program.as_raw_fd().cast_unsigned(),
            kind: TRACE_ITER,
            what,
            what_len,
            ..Link::default()
        },
    )?;
    let run = Run { link: link.as_raw_fd().cast_unsigned(), flags: 0 };
    descriptor(ITER_CREATE, &run).map(fs::File::from)
}

/// Sets the tag of the task behind a pidfd.
///
/// # Errors
/// What the kernel says: `ESRCH` when it has exited.
pub(super) fn set_tag(map: BorrowedFd<'_>, pidfd: BorrowedFd<'_>, tag: Tag) -> io::Result<()> {
    let mut tag = tag;
    element(MAP_UPDATE_ELEM, map, &pidfd.as_raw_fd(), &raw mut tag)
}

/// The process id behind a pidfd (proc(5), `fdinfo`).
///
/// # Errors
/// `ESRCH` when it has exited.
pub(super) fn process_of(pidfd: BorrowedFd<'_>) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// Makes sure that the process behind a pidfd exists. One that has exited and was not waited for exists.
///
/// # Errors
/// `ESRCH` when it has exited.
pub fn is_there(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: signal zero only checks that the process exists; the call reads no memory.
    let done = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), 0, std::ptr::null::<u8>(), 0)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The tag of the task behind a pidfd. For a process that has exited the kernel returns the same error as for one
/// without a tag (`ENOENT`, `bpf_pid_task_storage_lookup_elem`), so this checks afterwards that the process still
/// exists.
///
/// # Errors
/// What the kernel says: `ESRCH` when the process has exited.
pub(super) fn tag(map: BorrowedFd<'_>, pidfd: BorrowedFd<'_>) -> io::Result<Option<Tag>> {
    match tag_at(map, pidfd)? {
        None => is_there(pidfd).map(|()| None),
        found => Ok(found),
    }
}

/// The tag in a map's storage of a process or socket, without marks.
///
/// # Errors
/// What the kernel says.
pub(super) fn tag_at(map: BorrowedFd<'_>, descriptor: BorrowedFd<'_>) -> io::Result<Option<Tag>> {
    let mut tag =
        Tag { session: agent_common::id::SessionId(0), slot: agent_common::id::Slot(0), marks: 0 };
    match element(MAP_LOOKUP_ELEM, map, &descriptor.as_raw_fd(), &raw mut tag) {
        Ok(()) => Ok(Some(Tag { marks: 0, ..tag })),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
