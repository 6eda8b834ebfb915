//! What is known of a file beside its content: changing it needs `write`, whichever call does it.

use std::{ffi::OsString, fs, process::Command};

use tests::{Builder, Case, Outcome, allowed, bed, judge, layout, refused};

/// The folder of the tests.
const ROOT: &str = "/srv/test/attributes";

/// `rw`, `ro` and `no`, each with a `file`, a `second` and a `folder`; denied: `rw/key`.
fn session() -> Builder {
    unmount();
    let root = bed().folder("attributes");
    for area in ["rw", "ro", "no"] {
        fs::create_dir_all(root.join(area).join("folder")).unwrap();
        fs::write(root.join(area).join("file"), "content").unwrap();
        fs::write(root.join(area).join("second"), "second").unwrap();
    }
    fs::write(root.join("rw/key"), "key").unwrap();
    bed().policy(
        r#"
        [tool.rw]
        files = [
          { paths = ["/srv/test/attributes/rw/**"], access = ["read", "write", "create", "delete"] },
          { paths = ["/srv/test/attributes/ro/**"], access = ["read"] },
        ]
        [[deny]]
        paths = ["/srv/test/attributes/rw/key"]
        access = ["write"]
        [profile.p]
        tools = ["system", "rw"]
        "#,
    );
    bed().session("p")
}

/// Takes off what a former test mounted.
fn unmount() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let targets: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    for target in targets.iter().rev().filter(|target| target.starts_with(ROOT)) {
        Outcome::of(Command::new("umount").args(["-l", target]), &[]).expect(0);
    }
}

/// Runs a script of the operator.
#[track_caller]
fn operator(script: &str) {
    let script = format!("set -e; cd {ROOT}; {script}");
    Outcome::of(Command::new("sh").args(["-c", &script]), &[]).expect(0);
}

/// The words of an operation, `@` standing for the folder of the tests.
fn op(text: &str) -> Vec<OsString> {
    text.split(' ').map(|word| word.replace('@', &format!("{ROOT}/")).into()).collect()
}

fn done(text: &str) -> Case {
    allowed(op(text))
}

fn refusal(text: &str, path: &str) -> Case {
    refused("file.setattr", "no_tool", op(text)).at(format!("{ROOT}/{path}"))
}

#[test]
fn times_need_write_by_path_and_by_descriptor() {
    // Times long ago; and now for the first, the other as it is.
    let ago = "x=0a00000000000000000000000000000014000000000000000000000000000000";
    let half = "x=0000000000000000ffffff3f000000000000000000000000feffff3f00000000";
    judge(
        session(),
        &[
            done("touch @rw/file"),
            done("touch @rw/folder"),
            done(&format!("sys utimensat -100 s=@rw/file {ago} 0")),
            done(&format!("sys utimensat -100 s=@rw/file {half} 0")),
            done("all keep-read a @rw/second and sys utimensat k=a 0 0 0"),
            // Writing changes the times too.
            done("write @rw/second x"),
            done("truncate @rw/second"),
            done("all tmpfile @rw and create @rw/new and touch @rw/new"),
            refusal("touch @ro/file", "ro/file"),
            refusal("touch @ro/folder", "ro/folder"),
            refusal(&format!("sys utimensat -100 s=@no/file {ago} 0"), "no/file"),
            refusal(&format!("sys utimensat -100 s=@no/second {half} 0"), "no/second"),
            refusal("all keep-read a @ro/second and sys utimensat k=a 0 0 0", "ro/second"),
            refused("file.setattr", "explicit_deny", op("touch @rw/key"))
                .at(format!("{ROOT}/rw/key")),
        ],
    );
}

#[test]
fn extended_attributes_need_write() {
    // Capabilities of a file, which every file system of the guests has: none at all.
    let value = "x=0000000200000000000000000000000000000000";
    let set = |path: &str| format!("sys setxattr s=@{path} s=security.capability {value} 20 0");
    let remove = |path: &str| format!("sys removexattr s=@{path} s=security.capability");
    judge(
        session(),
        &[
            done(&set("rw/file")),
            done(&remove("rw/file")),
            done(&format!(
                "all keep-read a @rw/second and sys fsetxattr k=a s=security.capability {value} 20 0"
            )),
            refusal(&set("ro/file"), "ro/file"),
            refusal(&set("no/file"), "no/file"),
            refusal(&remove("ro/file"), "ro/file"),
            refusal(
                &format!(
                    "all keep-read a @ro/second and sys fsetxattr k=a s=security.capability {value} 20 0"
                ),
                "ro/second",
            ),
            refused("file.setattr", "explicit_deny", op(&set("rw/key")))
                .at(format!("{ROOT}/rw/key")),
        ],
    );
}

#[test]
fn attributes_of_users_need_read() {
    let session = session();
    let path = |area: &str| format!("{ROOT}/{area}/file");
    let set = tests::untagged(
        &["ro", "no"].map(|area| tests::words!["setxattr", path(area), "user.secret"]),
    );
    // Where the file system has none, the kernel asks the hook first.
    let found = |text: &str| match set[0].error() {
        "" => done(text),
        error => tests::fails(if error == "EOPNOTSUPP" { "EOPNOTSUPP" } else { "" }, op(text)),
    };
    let get = |path: &str, name: &str| format!("sys 191 s=@{path} s={name} z=16 16");
    let refusal = |text: &str, path: &str| {
        refused("file.open", "no_tool", op(text)).at(format!("{ROOT}/{path}"))
    };
    operator(
        "mkdir ro/bound; echo x > no/folder/inner; mount --bind no/folder ro/bound; mount -o remount,bind,ro ro/bound",
    );
    judge(
        session,
        &[
            found(&get("ro/file", "user.secret")),
            refusal(&get("no/file", "user.secret"), "no/file"),
            found("all keep-read a @ro/file and sys 193 k=a s=user.secret z=16 16"),
            // By another way, through which nothing can be written, it may be read.
            tests::fails(
                if set[0].error().is_empty() { "ENODATA" } else { "EOPNOTSUPP" },
                op(&get("no/folder/inner", "user.secret")),
            ),
            // What is looked at wherever files are listed, and the names.
            tests::fails("ENODATA", op(&get("no/file", "security.capability"))),
            tests::fails("ENODATA", op(&get("no/file", "system.posix_acl_access"))),
            done("sys 194 s=@no/file z=256 256"),
            done("stat @no/file"),
        ],
    );
    unmount();
}

#[test]
fn set_id_bits_and_capabilities_are_given_to_no_file() {
    let refusal = |operation: &str, text: &str, path: &str| {
        refused(operation, "guard", op(text)).at(format!("{ROOT}/{path}")).would_allow(&[])
    };
    let set = |value: &str| format!("sys setxattr s=@rw/file s=security.capability x={value} 20 0");
    judge(
        session(),
        &[
            done("chmod @rw/file 0755"),
            refusal("file.setattr", "chmod @rw/file 04755", "rw/file"),
            refusal("file.setattr", "chmod @rw/file 02755", "rw/file"),
            refusal(
                "file.setattr",
                "all keep-read a @rw/second and kept-chmod a 06755",
                "rw/second",
            ),
            refusal("file.create", "sys open s=@rw/new 65 0x9ed", "rw/new"),
            refusal("file.create", "sys mknod s=@rw/node 0x89ed 0", "rw/node"),
            refusal("file.create", "sys open s=@rw 0x410002 0x9ed", "rw"),
            // Permitted, and inherited.
            refusal("file.setattr", &set("0000000201000000000000000000000000000000"), "rw/file"),
            refusal("file.setattr", &set("0100000200000000000000000000000001000000"), "rw/file"),
            done(&set("0000000200000000000000000000000000000000")),
            // A folder's bits say whose what is made in it is.
            done("chmod @rw/folder 02775"),
            done("mkdir @rw/folder/inner"),
            done("create @rw/folder/file"),
            done("chmod @rw/folder/inner 03777"),
            done("sys open s=@rw/plain 65 0x1ed"),
            done("chmod @rw/second 01644"),
        ],
    );
}

#[test]
fn access_control_lists_need_write() {
    let list = "x=0200000001000600ffffffff04000400ffffffff20000400ffffffff 28 0";
    let set = |path: &str| format!("sys setxattr s=@{path} s=system.posix_acl_access {list}");
    let remove = |path: &str| format!("sys removexattr s=@{path} s=system.posix_acl_access");
    judge(
        session(),
        &[
            done(&set("rw/file")),
            done(&remove("rw/file")),
            refusal(&set("ro/file"), "ro/file"),
            refusal(&set("no/folder"), "no/folder"),
            refusal(&remove("no/second"), "no/second"),
        ],
    );
}

#[test]
fn file_with_several_ways_to_it_may_be_changed_where_one_of_them_allows() {
    let session = session();
    operator("mkdir rw/bound no/bound ro/twice; mount --bind no/folder rw/bound");
    operator("touch no/folder/file; mount --bind rw/folder no/bound; touch rw/folder/inner");
    // Two ways, none of which allows.
    operator("mount --bind no ro/twice");
    // Which of the ways the incident names is not said.
    let incidents = judge(
        session,
        &[
            done("touch @rw/bound/file"),
            done("touch @rw/folder/inner"),
            done("touch @rw/file"),
            // By the other way it may be changed.
            done("touch @no/folder/file"),
            refused("file.setattr", "no_tool", op("touch @no/file")),
        ],
    );
    let ways = [format!("{ROOT}/no/file"), format!("{ROOT}/ro/twice/file")];
    assert!(incidents.iter().all(|found| ways.iter().any(|way| way == found.path())));
    unmount();
}

#[test]
fn way_that_can_t_be_written_through_allows_nothing() {
    let session = session();
    operator("mkdir rw/bound; mount --bind no rw/bound; mount -o remount,bind,ro rw/bound");
    judge(
        session,
        &[
            done("touch @rw/file"),
            refusal("touch @no/file", "no/file"),
            tests::fails("EROFS", op("touch @rw/bound/file")),
        ],
    );
    unmount();
}

#[test]
fn mounts_of_another_namespace_are_no_way() {
    let session = session();
    operator("mkdir rw/bound");
    let mut elsewhere = Command::new("unshare");
    elsewhere.args(["--mount", "--propagation", "private", "sh", "-c"]);
    elsewhere.arg(format!("mount --bind {ROOT}/no {ROOT}/rw/bound; echo; exec sleep 600"));
    let mut elsewhere = elsewhere.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(elsewhere.stdout.as_mut().unwrap(), &mut byte).unwrap();
    judge(session, &[done("touch @rw/file"), refusal("touch @no/file", "no/file")]);
    elsewhere.kill().unwrap();
    elsewhere.wait().unwrap();
}

#[test]
fn namespace_of_its_own_has_its_own_ways() {
    let session = session().through(["unshare", "--mount", "--propagation", "private"]);
    judge(
        session,
        &[
            done("touch @rw/file"),
            done("chmod @rw/file 0600"),
            refusal("touch @no/file", "no/file"),
        ],
    );
}

#[test]
fn overlay_changes_its_layers_for_who_may_change_the_overlay() {
    let session = session();
    operator(
        "for area in rw no; do
           mkdir -p layers/$area/lower layers/$area/upper layers/$area/work $area/merged
           echo lower > layers/$area/lower/low; echo lower > layers/$area/lower/second
           mkdir layers/$area/lower/folder
           mount -t overlay -o lowerdir=layers/$area/lower,upperdir=layers/$area/upper,workdir=layers/$area/work \\
             overlay $area/merged
         done",
    );
    judge(
        session,
        &[
            // Copied up, with attributes and times, to layers that no tool covers.
            done("touch @rw/merged/low"),
            done("chmod @rw/merged/second 0600"),
            done("touch @rw/merged/folder"),
            done("mkdir @rw/merged/new"),
            done("rmdir @rw/merged/folder"),
            done("mkdir @rw/merged/folder"),
            done("unlink @rw/merged/second"),
            refusal("touch @no/merged/low", "no/merged/low"),
            refusal("touch @layers/rw/upper/low", "layers/rw/upper/low"),
        ],
    );
    unmount();
}

#[test]
fn programs_that_keep_times_and_attributes_work_on_what_they_may_write() {
    let session = session();
    fs::copy(layout::probe(), format!("{ROOT}/ro/program")).unwrap();
    let finished = session.script(&format!(
        "set -e; cd {ROOT}/rw
         cp -p ../ro/file kept; cp -a ../ro/program copied; touch -d 2001-02-03 old; touch -r old kept
         mkdir tree; touch tree/leaf; tar cf t.tar tree; rm -r tree; tar xpf t.tar; ls -l tree > /dev/null
         mv old older; install -m 0600 kept installed; gzip installed; exec 3>&1; touch ../ro/file 2> /dev/null || echo refused"
    ));
    let finished = finished.expect(0);
    assert_eq!(finished.outcome.stdout, "refused\n", "{}", finished.outcome);
    let incidents = finished.incidents();
    assert!(
        incidents.iter().all(|found| found.path().ends_with("/ro/file"))
            && incidents
                .iter()
                .any(|found| found.operation == "file.setattr" || found.operation == "file.open"),
        "{}",
        tests::incident::list(&incidents)
    );
    let kept = fs::metadata(format!("{ROOT}/rw/kept")).unwrap();
    let older = fs::metadata(format!("{ROOT}/rw/older")).unwrap();
    assert_eq!(kept.modified().unwrap(), older.modified().unwrap());
}
