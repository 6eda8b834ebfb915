//! Mounts: a rule means the path as seen from the host's root, whatever is mounted there. What can't be
//! reached from that root has no path, and no tool covers it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tests::{Builder, Outcome, allowed, bed, judge, layout, refused, skip, words};

/// The folder of the tests.
const ROOT: &str = "/srv/test/mounts";

/// An empty folder, and a policy with the profile `p`, which may use all below `in`, and run `bin`.
fn session() -> Builder {
    unmount();
    let root = bed().folder("mounts");
    for area in ["in", "out"] {
        fs::create_dir_all(root.join(area)).unwrap();
        fs::write(root.join(area).join("file"), area).unwrap();
    }
    bed().policy(
        r#"
        [tool.t]
        files = [{ paths = ["/srv/test/mounts/in/**"], access = ["read", "write", "create", "delete"] }]
        [tool.out]
        files = [{ paths = ["/srv/test/mounts/out/**"], access = ["read"] }]
        [profile.p]
        tools = ["system", "t"]
        "#,
    );
    bed().session("p")
}

fn path(below: &str) -> PathBuf {
    Path::new(ROOT).join(below)
}

/// Runs a script of the operator.
#[track_caller]
fn operator(script: &str) -> Outcome {
    let script = format!("set -e; cd {ROOT}; {script}");
    Outcome::of(Command::new("sh").args(["-c", &script]), &[]).expect(0)
}

/// Takes off what a former test mounted.
fn unmount() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mut targets: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    targets.retain(|target| target.starts_with(ROOT));
    for target in targets.iter().rev() {
        Outcome::of(Command::new("umount").args(["-l", target]), &[]).expect(0);
    }
}

#[test]
fn bind_mount_is_judged_by_where_it_is_seen() {
    let session = session();
    operator("mkdir in/bound out/bound; mount --bind out in/bound; mount --bind in out/bound");
    judge(
        session,
        &[
            allowed(words!["open-both", path("in/file")]),
            allowed(words!["open-both", path("in/bound/file")]),
            allowed(words!["create", path("in/bound/new")]),
            refused("file.open", "no_tool", words!["open-read", path("out/file")])
                .at(format!("{ROOT}/out/file"))
                .would_allow(&["out"]),
            refused("file.open", "no_tool", words!["open-read", path("out/bound/file")])
                .at(format!("{ROOT}/out/bound/file")),
            refused("file.open", "no_tool", words!["list", path("out/bound")])
                .at(format!("{ROOT}/out/bound")),
            refused("file.delete", "no_tool", words!["unlink", path("out/bound/file")])
                .at(format!("{ROOT}/out/bound/file")),
        ],
    );
    unmount();
    assert_eq!(fs::read(path("out/new")).unwrap(), b"");
}

#[test]
fn bind_mount_of_one_file_is_judged_by_where_it_is_seen() {
    let session = session();
    operator(
        "touch in/bound out/bound; mount --bind out/file in/bound; mount --bind in/file out/bound",
    );
    judge(
        session,
        &[
            allowed(words!["open-both", path("in/bound")]),
            refused("file.open", "no_tool", words!["open-read", path("out/bound")])
                .at(format!("{ROOT}/out/bound")),
            allowed(words!["open-both", path("in/bound")]),
            refused("file.open", "no_tool", words!["open-read", path("out/file")])
                .at(format!("{ROOT}/out/file")),
        ],
    );
    unmount();
}

#[test]
fn file_system_of_its_own_is_judged_by_its_mount_point() {
    let session = session();
    operator(
        "for area in in out; do
           mkdir -p $area/tmpfs; mount -t tmpfs tmpfs $area/tmpfs
           mkdir -p $area/tmpfs/a/second; echo x > $area/tmpfs/a/file
           mount -t tmpfs tmpfs $area/tmpfs/a/second; echo x > $area/tmpfs/a/second/file
         done",
    );
    judge(
        session,
        &[
            allowed(words!["open-both", path("in/tmpfs/a/file")]),
            allowed(words!["open-both", path("in/tmpfs/a/second/file")]),
            allowed(words!["mkdir", path("in/tmpfs/a/second/new")]),
            allowed(words!["list", path("in/tmpfs")]),
            refused("file.open", "no_tool", words!["open-read", path("out/tmpfs/a/file")])
                .at(format!("{ROOT}/out/tmpfs/a/file")),
            refused("file.open", "no_tool", words!["open-read", path("out/tmpfs/a/second/file")])
                .at(format!("{ROOT}/out/tmpfs/a/second/file")),
            refused("file.open", "no_tool", words!["list", path("out/tmpfs")])
                .at(format!("{ROOT}/out/tmpfs")),
        ],
    );
    unmount();
}

#[test]
fn overlay_is_judged_by_its_own_paths() {
    let session = session();
    operator(
        "for area in in out; do
           mkdir -p layers/$area/lower layers/$area/upper layers/$area/work $area/merged
           echo lower > layers/$area/lower/low; echo lower > layers/$area/lower/second
           echo upper > layers/$area/upper/up
           mount -t overlay -o lowerdir=layers/$area/lower,upperdir=layers/$area/upper,workdir=layers/$area/work \
             overlay $area/merged
         done",
    );
    judge(
        session,
        &[
            allowed(words!["read", path("in/merged/low")]),
            allowed(words!["read", path("in/merged/up")]),
            // Copied up, which reads and writes layers that no tool covers.
            allowed(words!["write", path("in/merged/low"), "new"]),
            allowed(words!["chmod", path("in/merged/second"), "0600"]),
            allowed(words!["create", path("in/merged/new")]),
            allowed(words!["rename", path("in/merged/new"), path("in/merged/newer")]),
            allowed(words!["unlink", path("in/merged/up")]),
            allowed(words!["list", path("in/merged")]),
            refused("file.open", "no_tool", words!["open-read", path("out/merged/low")])
                .at(format!("{ROOT}/out/merged/low")),
            refused("file.open", "no_tool", words!["open-write", path("out/merged/up")])
                .at(format!("{ROOT}/out/merged/up")),
            refused("file.create", "no_tool", words!["create", path("out/merged/new")])
                .at(format!("{ROOT}/out/merged/new")),
            refused("file.open", "no_tool", words!["open-read", path("layers/in/lower/low")])
                .at(format!("{ROOT}/layers/in/lower/low")),
        ],
    );
    unmount();
    assert_eq!(fs::read_to_string(path("layers/in/lower/low")).unwrap(), "lower\n");
}

#[test]
fn rules_of_mounted_files_do_not_apply_below_a_mount_that_covers_them() {
    let session = session();
    let mut probe = session.interactive();
    assert_eq!(probe.ask(words!["open-read", path("in/file")]).error(), "");
    operator("mount -t tmpfs tmpfs in; echo x > in/file; mkdir out/in; mount --move in out/in");
    assert_eq!(probe.ask(words!["open-read", path("in/file")]).error(), "");
    assert_eq!(probe.ask(words!["open-read", path("out/in/file")]).error(), "EACCES");
    operator("mount --move out/in in");
    assert_eq!(probe.ask(words!["open-read", path("in/file")]).error(), "");
    unmount();
    assert_eq!(probe.ask(words!["open-read", path("in/file")]).error(), "");
}

#[test]
fn mount_namespace_with_the_host_s_root_is_judged_as_the_host() {
    let session = session().through(["unshare", "--mount", "--propagation", "private"]);
    judge(
        session,
        &[
            allowed(words!["open-both", path("in/file")]),
            refused("file.open", "no_tool", words!["open-read", path("out/file")])
                .at(format!("{ROOT}/out/file")),
        ],
    );
}

/// A root with the machine's programs and the files of the tests.
const OTHER_ROOT: &str = "
    mkdir -p root; mount -t tmpfs tmpfs root; cd root
    mkdir -p usr lib lib64 bin dev proc run srv/test/mounts/in old
    for place in usr lib lib64 bin dev proc run; do mount --rbind /$place $place; done
    echo x > srv/test/mounts/in/file";

#[test]
fn namespace_with_another_root_is_covered_by_no_rule() {
    let session = session();
    let probe = layout::probe();
    let file = path("in/file");
    // The command itself can't be run there: its path isn't one of the host either.
    let outcome = Outcome::of(
        Command::new("unshare").args(["--mount", "--propagation", "private", "sh", "-ec"]).arg(format!(
            "cd {ROOT}\n{OTHER_ROOT}\npivot_root . old\ncd /\numount -l old\n\
             {probe} open-read {file}\nexec remit --socket {socket} run --profile p --name {name} -- {probe} open-read {file}",
            probe = probe.display(),
            file = file.display(),
            socket = layout::SOCKET,
            name = session.name(),
        )).env("PATH", std::env::var_os("PATH").unwrap()),
        &[],
    );
    if outcome.stderr.contains("remit: not found") {
        skip!("`remit` is not seen from the other root");
    }
    assert_eq!(outcome.stdout, "ok \n", "{outcome}");
    assert_eq!(outcome.status, Some(126), "{outcome}");
    let incidents = bed().incidents(session.name());
    assert!(!incidents.is_empty());
    for incident in &incidents {
        assert_eq!(incident.reason, "unresolved", "{}", tests::incident::list(&incidents));
    }
}

#[test]
fn changed_root_of_the_host_s_mounts_is_judged_as_the_host() {
    let session = session();
    operator(
        "mkdir jail; for place in usr lib lib64 bin dev proc run srv; do
           [ -L /$place ] && cp -P /$place jail/ && continue
           mkdir jail/$place; [ $place = srv ] || mount --rbind /$place jail/$place
         done
         mkdir -p jail/srv/test/mounts/in; echo x > jail/srv/test/mounts/in/file",
    );
    // As seen from the host's root, the programs lie below `jail`, where nothing may be run.
    let finished = session.through(["unshare", "--mount"]).run([
        "chroot",
        path("jail").to_str().unwrap(),
        layout::probe().to_str().unwrap(),
        "open-read",
        path("in/file").to_str().unwrap(),
    ]);
    assert_ne!(finished.outcome.status, Some(0), "{}", finished.outcome);
    let incidents = finished.incidents();
    let below = |found: &tests::Incident| {
        found.path().starts_with("/srv/test/mounts/jail/") || found.operation == "priv.capability"
    };
    assert!(incidents.iter().any(below), "{}", tests::incident::list(&incidents));
    unmount();
}
