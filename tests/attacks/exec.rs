//! Running programs, and mapping code, that no tool of the session covers.

use crate::catalogue::{Attack, attack};

pub(crate) fn attacks() -> Vec<Attack> {
    let run = |name, act, control| attack(name, "file_open", "file.exec", act, control);
    let map = |name, hook, act, control| attack(name, hook, "file.map", act, control);
    vec![
        run("run a program", "exec @no/true", "exec @run/true"),
        run("run a program that may be read", "exec @ro/true", "exec @run/true"),
        run(
            "run a copy of a program",
            "all copy /usr/bin/true @rw/copy and chmod @rw/copy 0755 and exec @rw/copy",
            "all copy /usr/bin/true @rw/way and chmod @rw/way 0755 and exec @run/true",
        ),
        run(
            "run a link to a copy",
            "all symlink @rw/true @rw/hop and exec @rw/hop",
            "all symlink @run/true @rw/way and exec @rw/way",
        ),
        run("run a descriptor", "exec-descriptor @rw/true", "exec-descriptor @run/true"),
        run("run memory", "exec-memory /usr/bin/true", "exec /usr/bin/true").anywhere(),
        run("run a script", "exec @rw/script", "exec @run/script").before(
            "all script @rw/script /bin/sh and script @run/script /bin/sh",
        ),
        run(
            "run an interpreter by a script",
            "exec @run/by-copy",
            "exec @run/by-true",
        )
        .before("all script @run/by-copy {at}/rw/true and script @run/by-true {at}/run/true"),
        run(
            "run a program in a thread",
            "in-thread exec @rw/true",
            "in-thread exec @run/true",
        ),
        run(
            "run a program by the 32-bit entry",
            "exec32 @rw/true",
            "exec32 @run/true",
        ),
        map(
            "run a program by the loader",
            "mmap_file",
            "succeed exec /lib64/ld-linux-x86-64.so.2 @rw/true",
            "succeed exec /lib64/ld-linux-x86-64.so.2 @run/true",
        ),
        map("map a file as code", "mmap_file", "map-exec @rw/true", "map-exec @run/true"),
        map("map a file that may be read as code", "mmap_file", "map-exec @ro/true", "map-exec @run/true"),
        map(
            "make a mapping code",
            "file_mprotect",
            "protect-exec @rw/true",
            "protect-exec @run/true",
        ),
        map(
            "make a mapping code by a protection key",
            "file_mprotect",
            "pkey-protect-exec @rw/true",
            "pkey-protect-exec @run/true",
        ),
        map(
            "map a file as code because reading implies it",
            "mmap_file",
            "in-child all sys personality 4194304 and keep-read a @rw/true and kept-map a",
            "in-child all sys personality 4194304 and keep-read a @run/true and kept-map a",
        ),
        map("map memory with a descriptor as code", "mmap_file", "map-memory-file", "map-exec @run/true")
            .anywhere(),
        map("make anonymous memory code", "file_mprotect", "map-memory", "map-exec @run/true")
            .not_stopped("the process is confined, not the code in it: compilers at run time need this"),
    ]
}
