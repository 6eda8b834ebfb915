//! A control group for each session, if the host lets the daemon make some (cgroup v2). By its group, all processes of
//! a session are killed or frozen at once, and limited.
//!
//! Owns `BASE/sessions/ID`, one folder for each live session. The state is in the file system alone: a daemon that
//! starts finds the groups of the one before.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{policy::Limits, settings::ControlGroup};

/// The folder below the base with all sessions' groups.
const SESSIONS: &str = "sessions";
/// The group that systemd starts the daemon in, below the one that it delegates (`DelegateSubgroup=`).
const OWN: &str = "daemon";
/// The base below the root of the file system, where no systemd manages it.
const BASE: &str = "remit";
/// The controllers that limits need.
const CONTROLLERS: [&str; 2] = ["pids", "memory"];
/// The file in the state directory with the path of the base, for `remit teardown`.
const FILE: &str = "control_group";
/// How long a group may take to freeze.
const PATIENCE: Duration = Duration::from_secs(2);

/// The sessions' control groups, or why there are none.
#[derive(Clone, Debug)]
pub struct Groups {
    found: Result<Place, String>,
}

/// Where the groups are.
#[derive(Clone, Debug)]
struct Place {
    /// The mount point of the cgroup file system.
    mount: PathBuf,
    /// The group below which the daemon may make groups.
    base: PathBuf,
    /// Whether groups below may have limits.
    has_limits: bool,
}

/// Why a session could not be limited.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoLimits(String);

impl Groups {
    /// No control groups, and why.
    pub fn none(why: impl Into<String>) -> Self {
        Self { found: Err(why.into()) }
    }

    /// Finds the base, and prepares it. Controllers are enabled only with the first session that has limits, since they
    /// cost every process of the host (119 instructions for each open of a file, 5,000 for each fork).
    pub fn open(choice: &ControlGroup) -> Self {
        let found = place(choice).and_then(|mut place| {
            let sessions = place.base.join(SESSIONS);
            fs::create_dir_all(&sessions)
                .map_err(|error| format!("can't make `{}`: {error}", sessions.display()))?;
            place.has_limits = place.has_limits && place.can_limit();
            Ok(place)
        });
        Self { found }
    }

    /// Where the groups are, or why there are none, in one sentence.
    pub fn describe(&self) -> String {
        match &self.found {
            Ok(place) if place.has_limits => {
                format!("each session has one, below `{}`", place.base.display())
            }
            Ok(place) => format!(
                "each session has one, below `{}`, but without limits: the controllers {} are not there to use",
                place.base.display(),
                CONTROLLERS.join(" and ")
            ),
            Err(why) => format!("none: {why}"),
        }
    }

    /// The group below which the daemon may make groups.
    pub fn base(&self) -> Option<&Path> {
        self.found.as_ref().ok().map(|place| place.base.as_path())
    }

    /// The group that all sessions' groups are in.
    pub fn sessions(&self) -> Option<PathBuf> {
        self.base().map(|base| base.join(SESSIONS))
    }

    /// The mount point of the cgroup file system, if sessions have groups.
    pub fn mount(&self) -> Option<&Path> {
        self.found.as_ref().ok().map(|place| place.mount.as_path())
    }

    /// The group of a session that has one.
    pub fn of(&self, id: &str) -> Option<PathBuf> {
        let group = self.base()?.join(SESSIONS).join(id);
        group.is_dir().then_some(group)
    }

    /// Makes a session's group, and moves the session's first process into it. Returns the group that the process was
    /// in before, for [`Self::dismiss`].
    ///
    /// # Errors
    /// The limits can't be set. A session without limits starts without a group in that case, and the daemon's log says
    /// so.
    pub fn admit(
        &self,
        id: &str,
        process: u32,
        limits: &Limits,
    ) -> Result<Option<PathBuf>, NoLimits> {
        let place = match &self.found {
            Ok(place) if place.has_limits || limits.is_none() => place,
            Ok(_) => return Err(NoLimits(self.describe())),
            Err(_) if limits.is_none() => return Ok(None),
            Err(why) => return Err(NoLimits(why.clone())),
        };
        let group = place.base.join(SESSIONS).join(id);
        if !limits.is_none() && !place.enable() {
            let names = CONTROLLERS.join(" and ");
            return Err(NoLimits(format!("the kernel does not enable the controllers {names}")));
        }
        let before = place.group_of(process);
        let admitted = fs::create_dir(&group)
            .and_then(|()| limit(&group, limits))
            .and_then(|()| write(&group, "cgroup.procs", &process.to_string()));
        match admitted {
            Ok(()) => Ok(before),
            Err(error) => {
                let _ = fs::remove_dir(&group);
                if limits.is_none() {
                    tracing::warn!("session {id} has no control group: {error}");
                    return Ok(None);
                }
                Err(NoLimits(format!("`{}`: {error}", group.display())))
            }
        }
    }

    /// Undoes [`Self::admit`] after a failed start: moves the process back, and removes the session's group.
    pub fn dismiss(&self, id: &str, process: u32, before: Option<&Path>) {
        if let Some(before) = before
            && let Err(error) = write(before, "cgroup.procs", &process.to_string())
        {
            tracing::warn!("can't move process {process} back to `{}`: {error}", before.display());
        }
        self.remove(id);
    }

    /// Kills all processes in a session's group. Returns whether it has one.
    ///
    /// # Errors
    /// What the system says.
    pub fn kill(&self, id: &str) -> io::Result<bool> {
        match self.of(id) {
            Some(group) => write(&group, "cgroup.kill", "1").map(|()| true),
            None => Ok(false),
        }
    }

    /// Freezes or thaws the processes of a session. Returns whether it has a group.
    ///
    /// # Errors
    /// What the system says, or not all were frozen in time.
    pub fn freeze(&self, id: &str, frozen: bool) -> io::Result<bool> {
        let Some(group) = self.of(id) else { return Ok(false) };
        write(&group, "cgroup.freeze", if frozen { "1" } else { "0" })?;
        let begun = Instant::now();
        while frozen && !is_frozen(&group)? {
            if begun.elapsed() > PATIENCE {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(true)
    }

    /// Removes a session's group, unless it still has processes.
    pub fn remove(&self, id: &str) {
        if let Some(group) = self.of(id) {
            // The kernel removes no group that has processes.
            let _ = remove(&group);
        }
    }

    /// Removes the empty groups of all sessions that are not live.
    pub fn tidy(&self, is_live: impl Fn(&str) -> bool) {
        for (id, group) in self.all() {
            if !is_live(&id) {
                let _ = remove(&group);
            }
        }
    }

    /// Writes the path of the base to the state directory.
    pub fn keep_base(&self, state_dir: &Path) {
        let Some(base) = self.base() else { return };
        if let Err(error) = fs::write(state_dir.join(FILE), format!("{}\n", base.display())) {
            tracing::warn!("can't write down where the control groups are: {error}");
        }
    }

    /// Gives up the groups below the base that the state directory names: thaws them, removes their limits, and removes
    /// those that are empty.
    pub fn abandon(state_dir: &Path) {
        let Ok(base) = fs::read_to_string(state_dir.join(FILE)) else { return };
        let base = Path::new(base.trim());
        let place = Place { mount: base.into(), base: base.into(), has_limits: true };
        for (_, group) in (Self { found: Ok(place) }).all() {
            for (file, value) in
                [("cgroup.freeze", "0"), ("pids.max", "max"), ("memory.max", "max")]
            {
                // A group without limits has no such file.
                let _ = write(&group, file, value);
            }
        }
        let _ = remove(&base.join(SESSIONS));
    }

    fn all(&self) -> Vec<(String, PathBuf)> {
        let entries = self.base().map(|base| fs::read_dir(base.join(SESSIONS)));
        let entries = entries.into_iter().flatten().flatten().flatten();
        let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        groups
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
            .collect()
    }
}

impl Place {
    /// Whether the base has the controllers that limits need.
    fn can_limit(&self) -> bool {
        let above = self.root().unwrap_or(&self.base);
        has_controllers(&above.join("cgroup.controllers"))
    }

    /// Enables the controllers for the groups below. Returns whether all are enabled then.
    fn enable(&self) -> bool {
        let sessions = self.base.join(SESSIONS);
        let enabled = sessions.join("cgroup.subtree_control");
        if has_controllers(&enabled) {
            return true;
        }
        for group in self.root().into_iter().chain([&*self.base, &sessions]) {
            for controller in CONTROLLERS {
                // The result is checked below.
                let _ = write(group, "cgroup.subtree_control", &format!("+{controller}"));
            }
        }
        has_controllers(&enabled)
    }

    /// The group above the base, unless systemd manages it.
    fn root(&self) -> Option<&Path> {
        (self.base.parent() == Some(&*self.mount)).then_some(&*self.mount)
    }

    /// The group that a process is in.
    fn group_of(&self, process: u32) -> Option<PathBuf> {
        let text = fs::read_to_string(format!("/proc/{process}/cgroup")).ok()?;
        Some(self.mount.join(own_path(&text)?))
    }
}

/// Finds where the groups can be.
fn place(choice: &ControlGroup) -> Result<Place, String> {
    if *choice == ControlGroup::Off {
        return Err("off, by the setting `control_group`".into());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = mount_point(&mounts)
        .ok_or("no file system of the kind `cgroup2` is mounted from its root")?;
    if let ControlGroup::At(base) = choice {
        if !base.starts_with(&mount) {
            return Err(format!("`{}` is not below `{}`", base.display(), mount.display()));
        }
        return Ok(Place { mount, base: base.clone(), has_limits: true });
    }
    if !Path::new("/run/systemd/system").exists() {
        let base = mount.join(BASE);
        return Ok(Place { mount, base, has_limits: true });
    }
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = mount.join(own_path(&text).unwrap_or_default());
    if own.file_name().is_some_and(|name| name == OWN)
        && let Some(unit) = own.parent().filter(|unit| is_delegated(unit))
    {
        return Ok(Place { mount, base: unit.to_owned(), has_limits: true });
    }
    if is_delegated(&own) {
        // The daemon itself is in this group. If controllers were enabled for the groups below, systemd could not start
        // it here again: a group with controllers below may have no processes.
        return Ok(Place { mount, base: own, has_limits: false });
    }
    Err(format!(
        "systemd did not delegate the daemon's own control group `{}` (`Delegate=yes` and \
         `DelegateSubgroup={OWN}` in its unit)",
        own.display()
    ))
}

/// Whether a group's list of controllers (cgroups(7)) has all that limits need.
fn has_controllers(list: &Path) -> bool {
    let found = fs::read_to_string(list).unwrap_or_default();
    CONTROLLERS.iter().all(|wanted| found.split_ascii_whitespace().any(|found| found == *wanted))
}

/// The mount point of the whole hierarchy, from the text of `/proc/self/mountinfo` (proc(5)).
fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut words = place.split(' ').skip(3);
        let (root, point) = (words.next()?, words.next()?);
        (kind.split(' ').next() == Some("cgroup2") && root == "/").then(|| point.into())
    })
}

/// The path of a process's group below the mount point, from the text of `/proc/PID/cgroup` (cgroups(7)).
fn own_path(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::/"))
}

/// Whether systemd has delegated a group (systemd.resource-control(5), `Delegate=`).
fn is_delegated(group: &Path) -> bool {
    ["trusted.delegate", "user.delegate"].iter().any(|name| {
        let mut value = [0; 8];
        rustix::fs::getxattr(group, *name, &mut value)
            .is_ok_and(|len| value.get(..len) == Some(b"1"))
    })
}

/// Sets a group's limits.
fn limit(group: &Path, limits: &Limits) -> io::Result<()> {
    if let Some(tasks) = limits.tasks {
        write(group, "pids.max", &tasks.to_string())?;
    }
    if let Some(memory) = limits.memory {
        write(group, "memory.max", &memory.to_string())?;
    }
    Ok(())
}

fn is_frozen(group: &Path) -> io::Result<bool> {
    let events = fs::read_to_string(group.join("cgroup.events"))?;
    Ok(events.lines().any(|line| line == "frozen 1"))
}

/// Writes one of a group's files, which exist as long as the group does.
fn write(group: &Path, file: &str, value: &str) -> io::Result<()> {
    use io::Write as _;
    let mut file = fs::File::options().write(true).open(group.join(file))?;
    file.write_all(value.as_bytes())
}

/// Removes a group and those below, from the leaves up.
fn remove(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = remove(&entry.path());
        }
    }
    fs::remove_dir(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_of_a_part_of_the_hierarchy_is_not_taken() {
        let hybrid = "31 24 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
                      32 31 0:28 / /sys/fs/cgroup/unified rw shared:5 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(hybrid).as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(mount_point("32 31 0:28 /x /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"), None);
        assert_eq!(mount_point(""), None);
    }

    #[test]
    fn own_group_is_read_from_the_line_of_cgroup_v2() {
        let text = "12:pids:/a\n0::/system.slice/remitd.service/daemon\n";
        assert_eq!(own_path(text), Some("system.slice/remitd.service/daemon"));
        assert_eq!(own_path("0::/\n"), Some(""));
        assert_eq!(own_path("12:pids:/a\n"), None);
    }

    #[test]
    fn session_with_limits_is_refused_without_groups_and_one_without_is_not() {
        let groups = Groups::none("for a reason");
        let id = "019abc0012345678";
        assert!(groups.admit(id, 1, &Limits::default()).is_ok_and(|before| before.is_none()));
        let limits = Limits { tasks: Some(10), memory: None };
        let refused = groups.admit(id, 1, &limits).unwrap_err();
        assert_eq!(refused.to_string(), "for a reason");
        assert!(!groups.kill(id).unwrap() && !groups.freeze(id, true).unwrap());
    }
}
