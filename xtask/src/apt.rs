//! Debian's packages, downloaded and unpacked into the cache, never installed: nothing of the
//! machine is upgraded, replaced or removed, and no root is needed.
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
    process::{capture, capture_text, system},
    project::{cache, lock, make_folder, write},
    say,
};

/// How long fetched lists are taken for new.
const LISTS_AGE: Duration = Duration::from_secs(12 * 60 * 60);

/// Package lists of other releases, read by an apt of their own.
pub(crate) struct Lists {
    folder: PathBuf,
    /// The suite whose packages are taken before those of the others.
    first: Option<String>,
}

impl Lists {
    /// The lists of `suites`, fetched anew when they are older than half a day.
    ///
    /// # Errors
    /// When the machine names no Debian archive, or the lists can't be had.
    pub(crate) fn of(suites: &[&str]) -> Result<Self> {
        let backports = suites.iter().find(|suite| suite.ends_with("-backports"));
        let first = backports.map(ToString::to_string);
        let lists = Self { folder: cache()?.join("apt").join(suites.join("+")), first };
        for folder in ["lists/partial", "cache/archives/partial"] {
            make_folder(&lists.folder.join(folder))?;
        }
        let stamp = lists.folder.join("fetched");
        let _lock = lock(&stamp)?;
        if !is_younger(&stamp, LISTS_AGE) {
            say::step(format!("fetching the package lists of {}", suites.join(", ")));
            write(&lists.folder.join("sources.list"), sources::lines(suites)?)?;
            capture(lists.command("apt-get").args(["update", "-qq", "--error-on=any"]))?;
            write(&stamp, "")?;
        }
        Ok(lists)
    }

    /// The lists of the machine's own release.
    ///
    /// # Errors
    /// As [`Lists::of`], and when the machine is no Debian.
    pub(crate) fn of_machine() -> Result<Self> {
        let name = machine_release()?;
        Self::of(&[&name, &format!("{name}-security")])
    }

    /// The lists of the machine's own release and of its backports, which are taken first.
    ///
    /// # Errors
    /// As [`Lists::of_machine`].
    pub(crate) fn of_machine_and_backports() -> Result<Self> {
        let name = machine_release()?;
        Self::of(&[&name, &format!("{name}-security"), &format!("{name}-backports")])
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

    /// Downloads packages (`name` or `name=version`) and unpacks them into `folder`.
    ///
    /// # Errors
    /// When apt or dpkg-deb fails.
    pub(crate) fn unpack(&self, packages: &[&str], folder: &Path) -> Result<()> {
        let mut print = self.command("apt-get");
        let uris = capture_text(print.args(["download", "--print-uris"]).args(packages))?;
        let files: Vec<(&str, u64)> = uris.lines().filter_map(uri_fields).collect();
        let size = files.iter().map(|(_, size)| size).sum();
        let what = match packages {
            [first, _, _, _, ..] => format!("{first} and {} others", packages.len() - 1),
            few => few.join(", "),
        };
        say::step(format!("downloading {what} ({})", say::megabytes(size)));
        let mut download = self.command("apt-get");
        download.current_dir(&self.folder);
        capture(download.args(["download", "-qq"]).args(packages))?;
        for (file, _) in files {
            let path = self.folder.join(file);
            capture(system("dpkg-deb").arg("-x").arg(&path).arg(folder))?;
            fs::remove_file(&path)
                .with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
        Ok(())
    }

    /// The same, with all that the packages need and the machine has not installed.
    ///
    /// # Errors
    /// When apt or dpkg-deb fails.
    pub(crate) fn unpack_with_needs(&self, packages: &[&str], folder: &Path) -> Result<()> {
        let mut install = self.command("apt-get");
        install.args(["install", "--print-uris", "-qq", "--yes", "--no-install-recommends"]);
        let uris = capture_text(install.args(["-o", "Debug::NoLocking=true"]).args(packages))?;
        let needed = uris.lines().filter_map(uri_fields);
        let names = needed.filter_map(|(file, _)| file.split('_').next());
        let others = names.filter(|name| !packages.contains(name));
        let all: Vec<&str> = packages.iter().copied().chain(others).collect();
        self.unpack(&all, folder)
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
        if let Some(suite) = &self.first {
            command.args(["-o", &format!("APT::Default-Release={suite}")]);
        }
        command
    }
}

/// The name of the machine's release of Debian.
fn machine_release() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let field = |name: &str| release.lines().find_map(|line| line.strip_prefix(name));
    match (field("ID="), field("VERSION_CODENAME=")) {
        (Some("debian"), Some(name)) => Ok(name.to_owned()),
        _ => bail!("this machine is no Debian: its packages can't be had for you"),
    }
}

/// The file name and the size, from a line `'URI' FILE SIZE HASH`.
fn uri_fields(line: &str) -> Option<(&str, u64)> {
    let mut words = line.strip_prefix('\'')?.split(' ').skip(1);
    Some((words.next()?, words.next()?.parse().ok()?))
}

/// Whether a file was written less than `age` ago.
pub(crate) fn is_younger(path: &Path, age: Duration) -> bool {
    let written = path.metadata().and_then(|data| data.modified());
    written.is_ok_and(|time| SystemTime::now().duration_since(time).unwrap_or_default() < age)
}
