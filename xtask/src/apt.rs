//! Debian's packages: of other releases downloaded and unpacked into the cache, never installed;
//! of the machine's own release installed through its own apt.
//!
//! Owns the folder `apt` of the cache: a configuration with package lists of its own, so that the
//! machine's set-up stays as it is. It must not know what the packages are for.

mod sources;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    process::{as_root, capture, capture_text, find, run, system},
    project::{cache, make_folder, write},
    say,
};

/// How long fetched lists are taken for new.
const LISTS_AGE: Duration = Duration::from_secs(12 * 60 * 60);

/// Package lists of other releases, read by an apt of their own.
pub(crate) struct Lists {
    folder: PathBuf,
}

impl Lists {
    /// The lists of `suites`, fetched anew when they are older than half a day.
    ///
    /// # Errors
    /// When the machine names no Debian archive, or the lists can't be had.
    pub(crate) fn of(suites: &[&str]) -> Result<Self> {
        let lists = Self {
            folder: cache()?.join("apt").join(suites.join("+")),
        };
        for folder in ["lists/partial", "cache/archives/partial"] {
            make_folder(&lists.folder.join(folder))?;
        }
        let stamp = lists.folder.join("fetched");
        if !is_younger(&stamp, LISTS_AGE) {
            say::step(format!("fetching the package lists of {}", suites.join(", ")));
            write(&lists.folder.join("sources.list"), sources::lines(suites)?)?;
            capture(lists.command("apt-get").args(["update", "-qq", "--error-on=any"]))?;
            write(&stamp, "")?;
        }
        Ok(lists)
    }

    /// The names of packages that begin with `prefix`.
    ///
    /// # Errors
    /// When apt fails.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let output = capture_text(self.command("apt-cache").args(["pkgnames", prefix]))?;
        Ok(output.lines().map(str::to_owned).collect())
    }

    /// The versions of a package, the newest first.
    ///
    /// # Errors
    /// When apt fails.
    pub(crate) fn versions(&self, package: &str) -> Result<Vec<String>> {
        let output = capture_text(self.command("apt-cache").args(["madison", package]))?;
        let column = |line: &str| line.split('|').nth(1).map(|word| word.trim().to_owned());
        Ok(output.lines().filter_map(column).collect())
    }

    /// Downloads a package (`name` or `name=version`) and unpacks it into `folder`.
    ///
    /// # Errors
    /// When apt or dpkg-deb fails.
    pub(crate) fn unpack(&self, package: &str, folder: &Path) -> Result<()> {
        let asked = ["download", "--print-uris", package];
        let uris = capture_text(self.command("apt-get").args(asked))?;
        let (file, size) = uris
            .lines()
            .find_map(uri_fields)
            .with_context(|| format!("apt knows no package `{package}`"))?;
        let path = self.folder.join(file);
        if !path.exists() {
            let name = package.split('=').next().unwrap_or(package);
            say::step(format!("downloading {name} ({})", say::megabytes(size)));
            let mut download = self.command("apt-get");
            download.current_dir(&self.folder);
            capture(download.args(["download", "-qq", package]))?;
        }
        capture(system("dpkg-deb").arg("-x").arg(&path).arg(folder))?;
        fs::remove_file(&path).with_context(|| format!("cannot remove `{}`", path.display()))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = system(program);
        command.env("LC_ALL", "C").env_remove("LD_LIBRARY_PATH");
        let folder = self.folder.display();
        for option in [
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            format!("Dir::State::Lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            // The cache need not be readable to apt's own user.
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }
}

/// The file name and the size, from a line `'URI' FILE SIZE HASH`.
fn uri_fields(line: &str) -> Option<(&str, u64)> {
    let mut words = line.strip_prefix('\'')?.split(' ').skip(1);
    Some((words.next()?, words.next()?.parse().ok()?))
}

/// Installs what is missing of `wanted`, pairs of a program and the package that brings it.
///
/// # Errors
/// When apt is not there or fails, or would remove or upgrade something.
pub(crate) fn install_missing(wanted: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if find("apt-get").is_none() {
        bail!("this machine has no apt: install {} yourself", missing.join(", "));
    }
    let plan = match plan(&missing) {
        Ok(plan) => plan,
        Err(_) => {
            say::step("updating the machine's package lists (apt-get update)");
            run(as_root("apt-get").args(["update", "-qq"]))?;
            plan(&missing)?
        }
    };
    say::step(format!(
        "installing {} with apt ({} packages, {})",
        missing.join(", "),
        plan.packages,
        say::megabytes(plan.bytes)
    ));
    let mut install = as_root("env");
    install.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qq"]);
    install.args(["--yes", "--no-install-recommends", "--no-remove", "--no-upgrade"]);
    capture(install.args(&missing)).map(drop)
}

/// What an installation would download.
struct Plan {
    packages: usize,
    bytes: u64,
}

fn plan(packages: &[&str]) -> Result<Plan> {
    let mut command = system("apt-get");
    command.args(["install", "--print-uris", "-qq", "--yes", "--no-install-recommends"]);
    let output = capture_text(command.args(packages))?;
    let sizes: Vec<u64> = output.lines().filter_map(uri_fields).map(|(_, size)| size).collect();
    Ok(Plan {
        packages: sizes.len(),
        bytes: sizes.iter().sum(),
    })
}

/// Whether a file was written less than `age` ago.
pub(crate) fn is_younger(path: &Path, age: Duration) -> bool {
    let written = path.metadata().and_then(|data| data.modified());
    written.is_ok_and(|time| SystemTime::now().duration_since(time).unwrap_or_default() < age)
}
