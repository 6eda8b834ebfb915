//! Operations on files: each needs its right, at each end, and is refused with its incident otherwise.

use std::{ffi::OsString, fs, os::unix::fs::symlink, path::Path};

use tests::{Builder, Case, allowed, bed, judge, refused, words};

const POLICY: &str = r#"
[tool.rw]
files = [
  { paths = ["{root}/rw/**"], access = ["read", "write", "create", "delete"] },
  { paths = ["{root}/ro/**"], access = ["read"] },
]
[tool.no]
files = [{ paths = ["{root}/no/**"], access = ["read", "write", "create", "delete"] }]
[[deny]]
paths = ["{root}/rw/secret/**", "{root}/rw/key"]
access = ["read", "write", "create", "delete"]
[profile.p]
tools = ["system", "rw"]
"#;

/// The folder of the tests.
const ROOT: &str = "/srv/test/files";

/// A path below the folder of the tests.
fn at(path: &str) -> String {
    format!("{ROOT}/{path}")
}

/// Lays out `rw`, `ro` and `no`, each with a `file`, a `folder` with a file, and a `link` to the file;
/// denied: `rw/secret`, `rw/key`. Puts the policy in force.
fn session() -> Builder {
    let root = bed().folder("files");
    for area in ["rw", "ro", "no", "rw/secret"] {
        let area = root.join(area);
        fs::create_dir_all(area.join("folder")).unwrap();
        fs::create_dir_all(area.join("empty")).unwrap();
        fs::write(area.join("file"), "content").unwrap();
        fs::write(area.join("second"), "second").unwrap();
        fs::write(area.join("folder/inner"), "inner").unwrap();
        symlink("file", area.join("link")).unwrap();
    }
    fs::write(root.join("rw/key"), "key").unwrap();
    bed().policy(&POLICY.replace("{root}", ROOT));
    bed().session("p")
}

/// The words of an operation, `@` at the beginning of a word standing for the folder of the tests.
fn op(text: &str) -> Vec<OsString> {
    let full = |word: &str| match word.strip_prefix('@') {
        Some(rest) => at(rest),
        None => word.to_owned(),
    };
    text.split(' ').map(|word| full(word).into()).collect()
}

/// Tries each line: an operation, then what is to come of it: `ok`, or the incident's operation, reason
/// and path. `no_tool` incidents below `no` name the tool that would have allowed it.
fn table(session: Builder, lines: &str) {
    let cases: Vec<Case> =
        lines.lines().map(str::trim).filter(|line| !line.is_empty()).map(case).collect();
    judge(session, &cases);
}

fn case(line: &str) -> Case {
    let (operation, expected) = line.split_once(" = ").expect("`operation = expected`");
    match expected.split(' ').collect::<Vec<_>>()[..] {
        ["ok"] => allowed(op(operation)),
        [operation_name, reason, path] => {
            let path = path.replace('@', &format!("{ROOT}/"));
            let case = refused(operation_name, reason, op(operation)).at(path.clone());
            if reason != "no_tool" {
                case.would_allow(&[])
            } else if path.starts_with(&at("no")) {
                case.would_allow(&["no"])
            } else {
                case
            }
        }
        [operation_name, reason, path, to] => {
            let case = refused(operation_name, reason, op(operation));
            case.at(path.replace('@', &format!("{ROOT}/"))).to(to.replace('@', &format!("{ROOT}/")))
        }
        _ => panic!("`{line}`"),
    }
}

#[test]
fn opening_needs_the_rights_of_the_mode() {
    table(
        session(),
        "open-read @rw/file = ok
         open-write @rw/file = ok
         open-both @rw/file = ok
         open-append @rw/file = ok
         open-ioctl @rw/file = ok
         openat2 @rw/file = ok
         open-at @rw file = ok
         open-read @ro/file = ok
         open-write @ro/file = file.open no_tool @ro/file
         open-both @ro/second = file.open no_tool @ro/second
         open-append @ro/folder/inner = file.open no_tool @ro/folder/inner
         open-read @no/file = file.open no_tool @no/file
         openat2 @no/second = file.open no_tool @no/second
         open-at @no folder/inner = file.open no_tool @no/folder/inner
         open-path @no/file = ok
         stat @no/file = ok
         read-link @no/link = ok
         open-read @rw/key = file.open explicit_deny @rw/key
         open-read @rw/secret/file = file.open explicit_deny @rw/secret/file
         open-read @rw/file = ok",
    );
}

#[test]
fn emptying_a_file_needs_write() {
    table(
        session(),
        "open-empty @rw/file = ok
         truncate @rw/second = ok
         open-empty @ro/file = file.open no_tool @ro/file
         truncate @ro/second = file.setattr no_tool @ro/second
         truncate @no/second = file.setattr no_tool @no/second
         truncate @rw/key = file.setattr explicit_deny @rw/key",
    );
    assert_eq!(fs::read(at("ro/file")).unwrap(), b"content");
    assert_eq!(fs::read(at("ro/second")).unwrap(), b"second");
    assert_eq!(fs::read(at("rw/file")).unwrap(), b"");
}

#[test]
fn listing_a_folder_needs_read() {
    table(
        session(),
        "list @rw = ok
         list @ro = ok
         list @rw/folder = ok
         list @no = file.open no_tool @no
         list @no/folder = file.open no_tool @no/folder
         list @rw/secret = file.open explicit_deny @rw/secret",
    );
}

#[test]
fn making_a_name_needs_create() {
    let session = session();
    let mut lines = String::new();
    for (what, operation) in [
        ("file", "create @A/new-file"),
        ("open", "open-create @A/new-open"),
        ("folder", "mkdir @A/new-folder"),
        ("link", "symlink file @A/new-link"),
        ("fifo", "mknod @A/new-fifo fifo"),
        ("socket", "mknod @A/new-socket socket"),
        ("node", "mknod @A/new-node file"),
    ] {
        for area in ["rw", "rw/folder", "ro", "no", "rw/secret"] {
            let name = operation.split(' ').find(|word| word.contains("@A")).unwrap();
            let path = name.replace('A', area);
            let expected = match area {
                "ro" | "no" => format!("file.create no_tool {path}"),
                "rw/secret" => format!("file.create explicit_deny {path}"),
                _ => "ok".to_owned(),
            };
            lines += &format!("{} = {expected}\n", operation.replace('A', area));
        }
        assert!(!Path::new(&at(&format!("no/new-{what}"))).exists());
    }
    table(session, &lines);
    assert_eq!(fs::read_dir(at("ro")).unwrap().count(), 5);
}

#[test]
fn making_a_device_is_refused_to_every_session() {
    let incidents = judge(
        session(),
        &[
            allowed(op("mknod @rw/fifo fifo")),
            refused("priv.capability", "guard", op("mknod @rw/device null")).error("EPERM"),
            refused("file.create", "no_tool", op("mknod @no/device null")).at(at("no/device")),
        ],
    );
    assert!(incidents.iter().any(|found| found.text("capability") == "mknod"), "{incidents:?}");
}

#[test]
fn file_without_a_name_needs_the_rights_to_make_one() {
    table(
        session(),
        "tmpfile @rw = ok
         tmpfile @rw/folder = ok
         tmpfile @ro = file.create no_tool @ro
         tmpfile @no = file.create no_tool @no
         tmpfile @rw/secret = file.create explicit_deny @rw/secret",
    );
}

#[test]
fn removing_a_name_needs_delete() {
    table(
        session(),
        "unlink @rw/file = ok
         unlink @rw/link = ok
         rmdir @rw/empty = ok
         unlink @ro/file = file.delete no_tool @ro/file
         rmdir @ro/empty = file.delete no_tool @ro/empty
         unlink @no/file = file.delete no_tool @no/file
         unlink @no/link = file.delete no_tool @no/link
         rmdir @no/empty = file.delete no_tool @no/empty
         unlink @rw/key = file.delete explicit_deny @rw/key
         rmdir @rw/secret/empty = file.delete explicit_deny @rw/secret/empty",
    );
    assert!(Path::new(&at("ro/file")).exists() && Path::new(&at("no/empty")).exists());
}

#[test]
fn metadata_needs_write() {
    table(
        session(),
        "chmod @rw/file 0600 = ok
         chown @rw/file 1 = ok
         touch @rw/file = ok
         touch @ro/second = file.setattr no_tool @ro/second
         chmod @rw/folder 0700 = ok
         chmod @ro/file 0666 = file.setattr no_tool @ro/file
         chown @ro/second 1 = file.setattr no_tool @ro/second
         chmod @no/file 0666 = file.setattr no_tool @no/file
         chown @no/second 1 = file.setattr no_tool @no/second
         chmod @rw/key 0666 = file.setattr explicit_deny @rw/key
         chmod @ro/folder 0777 = file.setattr no_tool @ro/folder",
    );
}

#[test]
fn renaming_needs_rights_at_both_ends() {
    table(
        session(),
        "rename @rw/file @rw/renamed = ok
         rename @rw/renamed @rw/folder/renamed = ok
         rename-new @rw/folder/renamed @rw/file = ok
         rename @rw/second @rw/file = ok
         rename @rw/folder @rw/moved = ok
         exchange @rw/file @rw/moved/inner = ok
         rename @ro/file @rw/x = file.rename no_tool @ro/file @rw/x
         rename @no/file @rw/x = file.rename no_tool @no/file @rw/x
         rename @rw/file @ro/x = file.rename no_tool @rw/file @ro/x
         rename @rw/file @no/file = file.rename no_tool @rw/file @no/file
         exchange @rw/file @no/second = file.rename no_tool @rw/file @no/second
         exchange @no/second @rw/moved/inner = file.rename no_tool @no/second @rw/moved/inner
         rename @rw/moved @no/moved = file.rename no_tool @rw/moved @no/moved
         rename @no/folder @rw/moved2 = file.rename no_tool @no/folder @rw/moved2
         rename @rw/key @rw/open = file.rename explicit_deny @rw/key @rw/open
         rename @rw/file @rw/key = file.rename explicit_deny @rw/file @rw/key",
    );
    assert_eq!(fs::read(at("no/file")).unwrap(), b"content");
    assert_eq!(fs::read(at("rw/key")).unwrap(), b"key");
}

#[test]
fn folder_with_rules_below_is_not_moved_from_under_them() {
    table(
        session(),
        "rename @rw/folder @rw/elsewhere = ok
         rename @rw/secret @rw/open = file.rename explicit_deny @rw/secret @rw/open
         rename @rw @other = file.rename no_tool @rw @other",
    );
    // The rules below are more than the folder's own: `inner/key` is denied, `inner` is not.
    let root = bed().folder("files-below");
    fs::create_dir_all(root.join("inner")).unwrap();
    fs::create_dir_all(root.join("plain")).unwrap();
    fs::write(root.join("inner/key"), "key").unwrap();
    bed().policy(
        r#"
        [tool.below]
        files = [{ paths = ["/srv/test/files-below/**"], access = ["read", "write", "create", "delete"] }]
        [[deny]]
        paths = ["/srv/test/files-below/inner/key"]
        access = ["read"]
        [profile.p]
        tools = ["system", "below"]
        "#,
    );
    let path = |name: &str| format!("/srv/test/files-below/{name}");
    judge(
        bed().session("p"),
        &[
            allowed(words!["rename", path("plain"), path("moved")]),
            refused("file.rename", "guard", words!["rename", path("inner"), path("open")])
                .at(path("inner"))
                .to(path("open")),
            refused("file.rename", "guard", words!["exchange", path("moved"), path("inner")])
                .at(path("moved"))
                .to(path("inner")),
            refused("file.open", "explicit_deny", words!["open-read", path("inner/key")])
                .at(path("inner/key")),
        ],
    );
}

#[test]
fn linking_needs_rights_at_both_ends() {
    table(
        session(),
        "link @rw/file @rw/second-name = ok
         link @rw/file @rw/folder/name = ok
         link @ro/file @rw/name = file.link no_tool @ro/file @rw/name
         link @no/file @rw/name = file.link no_tool @no/file @rw/name
         link @rw/file @no/name = file.link no_tool @rw/file @no/name
         link @rw/file @ro/name = file.link no_tool @rw/file @ro/name
         link @rw/key @rw/name = file.link explicit_deny @rw/key @rw/name
         open-read @rw/second-name = ok",
    );
    assert!(!Path::new(&at("no/name")).exists());
}

#[test]
fn deny_beats_a_tool_that_names_the_very_file() {
    let _replaced = session();
    bed().policy(
        r#"
        [tool.exact]
        files = [{ paths = ["/srv/test/files/rw/key", "/srv/test/files/rw/file"], access = ["read", "write"] }]
        [[deny]]
        paths = ["/srv/test/files/rw/*key"]
        access = ["write"]
        [profile.p]
        tools = ["system", "exact"]
        "#,
    );
    table(
        bed().session("p"),
        "open-read @rw/key = ok
         open-write @rw/file = ok
         open-write @rw/key = file.open explicit_deny @rw/key
         open-both @rw/key = file.open explicit_deny @rw/key",
    );
}

#[test]
fn incident_of_a_denial_names_the_rule_and_one_without_tool_none() {
    let incidents = judge(
        session(),
        &[
            allowed(op("open-read @rw/file")),
            refused("file.open", "explicit_deny", op("open-read @rw/key")).at(at("rw/key")),
            refused("file.open", "no_tool", op("open-both @no/file")).at(at("no/file")),
        ],
    );
    let of = |reason: &str| incidents.iter().find(|found| found.reason == reason).unwrap();
    let rule = of("explicit_deny").rule.as_ref().expect("a denial has a rule");
    assert!(rule.file.ends_with("50-test.toml"), "{rule:?}");
    // The line of the paths in `POLICY`, one further by `schema`.
    let line = POLICY.lines().position(|line| line.contains("rw/secret")).unwrap() + 2;
    assert!(rule.line as usize == line || rule.line as usize == line - 1, "{rule:?}");
    assert!(of("no_tool").rule.is_none());
    assert_eq!(of("no_tool").access, ["read", "write"]);
    assert!(incidents.iter().all(|found| !found.references.is_empty()));
}
