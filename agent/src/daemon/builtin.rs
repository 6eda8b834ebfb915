//! Rules on Remit's own files that hold besides those of every policy.

use std::path::Path;

use agent_common::access::{Right, Rights};

use crate::{canary, policy::Builtin, settings::Settings};

/// Changes to a file or a name.
const CHANGE: Rights = Rights::of(Right::Write).with(Right::Create).with(Right::Delete);

/// No session can reach pins, state or log. Configuration and control socket can be seen and not changed. Every session
/// can connect to the control socket, and read the one file that the canary is allowed to read.
///
/// If sessions have control groups, no session can change any: none leaves its own.
pub(super) fn of(settings: &Settings, config: Option<&Path>, groups: Option<&Path>) -> Builtin {
    let mut deny = Vec::new();
    for dir in [&settings.pin_dir, &settings.state_dir, &settings.log_dir] {
        deny.push((below(dir), Rights::FILE));
    }
    deny.extend(groups.map(|mount| (below(mount), CHANGE)));
    deny.push((below(Path::new("/etc/remit")), CHANGE));
    deny.push((below(&settings.policy_dir), CHANGE));
    deny.push((below(&settings.shipped_dir), CHANGE));
    if let Some(config) = config.and_then(|config| config.canonicalize().ok()) {
        deny.push((text(&config), CHANGE));
    }
    let mut always = Vec::new();
    for socket in [settings.socket.clone(), resolved(&settings.socket)] {
        deny.push((text(&socket), CHANGE));
        if let Some(dir) = socket.parent() {
            deny.push((text(dir), CHANGE));
        }
        always.push((text(&socket), Rights::of(Right::Connect)));
        let canary = canary::folder(&socket);
        deny.push((below(&canary), CHANGE));
        always.push((text(&canary.join(canary::ALLOWED)), Rights::of(Right::Read)));
    }
    Builtin { deny, always }
}

/// The path with the links of its folder resolved: the kernel sees `/run`, not `/var/run`.
fn resolved(path: &Path) -> std::path::PathBuf {
    let dir = path.parent().and_then(|dir| dir.canonicalize().ok());
    match (dir, path.file_name()) {
        (Some(dir), Some(name)) => dir.join(name),
        _ => path.to_owned(),
    }
}

fn below(dir: &Path) -> String {
    format!("{}/**", dir.display())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Compiled, ToolBits, check};

    fn denied(path: &str, right: Right) -> bool {
        let policy = check(&[]).unwrap_or_else(|errors| panic!("{errors:?}"));
        let builtin = of(&Settings::default(), None, Some(Path::new("/sys/fs/cgroup")));
        let compiled = Compiled::new(&policy, &ToolBits::new(), &builtin).unwrap();
        let rights = Rights::of(right);
        let labels = compiled.explain_path(path, rights, false, None).labels;
        labels.iter().any(|label| Rights(label.denied).meets(rights))
    }

    #[test]
    fn own_files_are_denied_and_the_socket_is_not() {
        for path in ["/sys/fs/bpf/remit/v1/maps/TAGS", "/var/lib/remit", "/var/log/remit/x"] {
            assert!(denied(path, Right::Read), "{path}");
            assert!(denied(path, Right::Delete), "{path}");
        }
        for path in [
            "/etc/remit/policy.d/a.toml",
            "/usr/share/remit/policy/a.toml",
            "/run/remit/control.sock",
            "/run/remit",
        ] {
            assert!(!denied(path, Right::Read), "{path}");
            assert!(denied(path, Right::Write), "{path}");
            assert!(denied(path, Right::Delete), "{path}");
        }
        assert!(!denied("/run/remit/control.sock", Right::Connect));
        assert!(denied("/run/remit/control.canary/allowed", Right::Write));
        assert!(!denied("/run/remit/control.canary/allowed", Right::Read));
        assert!(!denied("/var/lib/other", Right::Read));
        assert!(denied("/sys/fs/cgroup/remit/cgroup.procs", Right::Write));
        assert!(!denied("/sys/fs/cgroup/remit/cgroup.procs", Right::Read));
    }
}
