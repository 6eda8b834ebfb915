//! Reading and changing files that no tool of the session covers.

use crate::catalogue::{Attack, attack};

pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = opening();
    all.extend(detours());
    all.extend(kernel_files());
    all.extend(metadata());
    all
}

/// Opening what is not covered, with each mode.
fn opening() -> Vec<Attack> {
    let open = |name, act, control| attack(name, "file_open", "file.open", act, control);
    vec![
        open("read a file", "open-read @no/file", "open-read @rw/file"),
        open("write a file that may be read", "open-write @ro/file", "open-write @rw/file"),
        open("open for both", "open-both @ro/file", "open-both @rw/file"),
        open("append to a file that may be read", "open-append @ro/file", "open-append @rw/file"),
        open("empty a file by opening it", "open-empty @ro/file", "open-empty @rw/file"),
        open(
            "empty a file by opening it for reading",
            "sys open s=@ro/file 512 0",
            "sys open s=@rw/file 512 0",
        ),
        open("open for device control only", "open-ioctl @no/file", "open-ioctl @rw/file"),
        open("list a folder", "list @no", "list @rw"),
        open("open below a descriptor", "open-at @no folder/inner", "open-at @rw folder/inner"),
        open("open by openat2", "openat2 @no/file", "openat2 @rw/file"),
        open("read what is denied within a tool", "open-read @rw/key", "open-read @rw/file"),
        open("read below a denied folder", "open-read @rw/secret/file", "open-read @rw/file"),
        attack(
            "make a file that does not exist",
            "path_mknod",
            "file.create",
            "open-create @ro/new",
            "open-create @rw/new",
        ),
        attack(
            "make a denied file that does not exist",
            "path_mknod",
            "file.create",
            "create @rw/newkey",
            "create @rw/new",
        ),
        attack(
            "make a file without a name",
            "file_open",
            "file.create",
            "tmpfile @ro",
            "tmpfile @rw",
        ),
        attack(
            "give a file without a name one",
            "path_link",
            "file.link",
            "tmpfile-link @rw @ro/new",
            "tmpfile-link @rw @rw/new",
        ),
        attack(
            "empty a file by its name",
            "path_truncate",
            "file.setattr",
            "truncate @ro/file",
            "truncate @rw/file",
        ),
        attack("read by a handle", "capable", "", "by-handle @rw @no/file", "open-read @rw/file")
            .privileged()
            .error("EPERM")
            .unrecorded(),
    ]
}

/// Other ways to the same files.
fn detours() -> Vec<Attack> {
    let open = |name, act, control| attack(name, "file_open", "file.open", act, control);
    vec![
        open("read by dots", "open-read @rw/../no/file", "open-read @no/../rw/file"),
        open(
            "read by dots and slashes",
            "open-read @rw//folder/.././/../no/./file",
            "open-read @no//folder/.././/../rw/./file",
        ),
        open(
            "read by a symbolic link",
            "all symlink @no/file @rw/hop and open-read @rw/hop",
            "all symlink @rw/file @rw/way and open-read @rw/way",
        ),
        open(
            "read by a symbolic link to a folder",
            "all symlink @no @rw/hop and open-read @rw/hop/folder/inner",
            "all symlink @rw @rw/way and open-read @rw/way/folder/inner",
        ),
        open(
            "read in the working folder",
            "in-child all chdir @no and open-read file",
            "in-child all chdir @rw and open-read file",
        ),
        open(
            "read by /proc/self/root",
            "open-read /proc/self/root{at}/no/file",
            "open-read /proc/self/root{at}/rw/file",
        ),
        open(
            "read by /proc/self/cwd",
            "in-child all chdir @no and open-read /proc/self/cwd/file",
            "in-child all chdir @rw and open-read /proc/self/cwd/file",
        ),
        open(
            "read by /proc/thread-self/root",
            "open-read /proc/thread-self/root{at}/no/file",
            "open-read /proc/thread-self/root{at}/rw/file",
        ),
        open(
            "open a path descriptor again",
            "all keep-path a @no/file and kept-reopen a",
            "all keep-path a @rw/file and kept-reopen a",
        ),
        open(
            "open a descriptor again for writing",
            "all keep-read a @ro/file and kept-reopen-write a",
            "all keep-read a @rw/file and kept-reopen-write a",
        ),
        open(
            "read below a path descriptor",
            "all keep-path a @no and kept-open-at a folder/inner",
            "all keep-path a @rw and kept-open-at a folder/inner",
        ),
        open(
            "read in a changed root",
            "in-child all chroot @no and open-read /file",
            "in-child all chroot @rw and open-read /file",
        )
        .privileged(),
        attack(
            "read through another process's root",
            "ptrace_access_check",
            "process.trace",
            "open-read /proc/{victim}/root{at}/rw/file",
            "open-read /proc/self/root{at}/rw/file",
        )
        .error("EACCES"),
        attack(
            "make a file by a dangling link",
            "path_mknod",
            "file.create",
            "all symlink @no/new @rw/hop and open-create @rw/hop",
            "all symlink @rw/new @rw/way and open-create @rw/way",
        ),
        attack(
            "make a file with a long name",
            "path_mknod",
            "file.create",
            "open-create @no/{long}",
            "open-create @rw/{long}",
        ),
        attack(
            "make a file with a name that is no text",
            "path_mknod",
            "file.create",
            "open-create @no/{raw}",
            "open-create @rw/{raw}",
        ),
        open("read 300 folders deep", "deep-read @no 300", "deep-read @rw 300")
            .before("all deep-make @no 300 and deep-make @rw 300"),
        open("read 2,100 folders deep", "deep-read @no 2100", "deep-read @rw 1000")
            .before("all deep-make @no 2100 and deep-make @rw 1000")
            .anywhere(),
    ]
}

/// Files of the kernel that change the host.
fn kernel_files() -> Vec<Attack> {
    let write = |name, act| attack(name, "file_open", "file.open", act, "open-write @rw/file");
    vec![
        write("set the program for core dumps", "open-write /proc/sys/kernel/core_pattern")
            .privileged(),
        write("set the program for modules", "open-write /proc/sys/kernel/modprobe").privileged(),
        write("press a system request key", "open-write /proc/sysrq-trigger").privileged(),
        write("write the machine's memory", "open-both /dev/mem").privileged(),
        write("write to the kernel's log", "open-write /dev/kmsg").privileged(),
        write("leave a control group by writing its file", "open-write /sys/fs/cgroup/cgroup.procs").privileged(),
        write("write to the console", "open-write /dev/console").privileged(),
        write("trace the kernel", "open-write /sys/kernel/tracing/set_event").privileged(),
    ]
}

/// What is known of a file beside its content.
fn metadata() -> Vec<Attack> {
    let change = |name, hook, act, control| attack(name, hook, "file.setattr", act, control);
    vec![
        change("change the mode", "path_chmod", "chmod @ro/file 0666", "chmod @rw/file 0666"),
        change("change a folder's mode", "path_chmod", "chmod @no 0777", "chmod @rw 0777"),
        change("change the owner", "path_chown", "sys chown s=@ro/file {uid} {gid}", "sys chown s=@rw/file {uid} {gid}"),
        change(
            "change a link's owner",
            "path_chown",
            "sys lchown s=@ro/file {uid} {gid}",
            "sys lchown s=@rw/file {uid} {gid}",
        ),
        change("change the times", "inode_setattr", "touch @no/file", "touch @rw/file"),
        change(
            "change the times of an open file",
            "inode_setattr",
            "sys utimensat r=@ro/file 0 0 0",
            "sys utimensat r=@rw/file 0 0 0",
        ),
        change(
            "give a program capabilities",
            "inode_setxattr",
            "sys setxattr s=@rw/true s=security.capability x=0000000201000000000000000000000000000000 20 0",
            "sys setxattr s=@rw/true s=security.capability x=0000000200000000000000000000000000000000 20 0",
        )
        .privileged(),
        change("make a program set-id", "path_chmod", "chmod @rw/true 04755", "chmod @rw/true 0755"),
        change("make a program set-group", "path_chmod", "chmod @rw/true 02755", "chmod @rw/folder 02755"),
        attack(
            "make a file that is set-id",
            "path_mknod",
            "file.create",
            "sys open s=@rw/new 65 0x9ed",
            "sys open s=@rw/good 65 0x1ed",
        ),
        attack(
            "make a file without a name that is set-id",
            "file_open",
            "file.create",
            "sys open s=@rw 0x410002 0x9ed",
            "sys open s=@rw 0x410002 0x1ed",
        ),
        attack(
            "read an attribute",
            "inode_getxattr",
            "file.open",
            "sys 191 s=@no/file s=user.attack z=16 16",
            "all setxattr @rw/file user.attack and sys 191 s=@rw/file s=user.attack z=16 16",
        )
        .plain("ENODATA")
        .absent_on(&["6.1"], "EOPNOTSUPP", "this kernel's tmpfs has no attributes of users"),
        change(
            "set an access control list",
            "inode_set_acl",
            "sys setxattr s=@ro/file s=system.posix_acl_access x=0200000001000600ffffffff04000400ffffffff20000400ffffffff 28 0",
            "sys setxattr s=@rw/file s=system.posix_acl_access x=0200000001000600ffffffff04000400ffffffff20000400ffffffff 28 0",
        )
        .stopped_by_on(&["6.1"], "inode_setxattr"),
        change(
            "remove an access control list",
            "inode_remove_acl",
            "sys removexattr s=@ro/file s=system.posix_acl_access",
            "sys removexattr s=@rw/file s=system.posix_acl_access",
        )
        .stopped_by_on(&["6.1"], "inode_removexattr"),
        change(
            "remove an attribute",
            "inode_removexattr",
            "sys removexattr s=@ro/file s=user.attack",
            "all sys setxattr s=@rw/file s=user.attack x=01 1 0 \
             and sys removexattr s=@rw/file s=user.attack",
        )
        .plain("ENODATA")
        .absent_on(&["6.1"], "EOPNOTSUPP", "this kernel's tmpfs has no attributes of users"),
        attack(
            "set a file's flags",
            "file_ioctl",
            "file.ioctl",
            "sys ioctl r=@ro/file 0x40086602 x=4000000000000000",
            "sys ioctl r=@rw/file 0x40086602 x=4000000000000000",
        ),
        change(
            // `file_setattr`, which has no name in libc yet, with `FS_XFLAG_NODUMP`.
            "set a file's flags by its name",
            "inode_file_setattr",
            "sys 469 -100 s=@ro/file x=800000000000000000000000000000000000000000000000 24 0",
            "sys 469 -100 s=@rw/file x=800000000000000000000000000000000000000000000000 24 0",
        )
        .absent_on(&["6.1", "6.12"], "ENOSYS", "this kernel has no such call"),
        attack(
            "set a file's flags by the 32-bit entry",
            "file_ioctl_compat",
            "file.ioctl",
            "sys32 54 r=@ro/file 1074030082 x=40000000",
            "sys32 54 r=@rw/file 1074030082 x=40000000",
        )
        .stopped_by_on(&["6.1"], "file_ioctl"),
        attack(
            "see a file's size and times",
            "inode_getattr",
            "file.open",
            "stat @no/file",
            "stat @rw/file",
        )
        .not_stopped("what may be known without opening is not mediated"),
        attack(
            "hold up who opens a file, by a lease",
            "file_fcntl",
            "file.use",
            "sys fcntl r=@ro/file 1024 0",
            "sys fcntl r=@rw/file 1024 0",
        ),
        attack(
            "hold up who locks a file",
            "file_lock",
            "file.use",
            "sys 73 r=@ro/file 2",
            "sys 73 r=@rw/file 2",
        ),
        attack("watch a file", "path_notify", "file.open", "watch @no/file", "watch @rw/file"),
    ]
}
