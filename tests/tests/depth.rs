//! Rules on names at any depth (`/x/**/name`) and their exceptions, on what is there, made and moved meanwhile.

use std::{ffi::OsString, fs, os::unix::fs::lchown, path::Path};

use tests::{Builder, Case, allowed, bed, judge, refused};

/// The folder of the tests; a session's work folder is `tree` in it.
const ROOT: &str = "/srv/test/depth";
const NOBODY: u32 = 65_534;

const POLICY: &str = r#"
[tool.work]
files = [{ paths = ["{workdir}/**"], access = ["read", "write", "create", "delete"] }]
[tool.out]
files = [{ paths = ["/srv/test/depth/out/**"], access = ["read", "write", "create", "delete"] }]
[tool.data]
files = [{ paths = ["/srv/test/depth/data/**"], except = ["/srv/test/depth/data/**/*.key"], access = ["read"] }]
[tool.keys]
files = [{ paths = ["/srv/test/depth/data/**/*.key"], access = ["read"] }]
[tool.more]
files = [{ paths = ["{more?}/**"], access = ["read"] }]
[[deny]]
paths = ["{workdir}/**/.env", "{workdir}/**/.env.*"]
except = ["{workdir}/**/.env.example"]
access = ["read", "write"]
[[deny]]
paths = ["{workdir}/**/.git/hooks/**"]
access = ["write", "create"]
[profile.p]
tools = ["system", "work", "out", "data", "more"]
may_start = { users = ["nobody"] }
"#;

/// A session of root or of a user, who owns all files.
fn session(is_user: bool) -> Builder {
    let root = bed().folder("depth");
    for folder in ["tree/a/b/c", "tree/x", "tree/y", "out/folder", "data/in", "more"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for folder in ["tree", "tree/a", "tree/a/b/c", "out/folder"] {
        for name in [".env", ".env.local", ".env.example", "plain"] {
            fs::write(root.join(folder).join(name), "content").unwrap();
        }
    }
    for file in ["data/in/a.key", "data/in/a.csv", "data/b.key", "more/file"] {
        fs::write(root.join(file), "content").unwrap();
    }
    if is_user {
        give(&root);
    }
    bed().policy(POLICY);
    let session = bed().session("p").workdir(root.join("tree"));
    if !is_user {
        return session;
    }
    session.through(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"])
}

/// Gives a folder and all that is in it to the user.
fn give(path: &Path) {
    lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}

/// A path: `@` stands for the work folder, `^` for the folder of the tests.
fn path(text: &str) -> String {
    text.replace('@', &format!("{ROOT}/tree/")).replace('^', &format!("{ROOT}/"))
}

fn op(text: &str) -> Vec<OsString> {
    text.split(' ').map(|word| path(word).into()).collect()
}

fn done(text: &str) -> Case {
    allowed(op(text))
}

/// An open that a denial refuses.
fn denied(text: &str, at: &str) -> Case {
    refused("file.open", "explicit_deny", op(text)).at(path(at)).would_allow(&[])
}

/// A move that would take a folder to other rules.
fn guarded(operation: &str, from: &str, to: &str) -> Case {
    let words = op(&format!("{operation} {from} {to}"));
    refused("file.rename", "guard", words).at(path(from)).to(path(to)).would_allow(&[])
}

/// Judges the same for root and for a user.
fn judge_both(cases: &[Case]) {
    for is_user in [false, true] {
        judge(session(is_user), cases);
    }
}

#[test]
fn denied_name_is_refused_at_any_depth_and_by_any_way() {
    judge_both(&[
        denied("open-read @.env", "@.env"),
        denied("open-read @a/.env", "@a/.env"),
        denied("open-write @a/b/c/.env", "@a/b/c/.env"),
        denied("open-read @a/b/c/.env.local", "@a/b/c/.env.local"),
        denied("uring-read @a/b/c/.env", "@a/b/c/.env"),
        denied("uring-worker-read @a/.env", "@a/.env"),
        denied("open-at @a/b c/.env", "@a/b/c/.env"),
        done("symlink a/b/c/.env @link"),
        denied("open-read @link", "@a/b/c/.env"),
        refused("file.link", "explicit_deny", op("link @a/.env @a/name")).at(path("@a/.env")),
        refused("file.rename", "explicit_deny", op("rename @a/.env @a/name")).at(path("@a/.env")),
        // The same acts on the exception, and on other names.
        done("open-read @.env.example"),
        done("open-write @a/b/c/.env.example"),
        done("uring-read @a/b/c/.env.example"),
        done("open-at @a/b c/.env.example"),
        done("link @a/.env.example @a/name"),
        done("rename @a/name @a/other"),
        done("open-read @a/b/c/plain"),
        done("open-read ^out/folder/.env"),
        // By names that are relative to where the process is.
        done("chdir @a/b"),
        denied("open-read c/.env", "@a/b/c/.env"),
        denied("open-read ../.env", "@a/.env"),
        done("open-read c/.env.example"),
    ]);
}

#[test]
fn denied_name_is_refused_where_it_is_made_and_moved_meanwhile() {
    judge_both(&[
        done("mkdir @new"),
        done("mkdir @new/deep"),
        done("mknod @new/deep/.env file"),
        denied("open-read @new/deep/.env", "@new/deep/.env"),
        done("create @new/deep/.env.example"),
        done("open-read @new/deep/.env.example"),
        // A folder goes where the same rules hold below it.
        done("rename @new/deep @new/other"),
        denied("open-read @new/other/.env", "@new/other/.env"),
        done("rename @new @a/b/new"),
        denied("open-read @a/b/new/other/.env", "@a/b/new/other/.env"),
        done("open-read @a/b/new/other/.env.example"),
        done("exchange @x @a/b"),
        denied("open-read @x/new/other/.env", "@x/new/other/.env"),
        done("rename ^out/folder ^out/renamed"),
        // Not where the name is not denied, nor where it is denied and was not.
        guarded("rename", "@x/new", "^out/new"),
        guarded("rename", "^out/renamed", "@a/arrived"),
        guarded("exchange", "@x/new", "^out/renamed"),
        done("rename @a/plain ^out/plain"),
        denied("open-read @x/new/other/.env", "@x/new/other/.env"),
    ]);
}

#[test]
fn folder_below_a_denied_one_is_not_brought_there_by_a_move() {
    let create = |text: &str, at: &str| {
        refused("file.create", "explicit_deny", op(text)).at(path(at)).would_allow(&[])
    };
    judge_both(&[
        done("mkdir @g"),
        done("mkdir @g/hooks"),
        done("create @g/hooks/pre-commit"),
        guarded("rename", "@g", "@.git"),
        guarded("rename", "@g", "@a/.git"),
        done("rename @g @h"),
        done("mkdir @a/.git"),
        done("create @a/.git/config"),
        create("mkdir @a/.git/hooks", "@a/.git/hooks"),
        refused("file.rename", "explicit_deny", op("rename @h/hooks @a/.git/hooks")),
        guarded("rename", "@a/.git", "@a/git"),
        done("mkdir @a/.git/objects"),
        done("rename @a/.git/objects @a/.git/moved"),
    ]);
}

#[test]
fn exception_narrows_a_tool_and_leaves_another() {
    let refusal = |text: &str, at: &str| {
        refused("file.open", "no_tool", op(text)).at(path(at)).would_allow(&["keys"])
    };
    judge_both(&[
        done("open-read ^data/in/a.csv"),
        refusal("open-read ^data/in/a.key", "^data/in/a.key"),
        refusal("open-read ^data/b.key", "^data/b.key"),
        done("list ^data/in"),
    ]);
    let mut probe = session(false).interactive();
    probe.grant("keys");
    assert_eq!(probe.ask(op("open-read ^data/in/a.key")).error(), "");
}

#[test]
fn rule_with_an_optional_variable_is_left_out_without_a_value() {
    let file = op("open-read ^more/file");
    judge(session(false), &[refused("file.open", "no_tool", file.clone()).at(path("^more/file"))]);
    judge(session(false).variable("more", &path("^more")), &[allowed(file)]);
}

#[test]
fn explanation_follows_exceptions() {
    let probe = session(false).interactive();
    let explain = |right: &str, of: &str, status: i32, parts: &[&str]| {
        let outcome =
            bed().remit(["policy", "explain", &probe.name, right, &path(of)]).expect(status);
        assert!(parts.iter().all(|part| outcome.stdout.contains(part)), "{}", outcome.stdout);
    };
    explain("read", "@a/b/.env", 1, &["explicit_deny", "denied by deny: {workdir}/**/.env ("]);
    explain("read", "@a/b/.env.local", 1, &["denied by deny: {workdir}/**/.env.* ("]);
    explain("read", "@a/b/.env.example", 0, &["covered by tools held: work"]);
    explain("read", "^data/in/a.key", 1, &["no_tool", "would be allowed with one of: keys"]);
    explain("read", "^data/in/a.csv", 0, &["covered by tools held: data"]);
}
