//! The only reader of kernel structures.
//!
//! Three ways to read: [`load`] follows a pointer that the verifier has typed, with a plain load, and the
//! result keeps its type; [`peek`] copies from an address that is only a number, and fails where nothing
//! is mapped; [`read`] types such an address first where the kernel can, and copies where it can't. Each
//! reads zeroes where nothing is mapped. Offsets come from the running kernel's BTF; the loader writes them into the
//! instructions.

mod credentials;

use core::{
    ffi::c_void,
    mem::{MaybeUninit, offset_of},
};

use agent_common::{
    cache::InodeIdentity,
    offsets::{CAST, CONSTANT, MEMBER, Offsets, RESET},
};
use aya_ebpf::{
    EbpfContext as _,
    helpers::generated::{
        bpf_get_current_pid_tgid, bpf_get_current_task_btf, bpf_ktime_get_boot_ns,
        bpf_probe_read_kernel,
    },
    programs::LsmContext,
};

pub use case::ignores_case;
pub use credentials::{acts_for_another, gains_privilege, is_ring_worker};
pub use file::{
    FMODE_EXEC, FMODE_READ, FMODE_WRITE, MAY_APPEND, MAY_READ, MAY_WRITE, O_TMPFILE, S_IFBLK,
    S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, gives_privilege, is_backing, is_device,
    is_socket, is_watch,
};
pub use mounts::{
    FileSystem, is_internal, is_readonly, mount_root, mounted_on, namespace_of, own_mounts,
};
pub use socket::{
    AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, AF_UNSPEC, IPPROTO_MPTCP, IPPROTO_TCP, IPPROTO_UDP,
    SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM, is_datagrams, is_internet, socket_inode,
    socket_of,
};
pub use terminals::{
    SignalOwner, first_member, foreground, leader, member_at, next_member, signal_owner,
};

/// The value of a field of `Offsets` on the running kernel, a constant of the instruction.
#[macro_export]
macro_rules! offset {
    ($($field:ident).+) => {
        $crate::kernel::constant::<
            { core::mem::offset_of!(agent_common::offsets::Offsets, $($field).+) },
        >()
    };
}

/// Reads a member, by the field of `Offsets` that says where it is, through a pointer that the verifier has
/// typed: one instruction. The result keeps its type.
#[macro_export]
macro_rules! member {
    ($type:ty, $base:expr, $field:ident) => {
        $crate::kernel::member::<
            $type,
            { core::mem::offset_of!(agent_common::offsets::Offsets, $field) },
        >($base)
    };
    ($base:expr, $field:ident) => {
        $crate::member!(_, $base, $field)
    };
}

/// The value that the loader puts into an instruction for the field at `FIELD` of `Offsets`.
macro_rules! loaded {
    ($instruction:literal) => {{
        let value: u64;
        // SAFETY: the instruction loads a constant.
        unsafe {
            core::arch::asm!(
                $instruction,
                value = lateout(reg) value,
                stand_in = const CONSTANT + FIELD as i32,
                options(pure, nomem, nostack),
            );
        }
        value
    }};
}

/// The field at that place of `Offsets`, which is a `u32`: see [`offset`].
#[inline(always)]
pub fn constant<const FIELD: usize>() -> u64 {
    loaded!("{value} = {stand_in}")
}

/// The field at that place of `Offsets`, which is a `u64`.
#[inline(always)]
fn address<const FIELD: usize>() -> u64 {
    loaded!("{value} = {stand_in} ll")
}

/// See [`member`].
#[inline(always)]
pub fn member<T: Copy, const FIELD: usize>(base: *const c_void) -> T {
    let value: u64;
    macro_rules! load {
        ($size:literal) => {
            // SAFETY: the verifier checks the access against the kernel's BTF, and a fault reads as zero.
            unsafe {
                core::arch::asm!(
                    concat!("{value} = *(", $size, " *)({base} + {stand_in})"),
                    value = lateout(reg) value,
                    base = in(reg) base,
                    stand_in = const MEMBER as i32 + FIELD as i32 / 4,
                    options(readonly, nostack),
                )
            }
        };
    }
    match size_of::<T>() {
        8 => load!("u64"),
        4 => load!("u32"),
        2 => load!("u16"),
        _ => load!("u8"),
    }
    // SAFETY: the value has at least as many bytes, the lowest first; every `T` here is of integers or a
    // pointer.
    unsafe { core::mem::transmute_copy(&value) }
}

/// A kernel task, typed by the verifier.
#[derive(Clone, Copy)]
pub struct Task(pub *const c_void);

/// The task that runs.
#[inline(always)]
pub fn current() -> Task {
    // SAFETY: the helper has no precondition.
    Task(unsafe { bpf_get_current_task_btf() }.cast_const().cast())
}

/// Address of the running task's parent.
#[inline(always)]
pub fn parent_of_current() -> u64 {
    member!(u64, current().0, task_real_parent)
}

/// Whether the task has any local storage: without it, it has no tag. One load, no helper.
#[inline(always)]
pub fn has_storage(task: Task) -> bool {
    member!(u64, task.0, task_bpf_storage) != 0
}

/// The first value that any program keeps with a task, where the kernel can type addresses: the address of its
/// map, and its first two words; `None` where there is none.
#[inline(always)]
pub fn first_storage(task: Task) -> Option<(u64, u64, u64)> {
    let storage: *const c_void = member!(task.0, task_bpf_storage);
    if storage.is_null() {
        return None;
    }
    // `hlist_head` and `hlist_node` are a pointer each at first.
    let node: u64 = member!(storage, storage_list);
    if node == 0 {
        return None;
    }
    let value = cast(node + offset!(storage_node_sdata), offset!(types.words));
    Some((
        member!(value, storage_data_smap),
        member!(value, storage_data_data),
        member!(value, storage_data_second),
    ))
}

/// Reads a member through a pointer that the verifier has typed.
#[inline(always)]
pub fn load<T: Copy>(base: *const c_void, offset: u64) -> T {
    // SAFETY: the verifier checks the access against the kernel's BTF, and a fault reads as zero.
    unsafe { core::ptr::read_volatile(base.cast::<u8>().add(offset as usize).cast::<T>()) }
}

/// Copies a value from a kernel address; all zeroes where nothing is mapped.
#[inline(always)]
pub fn peek<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    copy(value.as_mut_ptr().cast(), size_of::<T>() as u32, address);
    // SAFETY: the helper fills in all bytes, with zeroes where it fails; every `T` here is of integers.
    unsafe { value.assume_init() }
}

/// Reads a member of the structure at an address: typed by `$type`, a field of `Types`, where the kernel
/// can do that, else by copying.
macro_rules! read {
    ($type:ident at $address:expr, $offset:expr) => {{
        let (address, offset): (u64, u64) = ($address, $offset);
        let number = crate::offset!(types.$type);
        if number != 0 {
            $crate::kernel::load(cast(address, number), offset)
        } else {
            $crate::kernel::peek(address + offset)
        }
    }};
}

mod case;
mod file;
mod mounts;
mod socket;
mod terminals;

/// An address as a pointer to a structure of the kernel's BTF (`bpf_rdonly_cast`, kernel/bpf/helpers.c):
/// loads through it are checked against the type, and give zeroes where nothing is mapped.
#[inline(always)]
fn cast(address: u64, number: u64) -> *const c_void {
    let typed: *const c_void;
    // SAFETY: the function has no precondition; the loader puts it in the place of this call.
    unsafe {
        core::arch::asm!(
            "call {cast}",
            cast = const CAST,
            inlateout("r1") address => _,
            inlateout("r2") number => _,
            lateout("r0") typed,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(nostack, nomem, pure),
        );
    }
    typed
}

/// Resets a connection: its peer is told, and whoever waits at this end gets `ECONNABORTED` (`bpf_sock_destroy`,
/// net/core/filter.c). For iterators over sockets alone, and the socket that their context has.
#[inline(always)]
pub fn reset(sock: *const c_void) {
    // SAFETY: the verifier sees to it that the pointer is such a socket's; the loader puts the function in the
    // place of this call.
    unsafe {
        core::arch::asm!(
            "call {reset}",
            reset = const RESET,
            inlateout("r1") sock => _,
            lateout("r0") _,
            lateout("r2") _,
            lateout("r3") _,
            lateout("r4") _,
            lateout("r5") _,
            options(nostack),
        );
    }
}

/// An argument of a hook, as it lies in the context: for a hook whose arguments are others on other kernels.
/// (The compiler would make one load of the two, at a place that it calculates, which the verifier forbids.)
#[inline(always)]
pub fn argument<const NUMBER: usize>(context: &LsmContext) -> *const c_void {
    let value: *const c_void;
    // SAFETY: the verifier checks that the hook has such an argument, where the instruction is reached.
    unsafe {
        core::arch::asm!(
            "{value} = *(u64 *)({context} + {place})",
            value = lateout(reg) value,
            context = in(reg) context.as_ptr(),
            place = const NUMBER * 8,
            options(nostack),
        );
    }
    value
}

/// Copies `len` bytes from a kernel address; on failure the destination is zeroed by the helper.
#[inline(always)]
pub fn copy(to: *mut c_void, len: u32, from: u64) -> bool {
    // SAFETY: the verifier checks that `to` has room for `len` bytes.
    unsafe { bpf_probe_read_kernel(to, len, from as *const c_void) == 0 }
}

/// The same number, of which the compiler forgets what it knew: a bound that follows stays.
#[inline(always)]
pub fn opaque(number: u32) -> u32 {
    // SAFETY: a reference is valid.
    unsafe { core::ptr::read_volatile(&raw const number) }
}

/// Zero, which the verifier does not know: a process's number is below 2^22 (`PID_MAX_LIMIT`, include/linux/threads.h).
#[inline(always)]
pub fn unknown_zero() -> u64 {
    // SAFETY: the helper has no precondition.
    unsafe { bpf_get_current_pid_tgid() >> 63 }
}

/// Nanoseconds since boot.
#[inline(always)]
pub fn now() -> agent_common::id::BootNanos {
    // SAFETY: the helper has no precondition.
    agent_common::id::BootNanos(unsafe { bpf_ktime_get_boot_ns() })
}

/// A file's place: the mount and the dentry by which it is reached, as addresses.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Place {
    /// `struct vfsmount`.
    pub mount: u64,
    /// `struct dentry`.
    pub dentry: u64,
    /// The dentry's parent, where the hook has a dentry that the verifier has typed and that has its name
    /// still; else zero, and nothing is kept.
    pub parent: u64,
    /// Hash and length of the dentry's name, likewise.
    pub name: u64,
}

impl Place {
    /// From a `struct file` that the verifier has typed.
    #[inline(always)]
    pub fn of_file(file: *const c_void) -> Self {
        Self::of_dentry(member!(file, file_path_mnt), member!(file, file_path_dentry))
    }

    /// From a mount, and a dentry that the verifier has typed.
    #[inline(always)]
    pub fn of_dentry(mount: u64, dentry: *const c_void) -> Self {
        let mut place = Self {
            mount,
            dentry: dentry as u64,
            parent: member!(dentry, dentry_parent),
            // Two loads: 6.1 knows the two only apart.
            name: u64::from(member!(u32, dentry, dentry_name))
                | u64::from(member!(u32, dentry, dentry_name_len)) << 32,
        };
        // A dentry that was unlinked has no place any more: what was found before does not answer for it.
        if member!(u64, dentry, dentry_hash_pprev) == 0 {
            place.parent = 0;
            place.name = 0;
        }
        place
    }

    /// From addresses alone: what is decided there is not kept.
    #[inline(always)]
    pub fn at(mount: u64, dentry: u64) -> Self {
        Self { mount, dentry, parent: 0, name: 0 }
    }

    /// From a `struct path` at an address.
    #[inline(always)]
    pub fn peek(path: u64) -> Self {
        let mount = peek(path + offset!(path_mnt));
        Self::at(mount, peek(path + offset!(path_dentry)))
    }
}

/// The kernel's counts of renames and of mount changes; odd while one is under way.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Changes {
    /// Renames.
    pub renames: u32,
    /// Mount changes.
    pub mounts: u32,
}

impl Changes {
    /// As they are now.
    #[inline(always)]
    pub fn now() -> Self {
        Self {
            renames: read!(seqcount at address::<{ offset_of!(Offsets, rename_lock) }>(), 0),
            mounts: read!(seqcount at address::<{ offset_of!(Offsets, mount_lock) }>(), 0),
        }
    }

    /// Whether nothing is under way.
    #[inline(always)]
    pub fn settled(self) -> bool {
        (self.renames | self.mounts) & 1 == 0
    }
}

/// A dentry's parent, and its name: how long, and where.
#[inline(always)]
pub fn parent_and_name(dentry: u64) -> (u64, u64, u64) {
    let number = offset!(types.dentry);
    if number != 0 {
        let typed = cast(dentry, number);
        return (
            member!(typed, dentry_parent),
            u64::from(member!(u32, typed, dentry_name_len)),
            member!(typed, dentry_name_text),
        );
    }
    // Three words that lie side by side in every kernel that we load on (the daemon checks it); `struct
    // qstr` is hash and length, then the pointer (include/linux/dcache.h).
    let [parent, hash_and_len, name]: [u64; 3] = peek(dentry + offset!(dentry_parent));
    (parent, hash_and_len >> 32, name)
}

/// A dentry's parent alone, read anew.
#[inline(always)]
pub fn parent(dentry: u64) -> u64 {
    read!(dentry at dentry, offset!(dentry_parent))
}

/// The word of 64 bits at an address, of whatever lies there.
#[inline(always)]
pub fn word(address: u64) -> u64 {
    read!(words at address, 0)
}

/// The two words of 64 bits at an address, where the kernel can type it.
#[inline(always)]
pub fn words(address: u64) -> [u64; 2] {
    let typed = cast(address, offset!(types.words));
    [load(typed, 0), load(typed, 8)]
}

/// Whether a dentry is no longer in its parent's list of names.
#[inline(always)]
pub fn is_unhashed(dentry: u64) -> bool {
    let pprev: u64 = read!(dentry at dentry, offset!(dentry_hash_pprev));
    pprev == 0
}

/// The magic number of the file system that a dentry belongs to.
#[inline(always)]
pub fn magic(dentry: u64) -> u64 {
    let sb: u64 = read!(dentry at dentry, offset!(dentry_sb));
    read!(super_block at sb, offset!(sb_magic))
}

/// The identity of a dentry's inode; an address of zero where it has none.
#[inline(always)]
pub fn inode_of(dentry: u64) -> InodeIdentity {
    let address: u64 = read!(dentry at dentry, offset!(dentry_inode));
    InodeIdentity {
        address,
        number: read!(inode at address, offset!(inode_number)),
        generation: read!(inode at address, offset!(inode_generation)),
        reserved: 0,
    }
}

/// The identity of an inode that the verifier has typed.
#[inline(always)]
pub fn identity(inode: *const c_void) -> InodeIdentity {
    let (number, generation) = number_and_generation(inode);
    InodeIdentity { address: inode as u64, number, generation, reserved: 0 }
}

/// The number of an inode that the verifier has typed, and which of those with that number it is.
#[inline(always)]
pub fn number_and_generation(inode: *const c_void) -> (u64, u32) {
    (member!(inode, inode_number), member!(inode, inode_generation))
}

/// A `struct file` that the verifier has typed, where the kernel can type addresses.
#[derive(Clone, Copy)]
pub struct OpenFile(pub *const c_void);

impl OpenFile {
    /// Address of its mount.
    #[inline(always)]
    pub fn mount(self) -> u64 {
        member!(self.0, file_path_mnt)
    }

    /// Its dentry.
    #[inline(always)]
    pub fn dentry(self) -> *const c_void {
        member!(self.0, file_path_dentry)
    }

    /// Address of the dentry's parent, and hash and length of its name; zeroes where it lost its name.
    #[inline(always)]
    pub fn name(self) -> (u64, u64) {
        let dentry = self.dentry();
        if member!(u64, dentry, dentry_hash_pprev) == 0 {
            return (0, 0);
        }
        // They lie side by side: the daemon checks it.
        let [parent, name] = words(dentry as u64 + offset!(dentry_parent));
        (parent, name)
    }
}

/// The task that a folder of procfs stands for, as an address; zero if none.
#[inline(always)]
pub fn procfs_task(dentry: u64) -> u64 {
    let inode: u64 = read!(dentry at dentry, offset!(dentry_inode));
    if inode == 0 {
        return 0;
    }
    let proc_inode = inode - offset!(proc_inode_vfs);
    let pid: u64 = peek(proc_inode + offset!(proc_inode_pid));
    if pid == 0 {
        return 0;
    }
    // `tasks[PIDTYPE_PID]`, the first of the lists: `struct pid`, include/linux/pid.h.
    let link: u64 = peek(pid + offset!(pid_tasks));
    if link == 0 {
        return 0;
    }
    link - offset!(task_pid_links)
}
