//! What patterns cover: variables, odd names, long ones, files that are not there yet.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use tests::{Case, allowed, bed, judge, refused, words};

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
        "deep/x",
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
        "import os
os.chdir('{}')
for _ in range({folders}):
    os.mkdir('{name}')
    os.chdir('{name}')
open('end', 'w').write('content')",
        top.display()
    );
    let mut command = std::process::Command::new("python3");
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
