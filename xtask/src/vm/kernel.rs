//! Debian's kernels: the newest of a series, downloaded and unpacked into the cache.
//! Owns the folder `kernels` of the cache. It must not know how a kernel is booted.

use std::{
    fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use super::programs;
use crate::{
    apt::{Lists, is_younger},
    process::capture,
    project::{cache, make_folder, make_whole, write},
    say,
};

/// How long a cached kernel is taken for the newest of its series.
const CHECKED_AGE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A series of kernels that Remit is tested on.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Series {
    /// Debian 12's.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's.
    #[value(name = "6.12")]
    V6_12,
    /// From Debian 13's backports.
    #[value(name = "6.18")]
    V6_18,
    /// The newest, from Debian 13's backports.
    #[value(name = "7")]
    V7,
}

impl Series {
    /// All of them, the default first.
    pub(crate) const ALL: [Self; 4] = [Self::V6_12, Self::V6_1, Self::V6_18, Self::V7];

    /// The names of all of them, the oldest first.
    pub(crate) fn by_age() -> [&'static str; Self::ALL.len()] {
        [Self::V6_1, Self::V6_12, Self::V6_18, Self::V7].map(Self::name)
    }

    /// As it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V6_18 => "6.18",
            Self::V7 => "7",
        }
    }

    fn suites(self) -> &'static [&'static str] {
        match self {
            Self::V6_1 => &["bookworm", "bookworm-security"],
            Self::V6_12 => &["trixie", "trixie-security"],
            Self::V6_18 | Self::V7 => &["trixie-backports"],
        }
    }

    /// What the names of its packages begin with; from 7 on a kernel is three packages.
    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::V7 => &["linux-binary-", "linux-modules-", "linux-base-"],
            _ => &["linux-image-"],
        }
    }
}

/// A kernel in the cache.
pub(crate) struct Kernel {
    /// As `uname -r` says it.
    pub(crate) version: String,
    /// The folder that its packages were unpacked into: `lib/modules/VERSION` lies below.
    pub(crate) folder: PathBuf,
}

impl Kernel {
    /// The newest kernel of a series; one in the cache serves for two weeks without a look.
    ///
    /// # Errors
    /// When there is none in the cache and none can be had.
    pub(crate) fn newest(series: Series) -> Result<Self> {
        let folder = cache()?.join("kernels");
        make_folder(&folder)?;
        let stamp = folder.join(format!("{}.checked", series.name()));
        let cached = newest_of(series, folder_names(&folder)?);
        let version = match (cached, is_younger(&stamp, CHECKED_AGE)) {
            (Some(version), true) => version,
            (cached, _) => {
                let version = match (fetch(series, &folder), cached) {
                    (Ok(version), _) => version,
                    (Err(error), Some(cached)) => {
                        say::warn(format!("no look for a newer kernel than {cached}: {error:#}"));
                        cached
                    }
                    (Err(error), None) => return Err(error),
                };
                write(&stamp, "")?;
                version
            }
        };
        let folder = folder.join(&version);
        Ok(Self { version, folder })
    }

    /// The compressed kernel.
    pub(crate) fn image(&self) -> PathBuf {
        let own = self.modules().join("vmlinuz");
        if own.exists() {
            return own;
        }
        self.folder.join(format!("boot/vmlinuz-{}", self.version))
    }

    /// The folder of its modules.
    pub(crate) fn modules(&self) -> PathBuf {
        self.folder.join("lib/modules").join(&self.version)
    }
}

/// Makes sure that the newest kernel of a series is in the cache, and returns its version.
fn fetch(series: Series, kernels: &Path) -> Result<String> {
    let lists = Lists::of(series.suites())?;
    let prefixes = series.packages();
    let names = lists.names(&format!("{}{}.", prefixes[0], series.name()))?;
    let versions = names.iter().filter_map(|name| name.strip_prefix(prefixes[0]));
    let version = newest_of(series, versions.map(str::to_owned))
        .with_context(|| format!("Debian has no kernel {} any more", series.name()))?;
    let folder = kernels.join(&version);
    if folder.exists() {
        return Ok(version);
    }
    make_whole(&folder, |part| {
        let packages: Vec<String> =
            prefixes.iter().map(|prefix| format!("{prefix}{version}")).collect();
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        lists.unpack(&packages, part)?;
        index_modules(part, &version)
    })?;
    Ok(version)
}

/// Writes `modules.dep` and its like, which the packages leave to the installation.
fn index_modules(folder: &Path, version: &str) -> Result<()> {
    let lib = folder.join("lib");
    if !lib.exists() {
        symlink("usr/lib", &lib).with_context(|| format!("cannot link `{}`", lib.display()))?;
    }
    say::step(format!("indexing the modules of {version}"));
    // The name that it is called by makes kmod depmod.
    let mut depmod = programs::command("kmod")?;
    capture(depmod.arg0("depmod").arg("--basedir").arg(folder).arg(version)).map(drop)
}

fn folder_names(folder: &Path) -> Result<Vec<String>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
    let names = entries.flatten().map(|entry| entry.file_name());
    Ok(names.filter_map(|name| name.into_string().ok()).collect())
}

/// The newest of the versions that belong to a series.
fn newest_of(series: Series, versions: impl IntoIterator<Item = String>) -> Option<String> {
    let prefix = format!("{}.", series.name());
    versions
        .into_iter()
        .filter(|version| version.starts_with(&prefix) && is_plain(version))
        .max_by_key(|version| numbers(version))
}

/// Whether a version is that of the common flavour: not `rt`, `cloud`, `unsigned` or `dbg`.
fn is_plain(version: &str) -> bool {
    let Some(rest) = version.strip_suffix("-amd64") else {
        return false;
    };
    let after = rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
    let known = |rest: &str| rest.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
    match after.strip_prefix("+deb").or_else(|| after.strip_prefix('-')) {
        Some(rest) => !rest.is_empty() && known(rest),
        None => false,
    }
}

/// The numbers in a version, to compare by.
fn numbers(version: &str) -> Vec<u64> {
    let parts = version.split(|letter: char| !letter.is_ascii_digit());
    parts.filter_map(|part| part.parse().ok()).collect()
}

/// Refuses a machine on which no kernel of Debian's can be booted.
///
/// # Errors
/// When the machine isn't of the architecture of the kernels.
pub(crate) fn check_machine() -> Result<()> {
    if cfg!(target_arch = "x86_64") {
        return Ok(());
    }
    bail!("`cargo xtask vm` boots amd64 kernels only, on an amd64 machine");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_of_compares_numbers_and_leaves_flavours() {
        let versions = [
            "6.12.99+deb13-amd64",
            "6.12.117+deb12-amd64",
            "6.12.117+deb13-amd64",
            "6.12.118+deb13-rt-amd64",
            "6.12.119+deb13-cloud-amd64",
            "6.12-amd64",
            "6.1.0-56-amd64",
        ];
        let newest = |series| newest_of(series, versions.map(str::to_owned));
        assert_eq!(newest(Series::V6_12).as_deref(), Some("6.12.117+deb13-amd64"));
        assert_eq!(newest(Series::V6_1).as_deref(), Some("6.1.0-56-amd64"));
        assert_eq!(newest(Series::V7), None);
    }
}
