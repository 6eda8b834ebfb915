//! The only reader of kernel structures.
//!
//! Two ways to read: [`load`] follows a pointer that the verifier has typed, with a plain load, and the
//! result keeps its type; [`peek`] copies from an address that is only a number, and fails where nothing
//! is mapped. Offsets come from the running kernel's BTF, through [`OFFSETS`].

use core::{ffi::c_void, mem::MaybeUninit};

use agent_common::offsets::Offsets;
use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_ktime_get_boot_ns, bpf_probe_read_kernel,
};

/// Filled in by the daemon before it loads the programs.
#[unsafe(no_mangle)]
pub static OFFSETS: Offsets = Offsets::ZERO;

/// The value of one field of [`OFFSETS`], which the verifier knows as a constant.
#[macro_export]
macro_rules! offset {
    ($field:ident) => {{
        // SAFETY: the static is valid; the read is volatile because the daemon replaces its contents
        // in the object, so what the compiler sees is not what the program finds.
        unsafe { core::ptr::read_volatile(&raw const $crate::kernel::OFFSETS.$field) }
    }};
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

/// Whether the task has any local storage: without it, it has no tag. One load, no helper.
#[inline(always)]
pub fn has_storage(task: Task) -> bool {
    load::<u64>(task.0, offset!(task_bpf_storage)) != 0
}

/// Reads a member through a pointer that the verifier has typed.
#[inline(always)]
pub fn load<T: Copy>(base: *const c_void, offset: u32) -> T {
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
    /// From a `struct path` that the verifier has typed (or a member of a typed structure).
    #[inline(always)]
    pub fn of_path(base: *const c_void, offset: u32) -> Self {
        let dentry: *const c_void = load(base, offset + offset!(path_dentry));
        Self::of_dentry(load(base, offset + offset!(path_mnt)), dentry)
    }

    /// From a mount, and a dentry that the verifier has typed.
    #[inline(always)]
    pub fn of_dentry(mount: u64, dentry: *const c_void) -> Self {
        // A dentry that was unlinked has no place any more: what was found before does not answer for it.
        if load::<u64>(dentry, offset!(dentry_hash_pprev)) == 0 {
            return Self::at(mount, dentry as u64);
        }
        Self {
            mount,
            dentry: dentry as u64,
            parent: load(dentry, offset!(dentry_parent)),
            // Two loads: 6.1 knows the two only apart.
            name: u64::from(load::<u32>(dentry, offset!(dentry_name)))
                | u64::from(load::<u32>(dentry, offset!(dentry_name) + offset!(qstr_len))) << 32,
        }
    }

    /// From addresses alone: what is decided there is not kept.
    #[inline(always)]
    pub fn at(mount: u64, dentry: u64) -> Self {
        Self { mount, dentry, parent: 0, name: 0 }
    }

    /// From a `struct path` at an address.
    #[inline(always)]
    pub fn peek(path: u64) -> Self {
        let mount = peek(path + u64::from(offset!(path_mnt)));
        Self::at(mount, peek(path + u64::from(offset!(path_dentry))))
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
        Self { renames: peek(offset!(rename_lock)), mounts: peek(offset!(mount_lock)) }
    }

    /// Whether nothing is under way.
    #[inline(always)]
    pub fn settled(self) -> bool {
        (self.renames | self.mounts) & 1 == 0
    }
}

/// The address of the first mount above a mount, and the dentry that it is mounted on: `None` at the
/// root of the namespace.
#[inline(always)]
pub fn mounted_on(mount: u64) -> Option<Place> {
    let whole = mount - u64::from(offset!(mount_mnt));
    let parent: u64 = peek(whole + u64::from(offset!(mount_parent)));
    if parent == whole || parent == 0 {
        return None;
    }
    let mountpoint = peek(whole + u64::from(offset!(mount_mountpoint)));
    Some(Place::at(parent + u64::from(offset!(mount_mnt)), mountpoint))
}

/// Whether a mount is in no namespace but the kernel's own (`MNT_NS_INTERNAL`, fs/mount.h: `-EINVAL` as an
/// address): a layer of overlayfs, or what holds pipes and memfds.
#[inline(always)]
pub fn is_internal(mount: u64) -> bool {
    let whole = mount - u64::from(offset!(mount_mnt));
    peek::<i64>(whole + u64::from(offset!(mount_ns))) == -22
}

/// Whether the running task acts with credentials that are not its own: the kernel put others in their
/// place to do its own work (`override_creds`), as overlayfs does.
#[inline(always)]
pub fn acts_for_another() -> bool {
    let task = current().0;
    load::<u64>(task, offset!(task_cred)) != load::<u64>(task, offset!(task_real_cred))
}

/// The root dentry of a mount.
#[inline(always)]
pub fn mount_root(mount: u64) -> u64 {
    peek(mount + u64::from(offset!(vfsmount_root)))
}

/// A dentry's parent and name: three words that lie side by side in every kernel that we load on (the
/// daemon checks it).
#[inline(always)]
pub fn parent_and_name(dentry: u64) -> [u64; 3] {
    peek(dentry + u64::from(offset!(dentry_parent)))
}

/// Whether a dentry is no longer in its parent's list of names.
#[inline(always)]
pub fn is_unhashed(dentry: u64) -> bool {
    peek::<u64>(dentry + u64::from(offset!(dentry_hash_pprev))) == 0
}

/// The magic number of the file system that a dentry belongs to.
#[inline(always)]
pub fn magic(dentry: u64) -> u64 {
    let sb: u64 = peek(dentry + u64::from(offset!(dentry_sb)));
    peek(sb + u64::from(offset!(sb_magic)))
}

/// The task that a folder of procfs stands for, as an address; zero if none.
#[inline(always)]
pub fn procfs_task(dentry: u64) -> u64 {
    let inode: u64 = peek(dentry + u64::from(offset!(dentry_inode)));
    if inode == 0 {
        return 0;
    }
    let proc_inode = inode - u64::from(offset!(proc_inode_vfs));
    let pid: u64 = peek(proc_inode + u64::from(offset!(proc_inode_pid)));
    if pid == 0 {
        return 0;
    }
    // `tasks[PIDTYPE_PID]`, the first of the lists: `struct pid`, include/linux/pid.h.
    let link: u64 = peek(pid + u64::from(offset!(pid_tasks)));
    if link == 0 {
        return 0;
    }
    link - u64::from(offset!(task_pid_links))
}
