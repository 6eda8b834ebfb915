//! What somebody may start a session with: which work folder, which values, how many, from which view of the host.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
};

use tests::{Builder, Outcome, bed, words};

const POLICY: &str = r#"
[tool.workspace]
files = [{ paths = ["{workdir}/**"], access = ["read", "write", "create", "delete"] }]
[tool.named]
files = [{ paths = ["{place}/**", "/srv/test/starters/{kind}-x/**"], access = ["read"] }]
[profile.p]
tools = ["system", "workspace"]
may_start = { users = ["nobody"], sessions = 2 }
[profile.placed]
tools = ["system", "workspace", "named"]
may_start = { users = ["nobody"] }
[profile.fenced]
tools = ["system", "workspace"]
workdir = ["/srv/test/starters/in/**", "{home}/src/**"]
"#;

/// The number of the user and of the group.
const NOBODY: u32 = 65534;

/// The policy in force, `own` of the user, `in` and `private` of root's.
fn prepare() -> PathBuf {
    bed().policy(POLICY);
    let root = bed().folder("starters");
    for name in ["own", "own/deep", "in", "in/deep", "private"] {
        fs::create_dir(root.join(name)).unwrap();
        fs::set_permissions(root.join(name), Permissions::from_mode(0o755)).unwrap();
    }
    for name in ["own", "own/deep"] {
        chown(root.join(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::write(root.join("private/secret"), "secret").unwrap();
    root
}

fn as_nobody(session: Builder) -> Builder {
    session.through(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"])
}

#[track_caller]
fn refused(outcome: Outcome, part: &str) {
    let outcome = outcome.expect(1);
    assert!(outcome.stderr.contains(part), "no `{part}` in {outcome}");
}

fn workdir(name: &str) -> String {
    let shown = bed().remit(["session", "show", name, "--json"]).expect(0).json();
    shown["workdir"].as_str().unwrap().to_owned()
}

#[test]
fn user_works_only_where_they_may_write() {
    let root = prepare();
    let nobody = |folder: &Path| as_nobody(bed().session("p")).workdir(folder);
    let own = nobody(&root.join("own/deep/..")).run(["true"]).expect(0);
    assert_eq!(workdir(&own.name), root.join("own").to_string_lossy());
    let file = root.join("own/f");
    nobody(&root.join("own")).script(&format!("echo x > {}", file.display())).expect(0);
    let run = |folder: &Path| nobody(folder).run(["true"]).outcome;
    refused(run(Path::new("/")), "the whole file system");
    refused(run(Path::new("/srv/test/../..")), "the whole file system");
    refused(run(&root.join("private")), "you may not write");
    refused(run(Path::new("/etc")), "you may not write");
    // An operator only needs a folder.
    bed().session("p").workdir(root.join("private")).run(["true"]).expect(0);
    refused(bed().session("p").workdir("/").run(["true"]).outcome, "the whole file system");
}

#[test]
fn user_s_values_are_names_or_folders_of_theirs() {
    let root = prepare();
    let text = |name: &str| root.join(name).to_str().unwrap().to_owned();
    let session = |place: &str, kind: &str| {
        as_nobody(bed().session("placed"))
            .workdir(root.join("own"))
            .variable("place", place)
            .variable("kind", kind)
    };
    let own = session(&text("own/deep"), "report").run(["true"]);
    own.expect(0);
    refused(session(&text("private"), "r").run(["true"]).outcome, "you may not write");
    refused(session("/", "r").run(["true"]).outcome, "the whole file system");
    refused(session(&text("own"), "../private").run(["true"]).outcome, "not an absolute path");
    let operator =
        bed().session("placed").variable("place", &text("private")).variable("kind", "r");
    operator.run(["true"]).expect(0);
}

#[test]
fn profile_says_where_its_sessions_work() {
    let root = prepare();
    let session = |folder: &Path| bed().session("fenced").workdir(folder);
    session(&root.join("in")).run(["true"]).expect(0);
    session(&root.join("in/deep")).run(["true"]).expect(0);
    for folder in [root.join("private"), root.join("in/.."), PathBuf::from("/srv")] {
        refused(session(&folder).run(["true"]).outcome, "no session of profile `fenced` works in");
    }
}

#[test]
fn user_has_so_many_sessions_and_no_more() {
    let root = prepare();
    let session = || as_nobody(bed().session("p")).workdir(root.join("own"));
    let (first, _second) = (session().interactive(), session().interactive());
    refused(session().run(["true"]).outcome, "the most that it lets you have at once");
    bed().session("p").run(["true"]).expect(0);
    as_nobody(bed().session("placed"))
        .workdir(root.join("own"))
        .variable("place", root.join("own").to_str().unwrap())
        .variable("kind", "r")
        .run(["true"])
        .expect(0);
    bed().remit(["session", "end", &first.name, "--kill"]).expect(0);
    session().run(["true"]).expect(0);
}

#[test]
fn user_starts_none_from_a_mount_namespace_of_their_own() {
    let root = prepare();
    let session = || bed().session("p").workdir(root.join("own"));
    let user = |namespaces: &str| {
        let words = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
        session().through(words.into_iter().chain(["unshare", namespaces]))
    };
    refused(user("-Urm").run(["true"]).outcome, "another mount namespace");
    // A namespace of users alone shows the same files.
    user("-Ur").run(["true"]).expect(0);
    let operator = session().through(["unshare", "-m"]).run(["true"]).expect(0);
    let lines =
        bed().remit(["incidents", "--all", "--json", "--session", &operator.name]).expect(0);
    assert!(lines.stdout.contains("mount namespace of its own"), "{lines}");
}

#[test]
fn link_that_a_session_left_is_no_way_to_a_work_folder() {
    let root = prepare();
    let work = root.join("in");
    let run = |folder: &Path| bed().session("p").workdir(folder).run(["true"]).outcome;
    // Root's own link in a folder of root's leads where it leads, and that is shown.
    symlink("in/deep", root.join("link")).unwrap();
    let linked = bed().session("p").workdir(root.join("link")).run(["true"]).expect(0);
    assert_eq!(workdir(&linked.name), root.join("in/deep").to_string_lossy());

    let mut session = bed().session("p").workdir(&work).interactive();
    let name = session.name.clone();
    assert_eq!(session.ask(words!["open-read", root.join("private/secret")]).error(), "EACCES");
    assert_eq!(session.ask(words!["symlink", root.join("private"), work.join("sub")]).error(), "");
    let left = format!("is a link in the work folder of session `{name}`");
    refused(run(&work.join("sub")), &left);
    refused(run(&work.join("deep/../sub/.")), &left);
    bed().remit(["session", "end", &name, "--kill"]).expect(0);
    refused(run(&work.join("sub")), &left);
    run(&work.join("deep")).expect(0);
    // One that a user planted where all may.
    let open = root.join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o1777)).unwrap();
    symlink(root.join("private"), open.join("mine")).unwrap();
    run(&open.join("mine")).expect(0);
    // The kernel follows no link of another's in such a folder (`fs.protected_symlinks`): in one without the sticky bit.
    let wide = root.join("wide");
    fs::create_dir(&wide).unwrap();
    fs::set_permissions(&wide, Permissions::from_mode(0o777)).unwrap();
    symlink(root.join("private"), wide.join("theirs")).unwrap();
    std::os::unix::fs::lchown(wide.join("theirs"), Some(NOBODY), Some(NOBODY)).unwrap();
    refused(run(&wide.join("theirs")), "somebody else may have put there");
}
