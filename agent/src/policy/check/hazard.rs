//! Rights on a few paths that are worth as much as root: with them a session can act through a process outside of all
//! sessions, or change what such a process does. A tool may have them, with a warning.

use agent_common::access::{Right, Rights};

use crate::policy::{diagnostic::quote, pattern::PathPattern, value::Problem};

/// A path, the rights that make it a hazard, what they hand over, and what to write instead.
struct Hazard {
    path: &'static str,
    rights: Rights,
    gives: &'static str,
    instead: &'static str,
}

const CONNECT: Rights = Rights::of(Right::Connect);
const CHANGE: Rights = Rights::of(Right::Write).with(Right::Create);

const CONTAINERS: &str = "whoever connects starts containers with any of the host's files in them";
const INSTEAD_OF_CONTAINERS: &str =
    "let a proxy that allows single calls offer a socket of its own, and name that";
const SYSTEMD: &str = "whoever connects as root starts and stops units of systemd";
const LATER: &str = "what is written there is run later, as root and outside of the session";
const NAME_FILES: &str =
    "name the files that are meant, none of these among them, or add a `[[deny]]`";

const fn socket(path: &'static str, gives: &'static str, instead: &'static str) -> Hazard {
    Hazard { path, rights: CONNECT, gives, instead }
}

const fn file(path: &'static str, gives: &'static str) -> Hazard {
    Hazard { path, rights: CHANGE, gives, instead: NAME_FILES }
}

const HAZARDS: &[Hazard] = &[
    socket("/run/docker.sock", CONTAINERS, INSTEAD_OF_CONTAINERS),
    socket("/var/run/docker.sock", CONTAINERS, INSTEAD_OF_CONTAINERS),
    socket("/run/containerd/containerd.sock", CONTAINERS, INSTEAD_OF_CONTAINERS),
    socket("/run/podman/podman.sock", CONTAINERS, INSTEAD_OF_CONTAINERS),
    socket("/run/crio/crio.sock", CONTAINERS, INSTEAD_OF_CONTAINERS),
    socket(
        "/run/libvirt/libvirt-sock",
        "whoever connects starts machines with any of the host's disks in them",
        "do it outside of the session",
    ),
    socket(
        "/run/snapd.socket",
        "whoever connects as root installs and runs programs as root",
        "do it outside of the session",
    ),
    socket("/run/systemd/private", SYSTEMD, "do it outside of the session"),
    socket(
        "/run/dbus/system_bus_socket",
        "services on the bus, systemd among them, act for whoever connects",
        "offer the one service that is needed by a filtering proxy (`xdg-dbus-proxy`), and name its socket",
    ),
    socket(
        "/run/user/*/bus",
        "the user's systemd starts processes outside of the session for whoever connects",
        "offer the one service that is needed by a filtering proxy (`xdg-dbus-proxy`), and name its socket",
    ),
    socket("/run/user/*/systemd/private", SYSTEMD, "do it outside of the session"),
    file("/etc/crontab", LATER),
    file("/etc/cron.d/**", LATER),
    file("/etc/cron.hourly/**", LATER),
    file("/etc/cron.daily/**", LATER),
    file("/etc/cron.weekly/**", LATER),
    file("/etc/cron.monthly/**", LATER),
    file("/var/spool/cron/**", LATER),
    file("/var/spool/at/**", LATER),
    file("/etc/systemd/system/**", LATER),
    file("/etc/profile.d/**", "every shell that somebody logs in to runs what is written there"),
    file("/etc/ld.so.preload", "every program on the host loads what is named there"),
    file("/etc/sudoers", "it says who becomes root"),
    file("/etc/sudoers.d/**", "it says who becomes root"),
    file("/etc/passwd", "it says who is root"),
    file("/root/.ssh/authorized_keys", "it says who logs in as root"),
    file("/home/*/.ssh/authorized_keys", "it says who logs in, outside of every session"),
    file("/proc/sys/**", "the kernel runs programs that are named there, and changes how it works"),
    file("/sys/kernel/**", "the kernel's own settings and debugging are there"),
    file("/dev/mem", "it is the host's memory"),
    file("/dev/sd*", "it is a disk: every file on it, past every rule"),
    file("/dev/nvme*", "it is a disk: every file on it, past every rule"),
    file("/dev/vd*", "it is a disk: every file on it, past every rule"),
    file("/dev/dm-*", "it is a disk: every file on it, past every rule"),
];

/// The warning on a pattern with these rights, if it covers a hazard.
pub(super) fn hazard(pattern: &str, except: &[PathPattern], rights: Rights) -> Option<Problem> {
    if !rights.meets(CONNECT) && !rights.meets(CHANGE) {
        return None;
    }
    let head = literal_head(pattern);
    let mut met = HAZARDS.iter().filter(|hazard| {
        rights.meets(hazard.rights)
            && agree(head, literal_head(hazard.path))
            && overlap(pattern, hazard.path)
            && !except.iter().any(|path| covers(path.text(), hazard.path))
    });
    let Hazard { path, gives, instead, rights: bad } = met.next()?;
    let more = match met.count() {
        0 => String::new(),
        more => format!(" (and {more} more places like it)"),
    };
    let right = bad.iter().find(|right| rights.has(*right))?.name();
    let message =
        format!("{} hands over the host: `{right}` on `{path}`{more}: {gives}", quote(pattern));
    Some(Problem::new(message).help(*instead))
}

/// The beginning that all paths have which a pattern matches; with `/**`, without the `/`.
fn literal_head(pattern: &str) -> &[u8] {
    pattern.split('*').next().unwrap_or(pattern).as_bytes()
}

/// Whether one text is the beginning of the other: if not, no path begins with both. Most patterns are ruled out by
/// this.
fn agree(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).all(|(one, other)| one == other)
}

/// Whether a pattern is a hazard's own, or one for a folder that it is in.
fn covers(pattern: &str, hazard: &str) -> bool {
    let below = pattern.strip_suffix("/**").and_then(|folder| hazard.strip_prefix(folder));
    pattern == hazard || below.is_some_and(|rest| rest.starts_with('/'))
}

/// Whether some path can match both patterns, for some values of their variables.
fn overlap(one: &str, other: &str) -> bool {
    let [one, other] = [one, other].map(|text| text.split('/').collect::<Vec<_>>());
    parts_overlap(&one, &other)
}

/// As [`overlap`], for patterns of which only the first has a `**` before its end.
fn parts_overlap(one: &[&str], other: &[&str]) -> bool {
    match (one.split_first(), other.split_first()) {
        (None, None) => true,
        (Some((&"**", [])), _) | (_, Some((&"**", _))) => true,
        (Some((&"**", rest)), _) => (0..=other.len())
            .any(|at| other.get(at..).is_some_and(|tail| parts_overlap(rest, tail))),
        (Some((this, one)), Some((that, other))) => {
            components_overlap(this, that) && parts_overlap(one, other)
        }
        _ => false,
    }
}

/// As [`overlap`], for one component with at most one `*` each.
fn components_overlap(one: &str, other: &str) -> bool {
    let halves = |text: &'_ str| {
        text.split_once('*').map(|(prefix, suffix)| (prefix.to_owned(), suffix.to_owned()))
    };
    let within = |prefix: &str, suffix: &str, name: &str| {
        name.len() >= prefix.len() + suffix.len()
            && name.starts_with(prefix)
            && name.ends_with(suffix)
    };
    match (halves(one), halves(other)) {
        (None, None) => one == other,
        (Some((prefix, suffix)), None) => within(&prefix, &suffix, other),
        (None, Some((prefix, suffix))) => within(&prefix, &suffix, one),
        (Some((prefix, suffix)), Some((start, end))) => {
            (prefix.starts_with(&start) || start.starts_with(&prefix))
                && (suffix.ends_with(&end) || end.ends_with(&suffix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::place::Place;

    fn message(pattern: &str, rights: Rights) -> Option<String> {
        hazard(pattern, &[], rights).map(|problem| problem.message)
    }

    #[test]
    fn socket_that_hands_over_the_host_is_named() {
        let docker = message("/run/docker.sock", CONNECT).unwrap();
        assert!(docker.starts_with("`/run/docker.sock` hands over the host: `connect` on"));
        assert!(docker.contains("containers") && !docker.contains("more places"), "{docker}");
        for pattern in ["/run/**", "/**", "/run/*.sock", "/var/run/d*.sock", "/run/user/1000/bus"] {
            assert!(message(pattern, CONNECT).is_some(), "{pattern}");
        }
        assert!(message("/run/**", CONNECT).unwrap().contains("more places like it"));
        let place = Place { file: Default::default(), line: 1, column: 1 };
        let except = [PathPattern::parse("/run/docker.sock", place).unwrap()];
        assert_eq!(hazard("/run/*.sock", &except, CONNECT).map(|problem| problem.message), None);
        // Reading them is harmless, and other paths are no hazards.
        assert_eq!(message("/run/docker.sock", Rights::of(Right::Read)), None);
        for pattern in ["/run/remit/control.sock", "/run/docker", "/run/*.socks", "{workdir}/**"] {
            assert_eq!(message(pattern, CONNECT), None, "{pattern}");
        }
    }

    #[test]
    fn file_that_other_processes_act_upon_is_named() {
        for pattern in [
            "/etc/cron.d/x",
            "/etc/cron.d/**",
            "/etc/**",
            "/root/.ssh/*",
            "/proc/sys/kernel/core_pattern",
            "/dev/sda1",
            "/dev/*",
            "/dev/**/sda",
            "/home/dev/.ssh/authorized_keys",
        ] {
            assert!(message(pattern, Rights::of(Right::Write)).is_some(), "{pattern}");
            assert_eq!(message(pattern, Rights::of(Right::Read)), None, "{pattern}");
        }
        for pattern in [
            "/etc/hosts",
            "/dev/null",
            "/dev/shm/**",
            "/dev/**/x.conf",
            "/proc/self/comm",
            "/etc/cron.d",
        ] {
            let found = message(pattern, Rights::of(Right::Write));
            assert_eq!(found.is_some(), pattern == "/etc/cron.d", "{pattern}: {found:?}");
        }
    }

    #[test]
    fn pattern_that_can_overlap_is_always_found() {
        let paths = HAZARDS.iter().map(|hazard| hazard.path);
        let written: Vec<String> = paths
            .flat_map(|path| {
                let starred = path.replace("o", "*");
                let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                let cut = path.split_at(path.len() / 2).0;
                [
                    path.to_owned(),
                    starred,
                    format!("{parent}/**"),
                    format!("{cut}*"),
                    format!("{path}/**"),
                ]
            })
            .chain(
                ["/**", "/", "/*", "/*/*", "/*/**", "{workdir}/**", "/{name}/x"].map(str::to_owned),
            )
            .collect();
        let mut met = 0;
        for (pattern, hazard) in
            written.iter().flat_map(|one| HAZARDS.iter().map(move |h| (one, h)))
        {
            let overlaps = overlap(pattern, hazard.path);
            met += usize::from(overlaps);
            let agrees = agree(literal_head(pattern), literal_head(hazard.path));
            assert!(agrees || !overlaps, "{pattern} {}", hazard.path);
        }
        assert!(met > 200, "{met}");
    }
}
