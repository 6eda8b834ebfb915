//! What the daemon gives each session: folders of its own, and changes to its command's environment.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tests::{Builder, Outcome, bed, layout, outcome::eventually, words};

const POLICY: &str = r#"
[tool.tmp]
files = [{ paths = ["{tmp}/**"], access = ["read", "write", "create", "delete", "exec"] }]
[tool.cache]
files = [{ paths = ["{cache}/**"], access = ["read", "write", "create", "delete"] }]

[profile.p]
tools = ["system", "tmp", "cache"]
env = { TMPDIR = "{tmp}", XDG_CACHE_HOME = "{cache}/x", WHO = "{user} {session}" }
env_drop = ["AWS_*", "*_TOKEN", "SSH_AUTH_SOCK"]
may_start = { users = ["nobody"] }

[profile.later]
tools = ["system"]

[profile.other]
tools = ["system", "cache"]
env = { XDG_CACHE_HOME = "{cache}" }
"#;

/// As the user `nobody`.
fn as_nobody(session: Builder) -> Builder {
    session.through(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"])
}

/// The value of a session's variable.
#[track_caller]
fn variable(session: &str, name: &str) -> PathBuf {
    let shown = bed().remit(["session", "show", session, "--json"]).expect(0).json();
    shown["variables"][name].as_str().unwrap_or_else(|| panic!("{shown}")).into()
}

#[track_caller]
fn is_gone(folder: &Path) {
    eventually("the folder to be removed", Duration::from_secs(30), || {
        fs::symlink_metadata(folder).is_err().then_some(())
    });
}

/// The record outlives the folder until the session's last process was waited for.
#[track_caller]
fn is_removed(folder: &Path) {
    is_gone(folder);
    let records = Path::new(layout::STATE).join("tmp");
    let name = format!("{}.json", folder.file_name().unwrap().to_str().unwrap());
    eventually("its record to be removed", Duration::from_secs(30), || {
        (!records.join(&name).exists()).then_some(())
    });
}

#[test]
fn temporary_folder_is_its_session_s_alone() {
    bed().policy(POLICY);
    let mut one = bed().session("p").interactive();
    let mut two = bed().session("p").interactive();
    let (of_one, of_two) = (variable(&one.name, "tmp"), variable(&two.name, "tmp"));
    assert_ne!(of_one, of_two);
    assert!(of_one.parent() == Some(Path::new("/tmp")), "{}", of_one.display());
    let found = fs::symlink_metadata(&of_one).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid()), (0o700, 0));
    let file = of_one.join("file");
    fs::write(&file, "x").unwrap();
    // Both are root's: only the policy stands between them.
    assert_eq!(one.ask(words!["open-read", &file]).error(), "");
    assert_eq!(two.ask(words!["open-read", &file]).error(), "EACCES");
    let incident = bed().incident(&two.name, |incident| file == Path::new(incident.path()));
    assert_eq!(incident.reason, "no_tool");
    fs::write(of_two.join("file"), "x").unwrap();
    assert_eq!(two.ask(words!["open-read", of_two.join("file")]).error(), "");
    assert_eq!(one.ask(words!["open-read", of_two.join("file")]).error(), "EACCES");
}

#[test]
fn what_a_session_builds_in_its_temporary_folder_runs() {
    bed().policy(POLICY);
    let script = "set -e
        stat -c '%a %U' $TMPDIR
        d=$(mktemp -d); cp /usr/bin/id $d/id; $d/id -un
        printf '#!/bin/sh\\necho script' > $d/s; chmod +x $d/s; $d/s";
    let finished = bed().session("p").script(script).expect(0).unhindered();
    assert_eq!(finished.outcome.stdout, "700 root\nroot\nscript\n");
    let finished = as_nobody(bed().session("p")).script(script).expect(0).unhindered();
    assert_eq!(finished.outcome.stdout, "700 nobody\nnobody\nscript\n");
    // Elsewhere in the same folder nothing can be made.
    let finished = bed().session("p").script("echo > /tmp/remit-x").expect(2);
    assert_eq!(finished.incident().path(), "/tmp/remit-x");
}

#[test]
fn temporary_folder_goes_with_its_session() {
    bed().policy(POLICY);
    let fill = "cd $TMPDIR; mkdir -p a/b/c; echo x > a/b/f; chmod 0 a/b/c; echo $TMPDIR";
    let folder = |text: &str| PathBuf::from(text.trim());
    let finished = bed().session("p").script(fill).expect(0);
    is_removed(&folder(&finished.outcome.stdout));
    let finished = as_nobody(bed().session("p")).script(fill).expect(0);
    is_removed(&folder(&finished.outcome.stdout));

    let killed = bed().session("p").interactive();
    let of_killed = variable(&killed.name, "tmp");
    bed().remit(["session", "end", &killed.name, "--kill"]).expect(0);
    is_gone(&of_killed);
    drop(killed);
    is_removed(&of_killed);
    // One whose processes live on.
    let mut ended = bed().session("p").interactive();
    let of_ended = variable(&ended.name, "tmp");
    fs::write(of_ended.join("file"), "x").unwrap();
    bed().remit(["session", "end", &ended.name]).expect(0);
    is_gone(&of_ended);
    assert_eq!(ended.ask(words!["mkdir", &of_ended]).error(), "EACCES");
    drop(ended);
    is_removed(&of_ended);
    // A start that fails leaves none.
    let count = || fs::read_dir(Path::new(layout::STATE).join("tmp")).unwrap().count();
    let none_is_left = || {
        eventually("all to be removed", Duration::from_secs(30), || (count() == 0).then_some(()))
    };
    none_is_left();
    bed().session("p").option("--var", "tmp=/etc").run(["true"]).outcome.expect(1);
    none_is_left();
}

#[test]
fn temporary_folder_is_removed_by_the_next_daemon() {
    bed().policy(POLICY);
    let lives = bed().session("p").interactive();
    let ends = as_nobody(bed().session("p")).spawn(["sh", "-c", "echo x > $TMPDIR/file; sleep 4"]);
    let (of_lives, of_ends) = (variable(&lives.name, "tmp"), variable(&ends.name, "tmp"));
    bed().kill();
    ends.wait();
    assert!(of_ends.join("file").exists());
    // With no more capabilities than the installed daemon has.
    bed().start_as_unit();
    is_removed(&of_ends);
    as_nobody(bed().session("p")).script("echo x > $TMPDIR/f").expect(0).unhindered();
    assert!(of_lives.exists(), "its session is live");
    drop(lives);
    is_removed(&of_lives);
}

#[test]
fn removal_leaves_what_a_temporary_folder_leads_to() {
    bed().policy(POLICY);
    let outside = bed().folder("private");
    fs::write(outside.join("kept"), "x").unwrap();
    let (shown, links) = (outside.display(), bed().session("p"));
    let script = format!(
        "cd $TMPDIR; ln -s {shown} link; mkdir -p d/e; ln -s {shown} d/e/link; ln -s {shown}/kept d/k
         i=0; while [ $i -lt 20 ]; do mkdir deep; mv d deep/d; mv deep d; i=$((i+1)); done
         echo $TMPDIR"
    );
    let finished = links.script(&script).expect(0);
    is_removed(Path::new(finished.outcome.stdout.trim()));
    assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "x");

    // What somebody mounted there is not the session's.
    let session = bed().session("p").interactive();
    let folder = variable(&session.name, "tmp");
    let (mount, link) = (folder.join("mount"), folder.join("gone"));
    fs::create_dir(&mount).unwrap();
    fs::write(&link, "x").unwrap();
    let run = |program: &str, arguments: &[&Path]| {
        Outcome::of(Command::new(program).args(arguments), &[]).expect(0);
    };
    run("mount", &[Path::new("--bind"), &outside, &mount]);
    bed().remit(["session", "end", &session.name, "--kill"]).expect(0);
    eventually("the rest to be removed", Duration::from_secs(30), || {
        (!link.exists()).then_some(())
    });
    assert!(mount.join("kept").exists() && outside.join("kept").exists());
    run("umount", &[&mount]);
    drop(session);
    bed().session("p").run(["true"]).expect(0);
    is_removed(&folder);
    assert!(outside.join("kept").exists());

    // A session of root that replaces its folder by a link has that link removed.
    let script = format!("rmdir $TMPDIR; ln -s {shown} $TMPDIR; echo $TMPDIR");
    let finished = bed().session("p").script(&script).expect(0);
    is_removed(Path::new(finished.outcome.stdout.trim()));
    assert!(outside.join("kept").exists());
}

#[test]
fn cache_is_kept_for_its_profile_and_user() {
    bed().policy(POLICY);
    let cache = Path::new(layout::CACHE);
    let own = "mkdir -p $XDG_CACHE_HOME; echo x >> $XDG_CACHE_HOME/f; wc -l < $XDG_CACHE_HOME/f";
    for count in 1..3 {
        let finished = bed().session("p").script(own).expect(0).unhindered();
        assert_eq!(finished.outcome.stdout, format!("{count}\n"));
    }
    as_nobody(bed().session("p")).script(own).expect(0).unhindered();
    let stat = |path: PathBuf| {
        let found = fs::symlink_metadata(&path).unwrap();
        (found.mode() & 0o7777, found.uid())
    };
    assert_eq!(stat(cache.join("p/0")), (0o700, 0));
    assert_eq!(stat(cache.join("p/65534")), (0o700, 65534));
    assert_eq!((stat(cache.join("p")), stat(cache.into())), ((0o711, 0), (0o711, 0)));
    let of_p = cache.join("p/0/x/f").display().to_string();
    let finished = bed().session("other").script(&format!("cat {of_p}")).expect(1);
    assert_eq!(finished.incident().path(), of_p);
    bed().session("other").script("echo x > $XDG_CACHE_HOME/f").expect(0).unhindered();

    // A link that a session of root puts there leads the next one nowhere.
    let outside = bed().folder("private-cache");
    let replace =
        format!("rm -r {0}/other/0; ln -s {1} {0}/other/0", layout::CACHE, outside.display());
    bed().session("other").script(&replace).expect(0);
    bed().session("other").script("echo x > $XDG_CACHE_HOME/f").expect(0).unhindered();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn tool_granted_later_finds_its_folder() {
    bed().policy(POLICY);
    let mut session = bed().session("later").interactive();
    let file = variable(&session.name, "tmp").join("file");
    fs::write(&file, "x").unwrap();
    assert_eq!(session.ask(words!["open-read", &file]).error(), "EACCES");
    session.grant("tmp");
    assert_eq!(session.ask(words!["open-read", &file]).error(), "");
    // Where no rule uses it, none is made.
    bed().policy("[profile.p]\ntools = [\"system\"]\n");
    let plain = bed().session("p").interactive();
    let shown = bed().remit(["session", "show", &plain.name, "--json"]).expect(0).json();
    assert!(shown["variables"]["tmp"].is_null(), "{shown}");
    assert_eq!(
        (&shown["variables"]["session"], &shown["variables"]["user"]),
        (&shown["id"], &"root".into())
    );
}

#[test]
fn environment_is_what_the_profile_says() {
    bed().policy(POLICY);
    let session =
        || bed().session("p").environment("GH_TOKEN", "secret").environment("AWS_KEY", "secret");
    let script = "echo \"$WHO ${GH_TOKEN-none} ${AWS_KEY-none} ${LANG-none}\"; echo $TMPDIR";
    let finished =
        session().environment("LANG", "C").environment("TMPDIR", "/etc").script(script).expect(0);
    let shown = bed().remit(["session", "show", &finished.name, "--json"]).expect(0).json();
    let (id, tmp) = (&shown["id"], &shown["variables"]["tmp"]);
    let expected =
        format!("root {} none none C\n{}\n", id.as_str().unwrap(), tmp.as_str().unwrap());
    assert_eq!(finished.outcome.stdout, expected);
    assert_eq!(finished.outcome.stderr, "remit: not passed on: AWS_KEY, GH_TOKEN\n");
    let quiet = bed().session("p").run(["true"]).expect(0);
    assert_eq!(quiet.outcome.stderr, "");
    for name in ["tmp", "cache", "session", "user", "home", "gitdir"] {
        let given = session().option("--var", format!("{name}=x")).run(["true"]).outcome.expect(1);
        assert!(given.stderr.contains(&format!("`{name}` can't be set")), "{given}");
    }
}

const GIT: &str = r#"
[tool.git]
files = [
  { paths = ["{workdir}/**"], access = ["read", "write", "create", "delete"] },
  { paths = ["{gitdir}/**"], access = ["read"] },
  { paths = ["{gitdir}/objects/**", "{gitdir}/refs/**", "{gitdir}/logs/**",
             "{gitdir}/packed-refs", "{gitdir}/packed-refs.lock",
             "{gitdir}/worktrees/{worktree}/**"], access = ["read", "write", "create", "delete"] },
]
[profile.git]
tools = ["system", "git"]
[profile.maybe]
tools = ["system"]
may_start = { users = ["nobody"] }
"#;

/// Runs git as the operator.
#[track_caller]
fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").current_dir(folder).args(arguments);
    Outcome::of(&mut command, &[]).expect(0);
}

/// Makes a repository with one commit.
fn repository(folder: &Path) {
    fs::create_dir(folder).unwrap();
    git(folder, &["init", "-q"]);
    git(folder, &["commit", "-q", "--allow-empty", "-m", "first"]);
}

/// A session of git's in a folder.
fn git_session(folder: &Path) -> Builder {
    let session = bed().session("git").workdir(folder).folder(folder);
    let session = session.environment("GIT_CONFIG_GLOBAL", "/dev/null");
    ["AUTHOR", "COMMITTER"].into_iter().fold(session, |session, who| {
        let session = session.environment(&format!("GIT_{who}_NAME"), "a");
        session.environment(&format!("GIT_{who}_EMAIL"), "a@b")
    })
}

const COMMIT: &str =
    "echo x >> f && git add f && git commit -qm change && git log --oneline | wc -l";

#[test]
fn linked_worktree_reaches_its_repository_and_no_other_part() {
    bed().policy(GIT);
    let folder = bed().folder("private-git");
    let (main, tree) = (folder.join("main"), folder.join("wt"));
    repository(&main);
    git(&main, &["worktree", "add", "-q", "../wt"]);
    git(&main, &["worktree", "add", "-q", "../two"]);
    let finished = git_session(&tree).script(COMMIT).expect(0);
    assert_eq!(finished.outcome.stdout.trim(), "2");
    finished.unhindered();
    git(&main, &["rev-parse", "wt~1"]);

    let dir = main.join(".git");
    let mut session = git_session(&tree).interactive();
    for closed in ["hooks/pre-commit", "config", "HEAD", "worktrees/two/HEAD"] {
        let path = dir.join(closed);
        assert_eq!(session.ask(words!["open-create", &path]).error(), "EACCES", "{closed}");
    }
    for open in ["objects/x", "refs/x", "worktrees/wt/x"] {
        assert_eq!(session.ask(words!["open-create", dir.join(open)]).error(), "", "{open}");
        fs::remove_file(dir.join(open)).unwrap();
    }
    let shown = bed().remit(["session", "show", &session.name, "--json"]).expect(0).json();
    assert_eq!(shown["variables"]["gitdir"], dir.to_str().unwrap());
    assert_eq!(shown["variables"]["worktree"], "wt");
}

#[test]
fn session_can_t_have_another_repository_given_to_the_next() {
    bed().policy(GIT);
    let folder = bed().folder("private-git-other");
    for name in ["main", "victim"] {
        repository(&folder.join(name));
    }
    git(&folder.join("main"), &["worktree", "add", "-q", "../wt"]);
    let tree = folder.join("wt");
    let victim = folder.join("victim/.git");
    let plant = format!("echo 'gitdir: {}' > .git", victim.display());
    git_session(&tree).script(&plant).expect(0).unhindered();
    let refused = git_session(&tree).run(["true"]).outcome.expect(1);
    assert!(refused.stderr.contains("needs the work folder's repository"), "{refused}");
    assert!(refused.stderr.contains("core.worktree"), "{refused}");
    // Without a rule of its own that needs one, a session starts, and is told.
    let told = bed().session("maybe").workdir(&tree).run(["true"]).expect(0);
    assert!(told.outcome.stderr.contains("remit: no tool covers the work folder's repository"));
    // Nobody gets the repository of another user.
    let theirs = folder.join("theirs");
    fs::create_dir(&theirs).unwrap();
    fs::write(theirs.join(".git"), format!("gitdir: {}\n", victim.display())).unwrap();
    for path in [&theirs, &theirs.join(".git")] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    let told = as_nobody(bed().session("maybe").workdir(&theirs)).run(["true"]).expect(0);
    assert!(told.outcome.stderr.contains("not a repository of your own"), "{}", told.outcome);
}

#[test]
fn repository_apart_and_submodule_work() {
    bed().policy(GIT);
    let folder = bed().folder("private-git-apart");
    let (main, apart) = (folder.join("main"), folder.join("apart"));
    repository(&main);
    git(&folder, &["clone", "-q", "--separate-git-dir=apart.git", "main", "apart"]);
    git(&folder, &["init", "-q", "super"]);
    git(&folder.join("super"), &["submodule", "--quiet", "add", "../main", "sub"]);
    // Here the index and the branch's name are in the repository itself.
    let policy = GIT
        .replace("{gitdir}/objects/**", "{gitdir}/**")
        .replace(",\n             \"{gitdir}/worktrees/{worktree}/**\"", "");
    bed().policy(&policy);
    for place in [apart, folder.join("super/sub")] {
        for count in 2..4 {
            let finished = git_session(&place).script(COMMIT).expect(0);
            assert_eq!(finished.outcome.stdout.trim(), count.to_string());
            finished.unhindered();
        }
    }
}
