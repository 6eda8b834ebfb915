//! Operations by io_uring.

use crate::catalogue::{Attack, attack};

pub(crate) fn attacks() -> Vec<Attack> {
    let open = |name, act, control| attack(name, "file_open", "file.open", act, control);
    let ring = |name, hook, operation, act, control| attack(name, hook, operation, act, control);
    vec![
        open("open", "uring-read @no/file", "uring-read @rw/file"),
        open("open in a worker", "uring-worker-read @no/file", "uring-worker-read @rw/file"),
        open("open in a polling thread", "uring-poll-read @no/file", "uring-poll-read @rw/file"),
        open("open by openat2", "ring-open2 @no/file", "ring-open2 @rw/file"),
        open("open for writing", "ring-worker-write @ro/file", "ring-worker-write @rw/file"),
        ring("make a file", "path_mknod", "file.create", "ring-create @ro/new", "ring-create @rw/new"),
        ring("remove a file", "path_unlink", "file.delete", "ring-unlink @ro/file", "ring-unlink @rw/file"),
        ring(
            "remove a file in a worker",
            "path_unlink",
            "file.delete",
            "ring-worker-unlink @ro/second",
            "ring-worker-unlink @rw/second",
        ),
        ring(
            "rename a file",
            "path_rename",
            "file.rename",
            "ring-rename @ro/file @rw/new",
            "ring-rename @rw/file @rw/good",
        ),
        ring("make a folder", "path_mkdir", "file.create", "ring-mkdir @ro/new", "ring-mkdir @rw/new"),
        ring(
            "make a symbolic link",
            "path_symlink",
            "file.create",
            "ring-symlink x @ro/new",
            "ring-symlink x @rw/new",
        ),
        ring(
            "link a file",
            "path_link",
            "file.link",
            "ring-link @no/file @rw/new",
            "ring-link @rw/file @rw/good",
        ),
        ring(
            "give a file an attribute",
            "inode_setxattr",
            "file.setattr",
            "ring-setxattr @ro/file user.attack",
            "ring-setxattr @rw/file user.attack",
        )
        .absent_on(&["6.1"], "EOPNOTSUPP", "this kernel's tmpfs has no attributes of users"),
        ring(
            "use a withheld capability with former credentials",
            "uring_override_creds",
            "priv.credentials",
            "in-child ring-credentials-setxattr @rw/file trusted.attack",
            "open-read @rw/file",
        )
        .then("capable")
        .privileged(),
        ring(
            // Of all capabilities the process keeps `CAP_DAC_READ_SEARCH`, which is withheld, and `CAP_SETGID`. The
            // name has no folders, so that the kernel opens it in the process itself.
            "open a file that nobody may read, with former credentials",
            "uring_override_creds",
            "priv.credentials",
            "in-child all sys chmod s=@rw/second 0 \
             and sys capset x=2205082000000000 x=440000004400000000000000000000000000000000000000 \
             and chdir @rw and ring-credentials-open second",
            "ring-open2 @rw/file",
        )
        .privileged(),
        ring(
            "make a raw socket",
            "socket_create",
            "net.socket",
            "ring-socket 2 3 1",
            "ring-socket 2 1 0",
        )
        .privileged(),
        ring(
            "listen to the kernel's device events",
            "socket_create",
            "net.socket",
            "ring-socket 16 3 15",
            "ring-socket 2 1 0",
        ),
        ring(
            "send a datagram",
            "socket_sendmsg",
            "net.send",
            "ring-sendmsg 127.0.0.1:7302",
            "ring-sendmsg 127.0.0.1:7301",
        ),
        ring(
            "send a datagram without a copy",
            "socket_sendmsg",
            "net.send",
            "ring-sendto 127.0.0.1:7302",
            "ring-sendto 127.0.0.1:7301",
        ),
        ring(
            "send a datagram in a worker",
            "socket_sendmsg",
            "net.send",
            "ring-worker-sendmsg 127.0.0.1:7302",
            "ring-worker-sendmsg 127.0.0.1:7301",
        ),
        ring("control a device", "uring_cmd", "file.ioctl", "ring-cmd @rw/null", "ring-cmd /dev/null")
            .before_by_root("all mknod @rw/null null and chmod @rw/null 0666"),
        ring(
            "control a device in a worker",
            "uring_cmd",
            "file.ioctl",
            "ring-worker-cmd @rw/null",
            "ring-worker-cmd /dev/null",
        )
        .before_by_root("all mknod @rw/null null and chmod @rw/null 0666"),
        ring(
            "bind to a port",
            "socket_bind",
            "net.bind",
            "ring-bind 127.0.0.1:7312",
            "ring-bind 127.0.0.1:7311",
        )
        .absent_on(&["6.1"], "EINVAL", "this kernel's io_uring does not bind"),
    ]
}
