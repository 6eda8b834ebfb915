//! Where the running kernel keeps what the programs read: the daemon finds each member in the
//! kernel's BTF, by name, and hands the numbers over as a read-only global.

use crate::assert_layout;

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
            $(#[doc = concat!("Offset of `", $structure, ".", $member, "`.")] pub $field: u32,)*
        }

        impl Offsets {
            /// Nothing known.
            pub const ZERO: Self = Self { rename_lock: 0, mount_lock: 0, $($field: 0,)* };

            /// The members, in the order of the fields: structure and member, by the kernel's names.
            /// A member may be nested: `a.b` is member `b` of the structure that is member `a`.
            pub const MEMBERS: &'static [(&'static str, &'static str)] =
                &[$(($structure, $member),)*];

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
    task_group_leader = "task_struct"."group_leader";
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
    path_mnt = "path"."mnt";
    path_dentry = "path"."dentry";
    dentry_hash_pprev = "dentry"."d_hash.pprev";
    dentry_parent = "dentry"."d_parent";
    dentry_name = "dentry"."d_name";
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
    proc_inode_pid = "proc_inode"."pid";
    proc_inode_vfs = "proc_inode"."vfs_inode";
    pid_tasks = "pid"."tasks";
    storage_list = "bpf_local_storage"."list";
    storage_elem_snode = "bpf_local_storage_elem"."snode";
    storage_elem_sdata = "bpf_local_storage_elem"."sdata";
    storage_data_smap = "bpf_local_storage_data"."smap";
    storage_data_data = "bpf_local_storage_data"."data";
    vma_file = "vm_area_struct"."vm_file";
    socket_sk = "socket"."sk";
    socket_type = "socket"."type";
    sock_family = "sock"."__sk_common.skc_family";
    sock_num = "sock"."__sk_common.skc_num";
    sock_rcv_saddr = "sock"."__sk_common.skc_rcv_saddr";
    sock_v6_rcv_saddr = "sock"."__sk_common.skc_v6_rcv_saddr";
    unix_path = "unix_sock"."path";
    unix_addr = "unix_sock"."addr";
    unix_address_len = "unix_address"."len";
    unix_address_name = "unix_address"."name";
    msghdr_name = "msghdr"."msg_name";
    msghdr_namelen = "msghdr"."msg_namelen";
    msghdr_flags = "msghdr"."msg_flags";
}

assert_layout!(Offsets, 16 + 4 * 56, 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_fields_are_as_many() {
        let mut offsets = Offsets::default();
        offsets.set(Offsets::MEMBERS.len() - 1, 7);
        assert_eq!(offsets.msghdr_flags, 7);
        let before = offsets;
        offsets.set(Offsets::MEMBERS.len(), 9);
        assert_eq!(offsets, before);
    }
}
