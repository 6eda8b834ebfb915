//! Answers that are kept: the same file asked for again, under another name, by another session, after
//! what led to it has changed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tests::{Interactive, Outcome, bed, outcome::eventually, words};

const ROOT: &str = "/srv/test/cache";

fn path(below: &str) -> PathBuf {
    Path::new(ROOT).join(below)
}

/// An empty folder, and a policy with the profile `p`, which may use all below `in`, and the profile
/// `own`, which may use all below its work folder.
fn lay_out() {
    bed().folder("cache");
    for area in ["in", "out", "in/folder", "a", "b"] {
        fs::create_dir_all(path(area)).unwrap();
        fs::write(path(area).join("file"), area).unwrap();
    }
    bed().policy(
        r#"
        [tool.t]
        files = [{ paths = ["/srv/test/cache/in/**"], access = ["read", "write", "create", "delete"] }]
        [tool.own]
        files = [{ paths = ["{workdir}/**"], access = ["read", "write", "create", "delete"] }]
        [tool.out]
        files = [{ paths = ["/srv/test/cache/out/**"], access = ["read"] }]
        [profile.p]
        tools = ["system", "t"]
        request.out = { max_ttl = "1h", approval = "automatic" }
        [profile.own]
        tools = ["system", "own"]
        "#,
    );
}

/// Opening a file for reading ends with this error.
#[track_caller]
fn opens(probe: &mut Interactive, file: impl AsRef<Path>, error: &str) {
    let file = file.as_ref();
    assert_eq!(probe.ask(words!["open-read", file]).error(), error, "{}", file.display());
}

#[test]
fn same_act_gets_the_same_answer_again_and_again() {
    lay_out();
    let mut probe = bed().session("p").interactive();
    for _ in 0..50 {
        opens(&mut probe, path("in/file"), "");
        opens(&mut probe, path("out/file"), "EACCES");
        assert_eq!(probe.ask(words!["open-both", path("in/folder/file")]).error(), "");
        assert_eq!(probe.ask(words!["open-both", path("out/file")]).error(), "EACCES");
    }
    let incidents = probe.incidents();
    let counted: u64 = incidents.iter().map(|incident| incident.count).sum();
    assert_eq!(counted, 100, "{}", tests::incident::list(&incidents));
    assert!(incidents.iter().all(|incident| incident.path() == path("out/file").to_str().unwrap()));
}

#[test]
fn answer_does_not_outlive_a_rename_of_a_folder_above() {
    lay_out();
    let mut probe = bed().session("p").interactive();
    for _ in 0..5 {
        opens(&mut probe, path("in/folder/file"), "");
        fs::rename(path("in/folder"), path("out/folder")).unwrap();
        opens(&mut probe, path("out/folder/file"), "EACCES");
        fs::rename(path("out/folder"), path("in/folder")).unwrap();
        opens(&mut probe, path("in/folder/file"), "");
        fs::rename(path("in"), path("elsewhere")).unwrap();
        opens(&mut probe, path("elsewhere/folder/file"), "EACCES");
        fs::rename(path("elsewhere"), path("in")).unwrap();
    }
    opens(&mut probe, path("in/folder/file"), "");
}

#[test]
fn answer_does_not_outlive_a_rename_of_the_file() {
    lay_out();
    let mut probe = bed().session("p").interactive();
    for _ in 0..5 {
        opens(&mut probe, path("in/file"), "");
        fs::rename(path("in/file"), path("out/moved")).unwrap();
        opens(&mut probe, path("out/moved"), "EACCES");
        fs::rename(path("out/moved"), path("in/file")).unwrap();
    }
}

#[test]
fn hard_links_of_one_file_are_judged_each_by_its_own_path() {
    lay_out();
    fs::hard_link(path("in/file"), path("out/linked")).unwrap();
    let mut probe = bed().session("p").interactive();
    for _ in 0..10 {
        opens(&mut probe, path("in/file"), "");
        opens(&mut probe, path("out/linked"), "EACCES");
    }
}

#[test]
fn name_made_where_another_was_removed_is_judged_by_itself() {
    // Names of one folder, links to one file: an answer kept for the first must not serve the second,
    // even where the kernel uses the first one's memory again. Not on tmpfs, which keeps its names in
    // memory for good.
    let folder = Path::new("/var/remit-test-names");
    tests::layout::empty(folder);
    bed().policy(
        r#"
        [tool.t]
        files = [{ paths = ["/var/remit-test-names/yes"], access = ["read"] }]
        [profile.p]
        tools = ["system", "t"]
        "#,
    );
    let (yes, no) = (folder.join("yes"), folder.join("no"));
    fs::write(&no, "content").unwrap();
    let mut probe = bed().session("p").interactive();
    for _ in 0..100 {
        fs::hard_link(&no, &yes).unwrap();
        fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
        opens(&mut probe, &yes, "");
        fs::remove_file(&yes).unwrap();
        opens(&mut probe, &no, "EACCES");
    }
}

#[test]
fn sessions_with_the_same_tool_and_other_folders_do_not_share_answers() {
    lay_out();
    fs::hard_link(path("a/file"), path("b/shared")).unwrap();
    let mut first = bed().session("own").workdir(path("a")).interactive();
    let mut second = bed().session("own").workdir(path("b")).interactive();
    for _ in 0..10 {
        opens(&mut first, path("a/file"), "");
        opens(&mut second, path("a/file"), "EACCES");
        opens(&mut second, path("b/file"), "");
        opens(&mut first, path("b/file"), "EACCES");
        opens(&mut second, path("b/shared"), "");
        opens(&mut first, path("b/shared"), "EACCES");
    }
    for (probe, theirs) in [(&first, "b/"), (&second, "a/")] {
        let incidents = probe.incidents();
        let theirs = path(theirs).display().to_string();
        assert!(!incidents.is_empty());
        for incident in &incidents {
            assert!(incident.path().starts_with(&theirs), "{}", incident.path());
            assert_eq!(incident.reason, "no_tool");
        }
    }
}

#[test]
fn session_that_takes_a_former_one_s_place_does_not_get_its_answers() {
    lay_out();
    for _ in 0..3 {
        for (mine, theirs) in [("a", "b"), ("b", "a")] {
            let mut probe = bed().session("own").workdir(path(mine)).interactive();
            opens(&mut probe, path(mine).join("file"), "");
            opens(&mut probe, path(theirs).join("file"), "EACCES");
        }
    }
}

#[test]
fn answer_follows_grant_and_revocation() {
    lay_out();
    let mut probe = bed().session("p").workdir(path("in")).interactive();
    for _ in 0..5 {
        opens(&mut probe, path("out/file"), "EACCES");
        probe.grant("out");
        opens(&mut probe, path("out/file"), "");
        assert_eq!(probe.ask(words!["open-write", path("out/file")]).error(), "EACCES");
        probe.revoke("out");
    }
    opens(&mut probe, path("out/file"), "EACCES");
    let incidents = probe.incidents();
    let first = incidents.iter().find(|incident| incident.access == ["read"]).unwrap();
    assert_eq!(first.would_allow, ["out"]);
}

#[test]
fn what_is_known_of_a_folder_follows_grant_revocation_and_expiry() {
    lay_out();
    let mut probe = bed().session("p").interactive();
    let (one, other, apart) = (path("in/one"), path("in/other"), path("out/one"));
    let acts = [
        words!["create", one],
        words!["rename", one, other],
        words!["rename", other, one],
        words!["unlink", one],
        words!["mkdir", one],
        words!["rename", one, other],
        words!["rmdir", other],
    ];
    let all = |probe: &mut Interactive| {
        for act in &acts {
            assert_eq!(probe.ask(act).error(), "", "{act:?}");
        }
    };
    let none = |probe: &mut Interactive| {
        for act in [
            words!["create", one],
            words!["mkdir", one],
            words!["rename", path("in/file"), other],
            words!["unlink", path("in/file")],
        ] {
            assert_eq!(probe.ask(&act).error(), "EACCES", "{act:?}");
        }
    };
    for _ in 0..3 {
        all(&mut probe);
        probe.revoke("t");
        none(&mut probe);
        probe.grant("t");
    }
    all(&mut probe);
    probe.revoke("t");
    bed().remit(["grant", &probe.name, "t", "--ttl", "5s", "--reason", "test"]).expect(0);
    all(&mut probe);
    eventually("the grant to run out", Duration::from_secs(60), || {
        (probe.ask(words!["read", path("in/file")]).error() == "EACCES").then_some(())
    });
    none(&mut probe);
    probe.grant("t");
    // What is known of one folder says nothing of another, nor of a right that nobody asked for.
    assert_eq!(probe.ask(words!["create", one]).error(), "");
    assert_eq!(probe.ask(words!["rename", one, apart]).error(), "EACCES");
    assert_eq!(probe.ask(words!["rename", path("out/file"), other]).error(), "EACCES");
    assert_eq!(probe.ask(words!["unlink", path("out/file")]).error(), "EACCES");
    assert_eq!(probe.ask(words!["unlink", one]).error(), "");
}

#[test]
fn answer_follows_the_policy() {
    lay_out();
    let mut probe = bed().session("p").interactive();
    opens(&mut probe, path("in/file"), "");
    opens(&mut probe, path("out/file"), "EACCES");
    let policy = |area: &str| {
        bed().policy(&format!(
            "[tool.t]\nfiles = [{{ paths = [\"{ROOT}/{area}/**\"], access = [\"read\"] }}]\n\
             [profile.p]\ntools = [\"system\", \"t\"]\n"
        ));
    };
    for _ in 0..3 {
        policy("out");
        opens(&mut probe, path("in/file"), "EACCES");
        opens(&mut probe, path("out/file"), "");
        policy("in");
        opens(&mut probe, path("in/file"), "");
        opens(&mut probe, path("out/file"), "EACCES");
    }
}

#[test]
fn folder_renamed_back_and_forth_gives_no_wrong_answer() {
    lay_out();
    // `in/folder` may be read, `out/folder` may not; what is opened below is one of both, or not there.
    let mut mover = Command::new("python3")
        .args(["-c", &format!(
            "import os\nwhile True:\n os.rename('{ROOT}/in/folder', '{ROOT}/out/folder')\n os.rename('{ROOT}/out/folder', '{ROOT}/in/folder')"
        )])
        .spawn()
        .unwrap();
    let finished = bed().session("p").run([
        "python3",
        "-c",
        &format!(
            "
import os, time
end = time.time() + 5
counts = dict(read=0, refused=0, missing=0, wrong=0)
while time.time() < end:
    for area in 'in', 'out':
        try:
            fd = os.open('{ROOT}/' + area + '/folder/file', os.O_RDONLY)
            counts['read'] += 1
            os.close(fd)
        except PermissionError: counts['refused'] += 1
        except FileNotFoundError: counts['missing'] += 1
    os.stat('{ROOT}/in/file')
    try: os.close(os.open('{ROOT}/in/file', os.O_RDONLY))
    except PermissionError: counts['wrong'] += 1
    try:
        os.close(os.open('{ROOT}/out/file', os.O_RDONLY))
        counts['wrong'] += 1
    except PermissionError: pass
print(counts)
raise SystemExit(counts['wrong'] or not counts['read'])
"
        ),
    ]);
    mover.kill().unwrap();
    mover.wait().unwrap();
    let finished = finished.expect(0);
    // An opening that met the folder in `in` may find it in `out` when it is judged, not the reverse.
    let known = ["/out/folder/file", "/out/file", "/out/folder"];
    for incident in finished.incidents() {
        let path = incident.path();
        assert!(known.iter().any(|end| path == format!("{ROOT}{end}")), "{incident:?}");
    }
}

#[test]
fn answer_does_not_outlive_a_mount() {
    lay_out();
    let mut probe = bed().session("p").interactive();
    opens(&mut probe, path("in/folder/file"), "");
    let run = |words: &[&str]| {
        Outcome::of(Command::new(words[0]).args(&words[1..]), &[]).expect(0);
    };
    let (inner, outer) = (path("in/folder"), path("out/bound"));
    fs::create_dir(&outer).unwrap();
    run(&["mount", "--bind", inner.to_str().unwrap(), outer.to_str().unwrap()]);
    opens(&mut probe, outer.join("file"), "EACCES");
    opens(&mut probe, inner.join("file"), "");
    opens(&mut probe, outer.join("file"), "EACCES");
    run(&["umount", outer.to_str().unwrap()]);
    opens(&mut probe, inner.join("file"), "");
}
