//! The same system calls by other tables: those of 32-bit programs and of x32.

use crate::catalogue::{Attack, attack};

pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = low();
    all.extend(x32());
    all
}

/// By `int 0x80`, with numbers of the 32-bit table (arch/x86/entry/syscalls/syscall_32.tbl).
fn low() -> Vec<Attack> {
    vec![
        attack(
            "open by the 32-bit entry",
            "file_open",
            "file.open",
            "sys32 5 s=@no/file 0 0",
            "sys32 5 s=@rw/file 0 0",
        ),
        attack(
            "open for writing by the 32-bit entry",
            "file_open",
            "file.open",
            "sys32 295 -100 s=@ro/file 1 0",
            "sys32 295 -100 s=@rw/file 1 0",
        ),
        attack(
            "make a file by the 32-bit entry",
            "path_mknod",
            "file.create",
            "sys32 8 s=@ro/new 420",
            "sys32 8 s=@rw/new 420",
        ),
        attack(
            "remove a file by the 32-bit entry",
            "path_unlink",
            "file.delete",
            "sys32 10 s=@ro/file",
            "sys32 10 s=@rw/file",
        ),
        attack(
            "rename a file by the 32-bit entry",
            "path_rename",
            "file.rename",
            "sys32 38 s=@ro/file s=@rw/new",
            "sys32 38 s=@rw/file s=@rw/good",
        ),
        attack(
            "link a file by the 32-bit entry",
            "path_link",
            "file.link",
            "sys32 9 s=@no/file s=@rw/new",
            "sys32 9 s=@rw/file s=@rw/good",
        ),
        attack(
            "empty a file by the 32-bit entry",
            "path_truncate",
            "file.setattr",
            "sys32 92 s=@ro/file 0",
            "sys32 92 s=@rw/file 0",
        ),
        attack(
            "change a mode by the 32-bit entry",
            "path_chmod",
            "file.setattr",
            "sys32 15 s=@ro/file 438",
            "sys32 15 s=@rw/file 438",
        ),
        attack(
            "connect by the 32-bit entry",
            "socket_connect",
            "net.connect",
            "sys32 362 socket=2,1,0 x=02001c867f0000010000000000000000 16",
            "sys32 362 socket=2,1,0 x=02001c857f0000010000000000000000 16",
        ),
        attack(
            "make a socket by the 32-bit entry",
            "socket_create",
            "net.socket",
            "sys32 359 16 3 15",
            "sys32 359 2 1 0",
        ),
        attack(
            "kill by the 32-bit entry",
            "task_kill",
            "process.signal",
            "sys32 37 {victim} 9",
            "own-child signal",
        ),
        attack(
            "trace by the 32-bit entry",
            "ptrace_access_check",
            "process.trace",
            "sys32 26 16 {victim} 0 0",
            "own-child trace",
        ),
        attack(
            "have a descriptor signal another process, by the 32-bit entry",
            "file_ioctl_compat",
            "file.ioctl",
            "sys32 54 socket=1,1,0 0x8901 x=01000000",
            "sys32 54 socket=1,1,0 0x541b z=4",
        )
        .error("EPERM"),
        attack(
            "name whom a descriptor signals, by the 32-bit entry",
            "file_fcntl",
            "process.signal",
            "sys32 221 socket=1,1,0 8 {victim}",
            "sys32 221 socket=1,1,0 8 0",
        ),
        attack(
            "mount by the 32-bit entry",
            "sb_mount",
            "priv.mount",
            "sys32 21 s=tmpfs s=@rw/empty s=tmpfs 0 0",
            "open-read @rw/file",
        )
        .privileged(),
    ]
}

/// By the bit that asks for x32.
fn x32() -> Vec<Attack> {
    vec![
        attack(
            "open by an x32 call",
            "file_open",
            "file.open",
            "sysx32 open s=@no/file 0 0",
            "sysx32 open s=@rw/file 0 0",
        ),
        attack(
            "open for writing by an x32 call",
            "file_open",
            "file.open",
            "sysx32 openat -100 s=@ro/file 1 0",
            "sysx32 openat -100 s=@rw/file 1 0",
        ),
        attack(
            "remove a file by an x32 call",
            "path_unlink",
            "file.delete",
            "sysx32 unlink s=@ro/file",
            "sysx32 unlink s=@rw/file",
        ),
        attack(
            "rename a file by an x32 call",
            "path_rename",
            "file.rename",
            "sysx32 rename s=@ro/file s=@rw/new",
            "sysx32 rename s=@rw/file s=@rw/good",
        ),
        attack(
            "make a socket by an x32 call",
            "socket_create",
            "net.socket",
            "sysx32 socket 16 3 15",
            "sysx32 socket 2 1 0",
        ),
        attack(
            "connect by an x32 call",
            "socket_connect",
            "net.connect",
            "sysx32 connect socket=2,1,0 x=02001c867f0000010000000000000000 16",
            "sysx32 connect socket=2,1,0 x=02001c857f0000010000000000000000 16",
        ),
        attack(
            "trace by an x32 call",
            "ptrace_access_check",
            "process.trace",
            "sysx32 521 16 {victim} 0 0",
            "own-child trace",
        ),
        attack(
            "kill by an x32 call",
            "task_kill",
            "process.signal",
            "sysx32 kill {victim} 9",
            "own-child signal",
        ),
    ]
}
