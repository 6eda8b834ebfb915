//! What ships: taken by `use`, or refused with its place; real programs beside a real home folder work under it; and what
//! others run by themselves can't be planted.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use tests::{Builder, Outcome, bed, layout, slow};

/// The number of the user `nobody` and of its group.
const NOBODY: u32 = 65534;
/// The user's home folder.
const HOME: &str = "/home/shipped";
/// How a user starts a session.
const AS_USER: [&str; 4] = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];

/// As `coder`, which only operators start.
const DEV: &str = r#"
[profile.dev]
tools = ["base", "workspace", "scratch", "toolchains", "git", "ssh", "npm", "pip", "cargo", "node", "java", "editors"]
may_start = { users = ["nobody"] }
"#;

/// Who works: in a folder of their own, with a home folder elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Root,
    User,
}

const BOTH: [Who; 2] = [Who::Root, Who::User];

impl Who {
    /// An empty work folder, and a session in it.
    fn scene(self, name: &str) -> (PathBuf, Builder) {
        bed().default_policy(DEV);
        let folder = bed().folder(name);
        let session = bed().session("dev").workdir(&folder).folder(&folder);
        if self == Self::Root {
            return (folder, session.environment("HOME", "/root"));
        }
        layout::empty(Path::new(HOME));
        fs::write(Path::new(HOME).join(".gitconfig"), "[user]\nname = U\nemail = u@example.com\n")
            .unwrap();
        for path in [&*folder, Path::new(HOME)] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        (folder, session.through(AS_USER).environment("HOME", HOME))
    }
}

#[test]
fn git_works_beside_a_real_home_folder() {
    for who in BOTH {
        let (folder, session) = who.scene("shipped-git");
        let finished = session.script(
            "set -e; export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com
             export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com
             git init -q -b main .; git config core.abbrev 7
             echo text > file; git add file; git commit -qm first
             git checkout -qb topic; echo more >> file; git commit -qam second
             git checkout -q main; git merge -q topic; git log --oneline | wc -l
             git stash list; git gc -q; git worktree add -q ../shipped-git/tree topic~1 --detach
             git remote add origin /nowhere; git branch -q -D topic; git status --short
             git clone -q . copy; cat copy/file; git clone -q --bare . bare; git -C copy pull -q",
        );
        let finished = finished.expect(0).unhindered();
        assert_eq!(finished.outcome.stdout, "2\n?? tree/\ntext\nmore\n", "{who:?}");
        assert!(folder.join(".git/hooks").is_dir());
        // Into the work folder itself.
        let (_, session) = who.scene("shipped-clone");
        let script = "git init -q /tmp/shipped-origin && git clone -q /tmp/shipped-origin . 2>&1; \
                      s=$?; rm -rf /tmp/shipped-origin; test -f .git/config && exit $s";
        session.script(script).expect(0).unhindered();
    }
}

#[test]
fn programs_read_the_system_s_settings() {
    slow!();
    for who in BOTH {
        let (folder, session) = who.scene("shipped-programs");
        fs::write(folder.join("wheel.py"), WHEEL).unwrap();
        let finished = session.script(
            "run() { command -v $1 > /dev/null || { echo skipped: $1; return; }
                     \"$@\" < /dev/null > out 2>&1 || { echo \"$@: $?\"; cat out; }; }
             run java -version; run ssh -G example.com; run vim -es -N -c 'set nu' -c q
             run gdb -batch -ex 'print 1'; run perl -e 'use POSIX; print 1'; run less -V
             run sqlite3 :memory: 'select 1'; run node -e 'console.log(os.cpus().length)'
             run python3 -c 'import ssl; ssl.create_default_context()'
             run python3 wheel.py; run python3 -m venv --without-pip venv; run venv/bin/python -c 1
             run python3 -m pip install -q --no-index --no-deps --target t small-1-py3-none-any.whl
             run ls -la; run id; run git --version; run curl --version; run man -w ls",
        );
        let finished = finished.expect(0).unhindered();
        let wrong = finished.outcome.stdout.lines().filter(|line| !line.starts_with("skipped: "));
        assert_eq!(wrong.count(), 0, "{who:?}: {}", finished.outcome);
    }
}

/// Makes a package that pip can install without a network.
const WHEEL: &str = "
import zipfile
with zipfile.ZipFile('small-1-py3-none-any.whl', 'w') as z:
    z.writestr('small.py', 'x = 1')
    z.writestr('small-1.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: small\\nVersion: 1\\n')
    z.writestr('small-1.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    z.writestr('small-1.dist-info/RECORD', '')
";

#[test]
fn npm_and_cargo_work_beside_a_real_home_folder() {
    slow!();
    let (folder, session) = Who::User.scene("shipped-npm");
    for part in ["library", "program"] {
        fs::create_dir(folder.join(part)).unwrap();
        let text = format!("{{\"name\":\"{part}\",\"version\":\"1.0.0\"}}");
        let package = folder.join(part).join("package.json");
        fs::write(&package, text).unwrap();
        for path in [folder.join(part), package] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    fs::write(folder.join("library/index.js"), "module.exports = 42").unwrap();
    let finished = session.environment("npm_config_update_notifier", "false").script(
        "command -v npm > /dev/null || exit 0; cd program
         npm install --silent --offline --no-audit --no-fund --install-links ../library && npm config get registry",
    );
    finished.expect(0).unhindered();
    let (_, session) = Who::Root.scene("shipped-cargo");
    let finished = session.script(
        "command -v cargo > /dev/null || exit 0
         cargo new -q small && cd small && cargo build -q --offline && target/debug/small",
    );
    finished.expect(0).unhindered();
}

#[test]
fn what_others_run_by_themselves_is_not_planted() {
    for who in BOTH {
        let (folder, session) = who.scene("shipped-planted");
        let home = if who == Who::Root { "/root" } else { HOME };
        fs::create_dir_all(folder.join(".claude")).unwrap();
        fs::create_dir_all(folder.join("evil")).unwrap();
        for name in ["pre-commit", "tasks.json", "settings.json"] {
            fs::write(folder.join("evil").join(name), "#!/bin/sh\n").unwrap();
        }
        let given = ["", ".claude", "evil"].map(|name| folder.join(name));
        for path in given.iter().chain(&[folder.join("evil/pre-commit")]) {
            fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let finished = session.script(&format!(
            "git init -q .
             no() {{ if (eval \"$1\") 2> /dev/null; then echo \"worked: $1\"; fi; }}
             yes() {{ if ! (eval \"$1\"); then echo \"refused: $1\"; fi; }}
             no 'echo x > .git/hooks/pre-commit'; no 'mv evil/pre-commit .git/hooks/pre-commit'
             no 'ln evil/pre-commit .git/hooks/post-checkout'; no 'ln -s ../x .git/hooks/post-merge'
             no 'rm -r .git/hooks; ln -s ../evil .git/hooks && test -L .git/hooks'
             no 'mv .git .gat'; no 'mv evil .vscode'; no 'mkdir .vscode'; no 'ln -s evil .vscode'
             no 'mkdir .idea'; no 'echo x > .mcp.json'; no 'echo x > .envrc'; no 'echo x > .bashrc'
             no 'echo x > .claude/settings.json'; no 'echo x > .claude/settings.local.json'
             no 'rmdir .claude'; no 'mkdir .cursor'; no 'echo x > opencode.json'; no 'echo x > .profile'
             no 'echo x > {home}/.bashrc'; no 'echo x > {home}/.profile'; no 'echo x >> {home}/.gitconfig'
             yes 'echo x > .git/hooks/notes.sample'; yes 'echo x > .gitignore'; yes 'echo x > .env'
             yes 'echo x > .claude/notes.md'; yes 'mkdir .github; echo x > .github/ci.yml'
             yes 'echo x > mcp.txt'; yes 'mv evil good; mv good evil'; yes 'cat .git/config > copy'"
        ));
        let finished = finished.expect(0);
        assert_eq!(finished.outcome.stdout, "", "{who:?}: {}", finished.outcome);
        let incidents = finished.incidents();
        let planted = folder.join(".git/hooks/pre-commit").display().to_string();
        let found = incidents.iter().find(|incident| incident.path() == planted).unwrap();
        assert_eq!(found.reason, "explicit_deny", "{}", tests::incident::list(&incidents));
        let rule = format!("{:?}", found.rule);
        assert!(rule.contains("shipped/planted.toml"), "{rule}");
    }
}

/// Writes a policy file beside the bed's, to be pushed.
fn file(text: &str) -> String {
    let path = bed().folder("shipped-pushed").join("60-more.toml");
    fs::write(&path, format!("schema = 1\n{text}")).unwrap();
    path.display().to_string()
}

#[track_caller]
fn says(outcome: &Outcome, parts: &[&str]) {
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    for part in parts {
        assert!(said.contains(part), "no `{part}` in {outcome}");
    }
}

#[test]
fn use_is_refused_with_its_place_and_changes_nothing() {
    bed().policy("");
    let bad = Path::new(layout::SHIPPED).join("bad.toml");
    fs::write(&bad, "schema = 1\nuse = [\"git\"]\n[tool.bad]\nfile = []\n").unwrap();
    let cases: [(&str, &[&str]); 4] = [
        (
            "use = [\"gti\"]\n",
            &["60-more.toml:2:8: error: nothing of the name `gti` ships", "did you mean `git`?"],
        ),
        (
            "use = [\"npm\", \"git\"]\n[tool.git]\n",
            &[
                "60-more.toml:3:7: error: tool `git` is taken by `use`",
                "/run/remit-test/shipped/git.toml:5:7",
            ],
        ),
        ("use = [\"bad\"]\n", &["/run/remit-test/shipped/bad.toml:4:1: error: unknown key `file`"]),
        ("[tool.x]\nuse = [\"git\"]\n", &["60-more.toml:3:1: error: unknown key `use` in a tool"]),
    ];
    for (text, parts) in cases {
        says(&bed().remit(["policy", "push", &file(text)]).expect(2), parts);
        let check = ["policy", "check", &file(text), "--config", layout::SETTINGS];
        says(&bed().remit(check).expect(2), parts);
    }
    fs::remove_file(bad).unwrap();
    assert!(!Path::new(layout::POLICY).join("60-more.toml").exists());
    let more = file("use = [\"git\", \"git\"]\n[profile.more]\ntools = [\"system\", \"git\"]\n");
    says(&bed().remit(["policy", "push", &more]).expect(0), &["new tools: git"]);
    let running = bed().session("more").spawn(["sleep", "60"]);
    let explained = ["policy", "explain", &running.name, "read", "/root/.gitconfig"];
    says(&bed().remit(explained).expect(0), &["tool git", "/run/remit-test/shipped/git.toml:"]);
    // What a file defines by itself and ships too.
    let old = file("[tool.base]\n[tool.mine]\n");
    let check = bed().remit(["policy", "check", &old, "--config", layout::SETTINGS]).expect(0);
    says(&check, &["60-more.toml:2:7: warning:", "`base`", "use = [\"base\"]"]);
}

#[test]
fn last_good_policy_keeps_what_it_took() {
    bed().policy("");
    let shipped = Path::new(layout::SHIPPED).join("kit.toml");
    fs::write(&shipped, "schema = 1\n[tool.kit]\n").unwrap();
    bed()
        .reload(&[("10.toml", "schema = 1\nuse = [\"kit\"]\n[profile.k]\ntools = [\"kit\"]\n")])
        .expect(0);
    fs::write(&shipped, "schema = 1\n[tool.other]\n").unwrap();
    bed().stop();
    bed().start();
    let policy = bed().ask("GET", "/v1/policy", "").json();
    assert_eq!(policy["tools"][0]["name"], "kit", "{policy}");
    let health = bed().ask("GET", "/v1/health", "").json();
    assert!(health["warnings"].to_string().contains("last good policy"), "{health}");
    fs::remove_file(&shipped).unwrap();
    bed().policy("");
}

#[test]
fn profile_is_found_by_the_program() {
    bed().policy(
        "[profile.one]\ntools = [\"system\"]\nprogram = [\"agent-one\", \"both\"]\n\
         [profile.two]\ntools = [\"system\"]\nprogram = \"both\"\nmay_start = { users = [\"nobody\"] }\n",
    );
    let folder = Path::new(layout::PROGRAMS);
    for name in ["agent-one", "both"] {
        let path = folder.join(name);
        fs::write(&path, "#!/bin/sh\necho $REMIT_SESSION\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    let run = |user: &[&str], name: &str| {
        let program = folder.join(name).display().to_string();
        let mut command = bed().command();
        if !user.is_empty() {
            command = std::process::Command::new(user[0]);
            command.args(&user[1..]).arg("remit").env("REMIT_SOCKET", layout::SOCKET);
            command.current_dir(layout::WORK);
        }
        Outcome::of(command.args(["run", "--", &program]), &[])
    };
    let started = run(&[], "agent-one").expect(0);
    let session = bed().remit(["session", "show", started.stdout.trim(), "--json"]).expect(0);
    assert_eq!(session.json()["profile"], "one");
    says(&run(&[], "both").expect(2), &["several profiles are for", "`one`, `two`", "--profile"]);
    says(
        &run(&[], "probe").expect(2),
        &["no profile that you may start is for", "--profile", "`one`, `plain`, `two`"],
    );
    // To a user, those count that the user may start.
    let started = run(&AS_USER, "both").expect(0);
    let session = bed().remit(["session", "show", started.stdout.trim(), "--json"]).expect(0);
    assert_eq!(session.json()["profile"], "two");
    says(&run(&AS_USER, "agent-one").expect(2), &["no profile that you may start"]);
    for name in ["agent-one", "both"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
}
