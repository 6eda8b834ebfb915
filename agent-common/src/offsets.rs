//! Where the running kernel keeps what the programs read: the daemon finds each member in the
//! kernel's BTF, by name, and writes the numbers into the programs' instructions.

use crate::assert_layout;

/// The call that [`CAST`] stands for in the object: the loader puts the kernel's own function in its place.
pub const CAST: i32 = 0x7e3a_ca57;

/// The call that stands for the kernel's function that resets a connection (`bpf_sock_destroy`, since 6.5).
pub const RESET: i32 = 0x7e3a_ca58;

/// Numbers of structures in the kernel's BTF, to type an address with (`bpf_rdonly_cast`, since 6.2): what
/// is read through a typed address is a plain load, a tenth of what copying by a helper costs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// `struct dentry`.
    pub dentry: u32,
    /// `struct file`.
    pub file: u32,
    /// `struct inode`.
    pub inode: u32,
    /// `struct mount`.
    pub mount: u32,
    /// `struct path`.
    pub path: u32,
    /// `struct vfsmount`.
    pub vfsmount: u32,
    /// `struct seqcount`, which a lock with a counter begins with.
    pub seqcount: u32,
    /// `struct socket`.
    pub socket: u32,
    /// `struct super_block`.
    pub super_block: u32,
    /// `struct task_struct`.
    pub task: u32,
    /// `struct itimerspec64`, four words of 64 bits: for words of whatever lies at an address.
    pub words: u32,
}

assert_layout!(Types, 44, 4);

impl Types {
    /// Nothing known.
    pub const ZERO: Self = Self {
        dentry: 0,
        file: 0,
        inode: 0,
        mount: 0,
        path: 0,
        vfsmount: 0,
        seqcount: 0,
        socket: 0,
        super_block: 0,
        task: 0,
        words: 0,
    };
}

/// What an instruction loads that stands for a field of [`Offsets`]: this and the field's place. The loader
/// puts the field's value there: a constant of the running kernel then costs what a constant does.
pub const CONSTANT: i32 = 0x7e3b_0000;

/// The offset of a load that stands for the value of a field of [`Offsets`]: this and a fourth of the field's
/// place.
pub const MEMBER: i16 = 0x7e00;

macro_rules! offsets {
    ($($field:ident = $structure:literal . $member:literal;)*) => {
        /// Byte offsets of structure members, and the addresses of two locks.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Offsets {
            /// Address of the kernel's `rename_lock`; its first word counts renames (`fs/dcache.c`).
            pub rename_lock: u64,
            /// Address of the kernel's `mount_lock`; its first word counts mount changes
            /// (`fs/namespace.c`).
            pub mount_lock: u64,
            /// Not zero where a fork that fails early frees the storage of the task that forked, and its tag with
            /// it: tags are then kept by the task's address.
            pub storage_is_lost: u32,
            /// Not zero where the first argument of the hook `inode_setattr` is the mount's mapping of users (since
            /// 6.9).
            pub setattr_has_map: u32,
            /// Not zero where a file system's mounts are a chain of pointers (since 6.18), not a list.
            pub mounts_are_chained: u32,
            /// From the node of a value in a task's storage to the value (`bpf_local_storage_elem`, from `snode` to
            /// `sdata`).
            pub storage_node_sdata: u32,
            /// Not zero where values in a task's storage can be read by plain loads, and are not lost.
            pub storage_is_plain: u32,
            /// Offset of a member of `task_struct` that is zero only for tasks without a tag: `bpf_storage`, or a
            /// member that is never zero where the storage can be lost.
            pub task_hint: u32,
            /// Offset of the second word of a value in `bpf_local_storage_data`.
            pub storage_data_second: u32,
            /// Not zero where the owner of a file's signals is not part of the file (since 6.12).
            pub owner_is_apart: u32,
            /// Type numbers in the kernel's BTF; all zero where the kernel can't type an address.
            pub types: Types,
            $(#[doc = concat!("Offset of `", $structure, ".", $member, "`.")] pub $field: u32,)*
        }

        impl Offsets {
            /// Nothing known.
            pub const ZERO: Self = Self {
                rename_lock: 0,
                mount_lock: 0,
                storage_is_lost: 0,
                setattr_has_map: 0,
                mounts_are_chained: 0,
                storage_node_sdata: 0,
                storage_is_plain: 0,
                task_hint: 0,
                storage_data_second: 0,
                owner_is_apart: 0,
                types: Types::ZERO,
                $($field: 0,)*
            };

            /// The members, in the order of the fields: structure and member, by the kernel's names.
            /// A member may be nested: `a.b` is member `b` of the structure that is member `a`. It may have
            /// another name on another kernel: `a|b`.
            pub const MEMBERS: &'static [(&'static str, &'static str)] =
                &[$(($structure, $member),)*];

            /// All fields as words, in the order of their places.
            pub fn words(&self) -> [u32; size_of::<Self>() / 4] {
                // SAFETY: integers alone, without padding (the size is asserted): any words are a value.
                unsafe { core::mem::transmute(*self) }
            }

            /// Sets the member of this index in [`Self::MEMBERS`]. An index out of range changes
            /// nothing.
            pub fn set(&mut self, index: usize, offset: u32) {
                let fields = [$(&mut self.$field,)*];
                if let Some(field) = fields.into_iter().nth(index) {
                    *field = offset;
                }
            }
        }
    };
}

offsets! {
    task_bpf_storage = "task_struct"."bpf_storage";
    task_pid = "task_struct"."pid";
    task_tgid = "task_struct"."tgid";
    task_comm = "task_struct"."comm";
    task_real_parent = "task_struct"."real_parent";
    task_mm = "task_struct"."mm";
    task_real_cred = "task_struct"."real_cred";
    task_cred = "task_struct"."cred";
    task_fs = "task_struct"."fs";
    task_pid_links = "task_struct"."pid_links";
    mm_exe_file = "mm_struct"."exe_file";
    fs_root = "fs_struct"."root";
    file_inode = "file"."f_inode";
    file_mode = "file"."f_mode";
    file_flags = "file"."f_flags";
    file_path = "file"."f_path";
    file_path_mnt = "file"."f_path.mnt";
    file_path_dentry = "file"."f_path.dentry";
    path_mnt = "path"."mnt";
    path_dentry = "path"."dentry";
    dentry_hash_pprev = "dentry"."d_hash.pprev";
    dentry_parent = "dentry"."d_parent";
    dentry_name = "dentry"."d_name";
    dentry_name_len = "dentry"."d_name.len";
    dentry_name_text = "dentry"."d_name.name";
    dentry_inode = "dentry"."d_inode";
    dentry_sb = "dentry"."d_sb";
    qstr_len = "qstr"."len";
    qstr_name = "qstr"."name";
    sb_magic = "super_block"."s_magic";
    vfsmount_root = "vfsmount"."mnt_root";
    mount_mnt = "mount"."mnt";
    mount_parent = "mount"."mnt_parent";
    mount_mountpoint = "mount"."mnt_mountpoint";
    mount_ns = "mount"."mnt_ns";
    inode_mode = "inode"."i_mode";
    inode_nlink = "inode"."i_nlink";
    inode_number = "inode"."i_ino";
    inode_generation = "inode"."i_generation";
    proc_inode_pid = "proc_inode"."pid";
    proc_inode_vfs = "proc_inode"."vfs_inode";
    pid_tasks = "pid"."tasks";
    storage_list = "bpf_local_storage"."list";
    storage_elem_snode = "bpf_local_storage_elem"."snode";
    storage_elem_sdata = "bpf_local_storage_elem"."sdata";
    storage_data_smap = "bpf_local_storage_data"."smap";
    storage_data_data = "bpf_local_storage_data"."data";
    vma_file = "vm_area_struct"."vm_file";
    vma_flags = "vm_area_struct"."vm_flags";
    socket_sk = "socket"."sk";
    socket_file = "socket"."file";
    socket_type = "socket"."type";
    sock_family = "sock"."__sk_common.skc_family";
    sock_num = "sock"."__sk_common.skc_num";
    sock_rcv_saddr = "sock"."__sk_common.skc_rcv_saddr";
    sock_v6_rcv_saddr = "sock"."__sk_common.skc_v6_rcv_saddr";
    sock_daddr = "sock"."__sk_common.skc_daddr";
    sock_v6_daddr = "sock"."__sk_common.skc_v6_daddr";
    sock_dport = "sock"."__sk_common.skc_dport";
    sock_cookie = "sock"."__sk_common.skc_cookie";
    sock_references = "sock"."__sk_common.skc_refcnt";
    sock_kind = "sock"."sk_type";
    sock_protocol = "sock"."sk_protocol";
    unix_peer = "unix_sock"."peer";
    unix_path = "unix_sock"."path";
    unix_addr = "unix_sock"."addr";
    unix_address_len = "unix_address"."len";
    unix_address_name = "unix_address"."name";
    msghdr_name = "msghdr"."msg_name";
    msghdr_namelen = "msghdr"."msg_namelen";
    msghdr_control = "msghdr"."msg_control";
    msghdr_controllen = "msghdr"."msg_controllen";
    task_flags = "task_struct"."flags";
    task_nsproxy = "task_struct"."nsproxy";
    nsproxy_mounts = "nsproxy"."mnt_ns";
    sb_flags = "super_block"."s_flags";
    sb_root = "super_block"."s_root";
    sb_mounts = "super_block"."s_mounts";
    mount_next = "mount"."mnt_instance|mnt_next_for_sb";
    vfsmount_flags = "vfsmount"."mnt_flags";
    iattr_valid = "iattr"."ia_valid";
    binprm_cred = "linux_binprm"."cred";
    cred_uid = "cred"."uid";
    cred_gid = "cred"."gid";
    cred_suid = "cred"."suid";
    cred_sgid = "cred"."sgid";
    cred_euid = "cred"."euid";
    cred_egid = "cred"."egid";
    cred_securebits = "cred"."securebits";
    cred_permitted = "cred"."cap_permitted";
    cred_effective = "cred"."cap_effective";
    ipc_id = "kern_ipc_perm"."id";
    key_serial = "key"."serial";
    key_type = "key"."index_key.type";
    key_description = "key"."index_key.description";
    key_type_name = "key_type"."name";
    udp_pending = "udp_sock"."pending";
    udp_queued = "udp_sock"."reader_queue.qlen";
    sock_queued = "sock"."sk_receive_queue.qlen";
    sock_device = "sock"."__sk_common.skc_bound_dev_if";
    inet_source = "inet_sock"."inet_saddr";
    inet_device = "inet_sock"."uc_index";
    cork_v4_address = "inet_sock"."cork.fl.u.ip4.daddr";
    cork_v4_port = "inet_sock"."cork.fl.u.ip4.uli.ports.dport";
    cork_v6_address = "inet_sock"."cork.fl.u.ip6.daddr";
    cork_v6_port = "inet_sock"."cork.fl.u.ip6.uli.ports.dport";
    task_signal = "task_struct"."signal";
    signal_tty = "signal_struct"."tty";
    tty_foreground = "tty_struct"."ctrl.pgrp";
    file_owner = "file"."f_owner";
    fown_pid = "fown_struct"."pid";
    fown_kind = "fown_struct"."pid_type";
    uring_cmd_file = "io_uring_cmd"."file";
    uring_cmd_op = "io_uring_cmd"."cmd_op";
    dentry_flags = "dentry"."d_flags";
    inode_flags = "inode"."i_flags";
    task_files = "task_struct"."files";
}

assert_layout!(Offsets, 48 + 44 + 4 * 117, 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_fields_are_as_many() {
        let mut offsets = Offsets::default();
        offsets.set(Offsets::MEMBERS.len() - 1, 7);
        assert_eq!(offsets.task_files, 7);
        let before = offsets;
        offsets.set(Offsets::MEMBERS.len(), 9);
        assert_eq!(offsets, before);
    }
}
