//! Users, their homes, and the work folder.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use tests::layout::{self, SOCKET};

use crate::give;

/// The work folder.
pub(crate) const WORK: &str = "/srv/project";
/// What the file outside holds.
pub(crate) const OUTSIDE: &str = "kept-outside";

/// As whom an agent runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    Root,
    Ordinary,
}

impl User {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Ordinary => "user",
        }
    }

    pub(crate) fn ids(self) -> (u32, u32) {
        match self {
            Self::Root => (0, 0),
            Self::Ordinary => (1000, 1000),
        }
    }

    /// Where its home is.
    pub(crate) fn home(self) -> &'static str {
        match self {
            Self::Root => "/root",
            Self::Ordinary => "/home/dev",
        }
    }

    /// The options of `setpriv` that make a process the user's.
    pub(crate) fn options(self) -> &'static [&'static str] {
        match self {
            Self::Root => &["--"],
            // An operator: one who may start what ships.
            Self::Ordinary => &["--reuid=1000", "--regid=1000", "--groups=990", "--"],
        }
    }
}

/// Makes an ordinary user and the file outside, and lays the agents where programs of the host's own are.
pub(crate) fn lay_out(agents: &Path) {
    layout::check_guest();
    add_line("/etc/passwd", "dev:x:1000:1000::/home/dev:/bin/bash");
    add_line("/etc/group", "dev:x:1000:\nremit:x:990:dev");
    fs::create_dir_all("/srv/outside").expect("a folder can be made");
    fs::write("/srv/outside/secret", OUTSIDE).expect("a file can be written");
    fs::create_dir_all("/opt/agents").expect("a folder can be made");
    let bound = Command::new("mount").arg("--bind").arg(agents).arg("/opt/agents").status();
    assert!(bound.is_ok_and(|status| status.success()), "the agents can't be laid out");
}

fn add_line(path: &str, line: &str) {
    let text = fs::read_to_string(path).unwrap_or_default();
    fs::write(path, format!("{}\n{line}\n", text.trim_end())).expect("a user can be added");
}

/// A fresh home.
pub(crate) fn refresh(user: User) {
    let home = Path::new(user.home());
    fs::create_dir_all(home).expect("a home can be made");
    // Root's is not empty on the host.
    let _ = Command::new("umount").arg(home).stderr(Stdio::null()).status();
    let mut mount = Command::new("mount");
    let mounted = mount.args(["-t", "tmpfs", "-o", "mode=700", "tmpfs"]).arg(home).status();
    assert!(mounted.is_ok_and(|status| status.success()), "no fresh home");
    let settings = "[user]\n\tname = Dev\n\temail = dev@example.com\n";
    fs::write(home.join(".gitconfig"), settings).expect("settings can be written");
    give(home, user);
    give(home.join(".gitconfig"), user);
}

/// A fresh work folder: a repository with one commit.
pub(crate) fn refresh_work(user: User) {
    let work = Path::new(WORK);
    layout::empty(work);
    fs::write(work.join("README"), "A project.\n").expect("a file can be written");
    give(work, user);
    give(work.join("README"), user);
    let made = Command::new("setpriv")
        .args(user.options())
        .args(["sh", "-c", "git init -q -b main . && git add -A && git commit -qm first"])
        .current_dir(work)
        .env("HOME", user.home())
        .status();
    assert!(made.is_ok_and(|status| status.success()), "no repository");
}

/// The variables that a login has.
pub(crate) fn environment(user: User) -> Vec<(&'static str, String)> {
    vec![
        ("HOME", user.home().to_owned()),
        ("USER", if user == User::Root { "root" } else { "dev" }.to_owned()),
        ("SHELL", "/bin/bash".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TERM", "dumb".to_owned()),
        ("PATH", std::env::var("PATH").unwrap_or_default()),
        ("REMIT_SOCKET", SOCKET.to_owned()),
    ]
}
