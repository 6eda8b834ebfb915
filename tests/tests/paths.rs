//! Which path an operation is judged by: patterns, variables, odd names, long ones, links, `/proc`.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
};

use tests::{Case, allowed, bed, fails, judge, refused, words};

const ROOT: &str = "/srv/test/paths";

/// An empty folder, and a policy with the profile `p`, which may read, write, create and delete `paths`.
fn may(paths: &[&str]) -> PathBuf {
    let root = bed().folder("paths");
    let paths: Vec<String> = paths.iter().map(|path| format!("\"{path}\"")).collect();
    bed().policy(&format!(
        "[tool.t]\nfiles = [{{ paths = [{}], access = [\"read\", \"write\", \"create\", \"delete\"] }}]\n\
         [profile.p]\ntools = [\"system\", \"t\"]\n",
        paths.join(", ")
    ));
    root
}

/// Makes a file, and the folders to it.
fn file(path: impl AsRef<Path>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "content").unwrap();
}

/// Reading a file is refused, and the incident has its path.
fn unread(path: &str) -> Case {
    refused("file.open", "no_tool", words!["open-read", path]).at(path)
}

#[test]
fn patterns_cover_what_they_say() {
    let root = may(&[
        "/srv/test/paths/exact",
        "/srv/test/paths/one/*",
        "/srv/test/paths/suffix/*.txt",
        "/srv/test/paths/prefix/data-*",
        "/srv/test/paths/middle/a*z",
        "/srv/test/paths/inner/*/file",
        "/srv/test/paths/deep/**",
        "/srv/test/paths/star/x*/**",
        "/srv/test/paths/two/*/*/end",
    ]);
    let covered = [
        "exact",
        "one/a",
        "one/.hidden",
        "suffix/a.txt",
        "suffix/.txt",
        "prefix/data-1",
        "prefix/data-",
        "middle/az",
        "middle/a-z",
        "inner/x/file",
        "deep/a",
        "deep/a/b/c",
        "star/x/a",
        "star/xy/a/b",
        "two/a/b/end",
    ];
    let not_covered = [
        "other",
        "exactly",
        "one-more",
        "suffix/a.txt.gz",
        "suffix/atxt",
        "prefix/data",
        "prefix/xdata-1",
        "middle/a",
        "middle/z",
        "middle/za",
        "inner/file",
        "inner/x/y/file",
        "inner/x/files",
        "deeper",
        "star/y/a",
        "two/a/end",
        "two/a/b/c/end",
        "two/a/b/ending",
    ];
    // `*` stands for one name, whole.
    let one_below = ["suffix-folder/b.txt/inner"];
    for path in covered.iter().chain(&not_covered).chain(&one_below) {
        file(root.join(path));
    }
    let mut cases = Vec::new();
    for path in covered {
        cases.push(allowed(words!["open-read", root.join(path)]));
    }
    for path in not_covered {
        cases.push(unread(&format!("{ROOT}/{path}")));
    }
    cases.push(allowed(words!["list", root.join("deep")]));
    cases.push(allowed(words!["list", root.join("star/x")]));
    cases.push(
        refused("file.open", "no_tool", words!["list", root.join("one")]).at(format!("{ROOT}/one")),
    );
    cases.push(
        refused("file.open", "no_tool", words!["list", root.join("star")])
            .at(format!("{ROOT}/star")),
    );
    judge(bed().session("p"), &cases);
}

#[test]
fn rule_covers_a_file_that_is_made_later() {
    let root = may(&["/srv/test/paths/later/exact", "/srv/test/paths/tree/**"]);
    fs::create_dir_all(root.join("later")).unwrap();
    let mut probe = bed().session("p").interactive();
    let exact = root.join("later/exact");
    let tree = root.join("tree/a/b");
    assert_eq!(probe.ask(words!["open-read", exact]).error(), "ENOENT");
    assert_eq!(probe.ask(words!["create", exact]).error(), "");
    assert_eq!(probe.ask(words!["create", root.join("later/other")]).error(), "EACCES");
    assert_eq!(probe.ask(words!["open-both", exact]).error(), "");
    assert_eq!(probe.ask(words!["mkdir", root.join("tree")]).error(), "");
    assert_eq!(probe.ask(words!["open-read", tree]).error(), "ENOENT");
    file(&tree);
    assert_eq!(probe.ask(words!["open-read", tree]).error(), "");
    fs::remove_file(&exact).unwrap();
    file(&exact);
    file(root.join("later/other"));
    assert_eq!(probe.ask(words!["open-read", exact]).error(), "");
    assert_eq!(probe.ask(words!["open-read", root.join("later/other")]).error(), "EACCES");
}

#[test]
fn variables_are_the_session_s_own() {
    let root = bed().folder("paths");
    for path in ["a/file", "b/file", "q1/report", "q2/report"] {
        file(root.join(path));
    }
    bed().policy(
        r#"
        [tool.own]
        files = [
          { paths = ["{workdir}/**"], access = ["read", "write"] },
          { paths = ["/srv/test/paths/{quarter}/report"], access = ["read"] },
        ]
        [profile.p]
        tools = ["system", "own"]
        "#,
    );
    for (mine, theirs, quarter, other) in [("a", "b", "q1", "q2"), ("b", "a", "q2", "q1")] {
        let session = bed().session("p").workdir(root.join(mine)).variable("quarter", quarter);
        let path = |folder: &str, name: &str| format!("{ROOT}/{folder}/{name}");
        judge(
            session,
            &[
                allowed(words!["open-both", path(mine, "file")]),
                allowed(words!["list", root.join(mine)]),
                allowed(words!["open-read", path(quarter, "report")]),
                unread(&path(theirs, "file")).would_allow(&[]),
                unread(&path(other, "report")).would_allow(&[]),
            ],
        );
    }
}

#[test]
fn odd_names_are_names_like_others() {
    let root = may(&["/srv/test/paths/odd/**"]);
    for name in
        [" ", "a b", "\"quoted\"", "new\nline", "ünïcödé", "*", "**", "{workdir}", "\\", "-"]
    {
        file(root.join("odd").join(name));
        file(root.join("out").join(name));
        let path = format!("{ROOT}/out/{name}");
        judge(
            bed().session("p"),
            &[allowed(words!["open-read", root.join("odd").join(name)]), unread(&path)],
        );
    }
}

#[test]
fn name_that_is_not_utf8_is_told_apart_and_logged() {
    let root = may(&["/srv/test/paths/odd/**"]);
    let name = OsStr::from_bytes(b"\xff\xfe-\x80");
    file(root.join("odd").join(name));
    file(root.join("out").join(name));
    let incidents = judge(
        bed().session("p"),
        &[
            allowed(words!["open-read", root.join("odd").join(name)]),
            refused("file.open", "no_tool", words!["open-read", root.join("out").join(name)])
                .at(format!("{ROOT}/out/\u{fffd}\u{fffd}-\u{fffd}")),
        ],
    );
    assert!(incidents[0].text("path_bytes").ends_with("fffe2d80"), "{:?}", incidents[0].object);
}

#[test]
fn longest_names_are_compared_whole() {
    let name = "n".repeat(254);
    let root = may(&[
        &format!("{ROOT}/long/{name}a"),
        &format!("{ROOT}/prefix/{}*", "p".repeat(200)),
        &format!("{ROOT}/suffix/*{}", "s".repeat(200)),
    ]);
    let (prefix, suffix) = ("p".repeat(200), "s".repeat(200));
    let covered = [
        format!("long/{name}a"),
        format!("prefix/{prefix}"),
        format!("prefix/{prefix}{}", "x".repeat(55)),
        format!("suffix/{}{suffix}", "x".repeat(55)),
    ];
    let not_covered = [
        format!("long/{name}b"),
        format!("long/{name}"),
        format!("long/x{}a", &name[1..]),
        format!("prefix/{}", &prefix[1..]),
        format!("prefix/{}x{}", &prefix[1..], "p".repeat(40)),
        format!("suffix/{suffix}x"),
        format!("suffix/{}{}", "x".repeat(55), &suffix[1..]),
    ];
    for path in covered.iter().chain(&not_covered) {
        file(root.join(path));
    }
    let cases = covered.iter().map(|path| allowed(words!["open-read", root.join(path)]));
    let others = not_covered.iter().map(|path| unread(&format!("{ROOT}/{path}")));
    judge(bed().session("p"), &cases.chain(others).collect::<Vec<_>>());
}

/// A relative path of so many folders with names of `length` bytes, made below `top` step by step.
fn chain(top: &Path, folders: usize, length: usize) -> PathBuf {
    let name = "d".repeat(length);
    let script = format!(
        "cd '{}' && for i in $(seq {folders}); do mkdir {name} && cd {name} || exit 1; done; echo content > end",
        top.display()
    );
    let mut command = std::process::Command::new("bash");
    tests::Outcome::of(command.args(["-c", &script]), &[]).expect(0);
    std::iter::repeat_n(name, folders).collect()
}

#[test]
fn path_of_nearly_4096_bytes_is_judged_whole() {
    let root = may(&["/srv/test/paths/in/**"]);
    for (folders, length) in [(15, 255), (2000, 1)] {
        let mut cases = Vec::new();
        for area in ["in", "out"] {
            let top = root.join(area);
            tests::layout::empty(&top);
            let path = top.join(chain(&top, folders, length)).join("end");
            assert!((3800..4096).contains(&path.as_os_str().len()), "{}", path.as_os_str().len());
            cases.push(match area {
                "in" => allowed(words!["open-both", path]),
                _ => unread(path.to_str().unwrap()),
            });
        }
        judge(bed().session("p"), &cases);
    }
}

#[test]
fn longer_path_through_chdir_is_judged_all_the_same() {
    let root = may(&["/srv/test/paths/in/**"]);
    for area in ["in", "out"] {
        let top = root.join(area);
        fs::create_dir_all(&top).unwrap();
        let step = chain(&top, 30, 255).iter().take(10).collect::<PathBuf>();
        let mut cases = vec![allowed(words!["chdir", top])];
        cases.extend((0..3).map(|_| allowed(words!["chdir", step])));
        cases.push(match area {
            "in" => allowed(words!["open-read", "end"]),
            _ => refused("file.open", "no_tool", words!["open-read", "end"]),
        });
        judge(bed().session("p"), &cases);
    }
}

#[test]
fn symbolic_links_are_judged_by_their_target() {
    let root = may(&["/srv/test/paths/in/**"]);
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
    let root = may(&["/srv/test/paths/in/**"]);
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
    for name in ["status", "stat", "cmdline"] {
        for folder in [&first, &theirs] {
            let path = format!("{folder}/{name}");
            cases.push(refused("file.open", "no_tool", words!["open-read", path]).at(path));
        }
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
    let root = may(&["/srv/test/paths/in/**"]);
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
fn unlinked_file_has_no_path_any_more() {
    let root = may(&["/srv/test/paths/in/**"]);
    for name in ["cold", "warm"] {
        file(root.join("in").join(name));
    }
    let (cold, warm) = (root.join("in/cold"), root.join("in/warm"));
    let unresolved = |words: Vec<OsString>| refused("file.open", "unresolved", words);
    judge(
        bed().session("p"),
        &[
            allowed(words!["keep-path", "cold", cold]),
            allowed(words!["unlink", cold]),
            unresolved(words!["kept-reopen", "cold"]),
            allowed(words!["keep-both", "warm", warm]),
            allowed(words!["kept-reopen", "warm"]),
            allowed(words!["unlink", warm]),
            unresolved(words!["kept-reopen", "warm"]),
            // What was open stays of use.
            allowed(words!["kept-write", "warm", "text"]),
            fails("ENOENT", words!["open-read", warm]),
        ],
    );
}
