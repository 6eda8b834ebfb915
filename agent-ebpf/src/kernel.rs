//! The only reader of kernel structures.
//!
//! There are three ways to read. [`member`] and [`load`] follow a pointer that the verifier has typed, by a plain
//! load, and the result keeps its type. [`peek`] copies from an address that is only a number. `read!` first gives
//! such an address a type if the kernel can do that, and copies otherwise. All read zeroes where nothing is mapped.
//! Seldom operations load pointers through [`untrusted!`](crate::untrusted), so that the verifier does not search for
//! their types. Offsets come from the running kernel's BTF: the loader writes them into the instructions.

#[macro_use]
mod access;
mod case;
mod credentials;
mod file;
mod mounts;
mod path;
mod socket;
mod task;
mod terminals;

pub(crate) use access::{
    argument, constant, copy, hide_from_optimizer, load, member, now, peek, read_word, untrusted,
};
pub(crate) use case::ignores_case;
pub(crate) use credentials::{gains_privilege, has_borrowed_credentials, is_io_uring_worker};
pub(crate) use file::{
    FMODE_EXEC, FMODE_READ, FMODE_WRITE, MAY_APPEND, MAY_READ, MAY_WRITE, O_TMPFILE, OpenFile,
    S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, has_set_id_bits, is_backing,
    is_character_device, is_socket, is_watch,
};
pub(crate) use mounts::{
    FileSystem, current_mount_namespace, is_internal, is_readonly, mount_namespace, mount_root,
    mounted_on,
};
pub(crate) use path::{
    Changes, Place, file_system_magic, identity, inode_of, is_unhashed, number_and_generation,
    parent, parent_and_name,
};
pub(crate) use socket::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, AF_UNSPEC, IPPROTO_MPTCP, IPPROTO_TCP, IPPROTO_UDP,
    SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM, is_datagrams, is_internet, reset,
    socket_inode, socket_of,
};
pub(crate) use task::{
    Task, current, current_ids, first_storage, has_storage, hint, parent_of_current, procfs_task,
    unknown_zero,
};
pub(crate) use terminals::{
    SignalOwner, first_member, foreground_group, group_leader, member_task, next_member,
    signal_owner,
};
