//! Making, removing, moving and linking names that no tool of the session covers.

use crate::catalogue::{Attack, attack};

pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = making();
    all.extend(removing());
    all.extend(linking());
    all.extend(moving());
    all
}

fn making() -> Vec<Attack> {
    let make = |name, hook, act, control| attack(name, hook, "file.create", act, control);
    vec![
        make("make a folder", "path_mkdir", "mkdir @ro/new", "mkdir @rw/new"),
        make("make a folder in a denied one", "path_mkdir", "mkdir @rw/secret/new", "mkdir @rw/new"),
        make("make a pipe", "path_mknod", "mknod @ro/new fifo", "mknod @rw/new fifo"),
        make("make a socket's name", "path_mknod", "mknod @ro/new socket", "mknod @rw/new socket"),
        make("make a file by mknod", "path_mknod", "mknod @ro/new file", "mknod @rw/new file"),
        make("make a symbolic link", "path_symlink", "symlink x @ro/new", "symlink x @rw/new"),
        make(
            "bind a socket to a name",
            "path_mknod",
            "unix-bind stream @ro/socket",
            "unix-bind stream @rw/socket",
        ),
        attack(
            "make a device",
            "capable",
            "priv.capability",
            "device @rw/null",
            "mknod @rw/new fifo",
        )
        .privileged(),
    ]
}

fn removing() -> Vec<Attack> {
    let remove = |name, hook, act, control| attack(name, hook, "file.delete", act, control);
    vec![
        remove("remove a file", "path_unlink", "unlink @ro/file", "unlink @rw/link"),
        remove("remove a denied file", "path_unlink", "unlink @rw/key", "unlink @rw/link"),
        remove("remove a folder", "path_rmdir", "rmdir @ro/empty", "rmdir @rw/empty"),
        remove("remove a symbolic link", "path_unlink", "unlink @ro/link", "unlink @rw/link"),
        remove(
            "remove a file in the working folder",
            "path_unlink",
            "in-child all chdir @ro and unlink file",
            "in-child all chdir @rw and unlink file",
        ),
    ]
}

fn linking() -> Vec<Attack> {
    let link = |name, act, control| attack(name, "path_link", "file.link", act, control);
    vec![
        link("link a file out of a protected folder", "link @no/file @rw/new", "link @rw/file @rw/good"),
        link("link a file that may only be read", "link @ro/file @rw/new", "link @rw/file @rw/good"),
        link("link a file into a protected folder", "link @rw/file @ro/new", "link @rw/file @rw/good"),
        link("link a denied file", "link @rw/key @rw/new", "link @rw/file @rw/good"),
        link("link to a denied name", "link @rw/file @rw/newkey", "link @rw/file @rw/good"),
        link(
            "link a file through a symbolic link",
            "all symlink @no/file @rw/hop and sys linkat -100 s=@rw/hop -100 s=@rw/new 1024",
            "all symlink @rw/file @rw/way and sys linkat -100 s=@rw/way -100 s=@rw/good 1024",
        ),
        link(
            "link an open file that may only be read",
            "all keep-read a @ro/file and kept-link a @rw/new",
            "all keep-read a @rw/file and kept-link a @rw/good",
        ),
    ]
}

fn moving() -> Vec<Attack> {
    let rename = |name, act, control| attack(name, "path_rename", "file.rename", act, control);
    vec![
        rename("move a file out of a protected folder", "rename @no/file @rw/new", "rename @rw/file @rw/good"),
        rename("move a file that may only be read", "rename @ro/file @rw/new", "rename @rw/file @rw/good"),
        rename("move a file into a protected folder", "rename @rw/second @ro/new", "rename @rw/file @rw/good"),
        rename("move a file onto a protected one", "rename @rw/second @ro/file", "rename @rw/file @rw/good"),
        rename("move a file onto a denied one", "rename @rw/second @rw/key", "rename @rw/file @rw/good"),
        rename("move a denied file away", "rename @rw/key @rw/new", "rename @rw/file @rw/good"),
        rename(
            "move a file to a denied name that does not exist",
            "rename-new @rw/second @rw/newkey",
            "rename-new @rw/file @rw/new",
        ),
        rename(
            "exchange a file with one that may only be read",
            "exchange @rw/file @ro/file",
            "exchange @rw/file @rw/second",
        ),
        rename(
            "exchange a protected file with one's own",
            "exchange @no/file @rw/file",
            "exchange @rw/file @rw/second",
        ),
        rename(
            "move a folder below which rules name something",
            "rename @rw @moved",
            "rename @rw/folder @rw/moved",
        ),
        rename(
            "move a protected folder into one's own",
            "rename @no/folder @rw/moved",
            "rename @rw/folder @rw/new",
        ),
        rename(
            "move a denied folder",
            "rename @rw/secret @rw/moved",
            "rename @rw/folder @rw/new",
        ),
        rename(
            "move a folder onto a protected one",
            "rename @rw/folder @ro/empty",
            "rename @rw/empty @rw/new",
        ),
        rename(
            // The folder may be moved, what is in it is covered by nothing.
            "move a folder to where more of it is covered",
            "rename @one/folder @rw/moved",
            "rename @one/empty @one/moved",
        ),
        rename(
            "exchange a folder with one of which more is covered",
            "exchange @rw/folder @one/folder",
            "exchange @one/folder @one/empty",
        ),
        rename(
            "move a symbolic link away",
            "rename @ro/link @rw/hop",
            "rename @rw/link @rw/way",
        ),
        rename(
            "move a file through a symbolic link to its folder",
            "all symlink @ro @rw/hop and rename @rw/hop/file @rw/new",
            "all symlink @rw @rw/way and rename @rw/way/file @rw/good",
        ),
    ]
}
