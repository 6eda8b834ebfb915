//! Which path an operation is judged by: links, `..`, `/proc`, descriptors, files without a name.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tests::{allowed, bed, fails, judge, refused, words};

/// An empty folder, and a policy with the profile `p`, which may use all below its folder `in`.
fn root() -> PathBuf {
    let root = bed().folder("paths");
    bed().policy(
        r#"
        [tool.t]
        files = [{ paths = ["/srv/test/paths/in/**"], access = ["read", "write", "create", "delete"] }]
        [profile.p]
        tools = ["system", "t"]
        "#,
    );
    root
}

/// Makes a file, and the folders to it.
fn file(path: impl AsRef<Path>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "content").unwrap();
}

#[test]
fn symbolic_links_are_judged_by_their_target() {
    let root = root();
    file(root.join("in/file"));
    file(root.join("in/folder/file"));
    file(root.join("out/file"));
    let link = |to: &str, from: &str| symlink(to, root.join(from)).unwrap();
    link("/srv/test/paths/out/file", "in/file-out");
    link("../out", "in/folder-out");
    link("/srv/test/paths/in/file", "out/file-in");
    link("file-out", "in/twice");
    link("/srv/test/paths/out/new", "in/dangling");
    let out = "/srv/test/paths/out/file";
    judge(
        bed().session("p"),
        &[
            allowed(words!["open-read", root.join("in/file")]),
            allowed(words!["open-read", root.join("out/file-in")]),
            refused("file.open", "no_tool", words!["open-read", root.join("in/file-out")]).at(out),
            refused("file.open", "no_tool", words!["open-read", root.join("in/folder-out/file")])
                .at(out),
            refused("file.open", "no_tool", words!["open-read", root.join("in/twice")]).at(out),
            refused("file.create", "no_tool", words!["open-create", root.join("in/dangling")])
                .at("/srv/test/paths/out/new"),
            // A session's own link leads no further.
            allowed(words!["symlink", out, root.join("in/own")]),
            refused("file.open", "no_tool", words!["open-read", root.join("in/own")]).at(out),
            allowed(words!["unlink", root.join("in/file-out")]),
        ],
    );
    assert!(root.join("out/file").exists());
}

#[test]
fn dots_and_slashes_do_not_lead_out() {
    let root = root();
    file(root.join("in/folder/file"));
    file(root.join("out/file"));
    let out = "/srv/test/paths/out/file";
    let ways = [
        "/srv/test/paths/in/../out/file",
        "/srv/test/paths/in/folder/../../out/./file",
        "/srv//test///paths/out//file",
        "/proc/self/root/srv/test/paths/out/file",
        "/../../srv/test/paths/out/file",
        "/proc/self/cwd/srv/test/paths/out/file",
        "/proc/thread-self/root/srv/test/paths/out/file",
    ];
    let mut cases = Vec::new();
    for way in ways {
        cases.push(allowed(words![
            "open-read",
            way.replace("out/", "in/folder/").replace("in/folder/../../in/", "in/")
        ]));
        cases.push(refused("file.open", "no_tool", words!["open-read", way]).at(out));
    }
    judge(bed().session("p"), &cases);
}

#[test]
fn proc_of_own_processes_is_readable_and_that_of_others_is_not() {
    bed().policy("");
    let other = bed().session("plain").interactive();
    let (first, theirs) = ("/proc/1".to_owned(), format!("/proc/{}", other.pid));
    let mut cases = Vec::new();
    for name in ["status", "stat", "cmdline", "comm", "maps", "mounts", "task"] {
        cases.push(allowed(words!["open-read", format!("/proc/self/{name}")]));
        cases.push(allowed(words!["in-child", "open-read", format!("/proc/self/{name}")]));
        cases.push(allowed(words![
            "in-thread",
            "open-read",
            format!("/proc/thread-self/{name}").replace("thread-self/task", "self/task")
        ]));
    }
    // The same file of several processes would be one line of the log.
    for (folder, name) in
        [(&first, "status"), (&theirs, "stat"), (&first, "cmdline"), (&theirs, "comm")]
    {
        let path = format!("{folder}/{name}");
        cases.push(refused("file.open", "no_tool", words!["open-read", path]).at(path));
    }
    cases.push(refused("file.open", "no_tool", words!["list", "/proc"]).at("/proc"));
    cases.push(
        refused("file.open", "no_tool", words!["open-read", "/proc/cpuinfo"]).at("/proc/cpuinfo"),
    );
    judge(bed().session("plain"), &cases);
}

#[test]
fn proc_of_a_child_of_the_session_is_readable() {
    bed().policy("");
    let finished = bed().session("plain").script(
        "sleep 5 & read -r name < /proc/$!/comm && echo $name; kill $!; read -r name < /proc/1/comm",
    );
    assert_ne!(finished.outcome.stdout, "", "{}", finished.outcome);
    let incident = finished.incident();
    assert_eq!((incident.path(), incident.reason.as_str()), ("/proc/1/comm", "no_tool"));
}

#[test]
fn descriptor_reopened_is_judged_by_its_file() {
    let root = root();
    file(root.join("in/file"));
    file(root.join("out/file"));
    let out = "/srv/test/paths/out/file";
    judge(
        bed().session("p"),
        &[
            allowed(words!["keep-path", "in", root.join("in/file")]),
            allowed(words!["kept-reopen", "in"]),
            allowed(words!["kept-reopen-write", "in"]),
            allowed(words!["keep-path", "out", out]),
            refused("file.open", "no_tool", words!["kept-reopen", "out"]).at(out),
            allowed(words!["keep-path", "folder", root.join("out")]),
            refused("file.open", "no_tool", words!["kept-open-at", "folder", "file"]).at(out),
            fails("ENOENT", words!["open-read", root.join("in/none")]),
        ],
    );
}

#[test]
fn unlinked_file_is_judged_by_its_last_path() {
    let root = root();
    for name in ["cold", "warm"] {
        file(root.join("in").join(name));
    }
    let (cold, warm) = (root.join("in/cold"), root.join("in/warm"));
    judge(
        bed().session("p"),
        &[
            allowed(words!["keep-path", "cold", cold]),
            allowed(words!["unlink", cold]),
            allowed(words!["kept-reopen", "cold"]),
            allowed(words!["keep-both", "warm", warm]),
            allowed(words!["kept-reopen", "warm"]),
            allowed(words!["unlink", warm]),
            allowed(words!["kept-reopen", "warm"]),
            // What was open stays of use.
            allowed(words!["kept-write", "warm", "text"]),
            fails("ENOENT", words!["open-read", warm]),
        ],
    );
}
