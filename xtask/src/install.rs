//! `cargo xtask install`: binaries, unit, policy folder and group, onto a host that can enforce.
//! It builds nothing and starts nothing.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    build::Build,
    process::{capture, capture_text, find, is_root},
    project::{make_folder, root},
    say,
};

/// The programs that are installed.
const PROGRAMS: [&str; 2] = ["remitd", "remit"];

/// The policy for a new host, beside what ships.
const DEFAULT: &str = "default.toml";

/// Those who may grant and revoke, beside root.
const GROUP: &str = "remit";

/// Installs what `cargo xtask build` made, as root; starts nothing.
#[derive(clap::Args)]
pub(crate) struct Install {
    /// The folder that holds `bin`.
    #[arg(long, default_value = "/usr/local", value_name = "DIR")]
    prefix: PathBuf,

    /// Install below this folder instead of `/`, for a package; makes no group.
    #[arg(long, value_name = "DIR")]
    destdir: Option<PathBuf>,
}

impl Install {
    /// Installs everything and says the next command.
    ///
    /// # Errors
    /// When the user isn't root, nothing was built, or something can't be written.
    pub(crate) fn run(&self) -> Result<()> {
        if !self.prefix.is_absolute() {
            bail!("the prefix `{}` is not an absolute path", self.prefix.display());
        }
        if !is_root() && self.destdir.is_none() {
            bail!(
                "only root can install into `{}`\n\
                 build as you are (`cargo xtask build`), then run this with sudo, \
                 or give `--destdir DIR`",
                self.prefix.display()
            );
        }
        self.programs()?;
        self.unit()?;
        self.policy()?;
        match self.destdir {
            Some(_) => say::step("no group is made and nothing is started below a destdir"),
            None => {
                make_group()?;
                say::step(
                    "installed, nothing started; next: systemctl enable --now remitd && remit doctor",
                );
            }
        }
        Ok(())
    }

    fn programs(&self) -> Result<()> {
        let built = Build::default().folder();
        let sources = PROGRAMS.map(|name| built.join(name));
        if let Some(missing) = sources.iter().find(|path| !path.exists()) {
            bail!("`{}` is missing: run `cargo xtask build` first", missing.display());
        }
        let folder = self.place(&self.prefix.join("bin"));
        make_folder(&folder)?;
        for (source, name) in sources.iter().zip(PROGRAMS) {
            let content =
                fs::read(source).with_context(|| format!("cannot read `{}`", source.display()))?;
            put(&folder.join(name), &content, 0o755)?;
        }
        Ok(())
    }

    fn unit(&self) -> Result<()> {
        let prefix = self.prefix.to_str().context("the prefix is not UTF-8")?;
        let unit = include_str!("remitd.service").replace("{prefix}", prefix);
        // A prefix of the distribution's takes the distribution's place for units.
        let folder = match prefix {
            "/usr" => "/usr/lib/systemd/system",
            _ => "/etc/systemd/system",
        };
        let folder = self.place(Path::new(folder));
        make_folder(&folder)?;
        put(&folder.join("remitd.service"), unit.as_bytes(), 0o644)
    }

    /// What ships, of this version alone; the policy folder, and the default policy where there is none.
    fn policy(&self) -> Result<()> {
        let source = root().join("agent/policy");
        let read = |path: &Path| {
            fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
        };
        let shipped = self.place(Path::new("/usr/share/remit/policy"));
        make_folder(&shipped)?;
        let mut left = policies(&shipped)?;
        for name in policies(&source)?.into_iter().filter(|name| name != DEFAULT) {
            put(&shipped.join(&name), &read(&source.join(&name))?, 0o644)?;
            left.retain(|other| *other != name);
        }
        for name in left {
            let path = shipped.join(name);
            fs::remove_file(&path)
                .with_context(|| format!("cannot remove `{}`", path.display()))?;
            say::step(format!("removed {}, which ships no more", path.display()));
        }
        let folder = self.place(Path::new("/etc/remit/policy.d"));
        make_folder(&folder)?;
        // `default.toml` is the name of former versions, whose file defines by itself what ships now.
        for name in ["10-default.toml", DEFAULT] {
            let to = folder.join(name);
            if to.exists() {
                say::step(format!("kept {}", to.display()));
                return Ok(());
            }
        }
        put(&folder.join("10-default.toml"), &read(&source.join(DEFAULT))?, 0o644)
    }

    /// A path of the target system as it is to be written here.
    fn place(&self, path: &Path) -> PathBuf {
        match &self.destdir {
            Some(folder) => folder.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }
}

/// Writes a file beside its name and renames it, so that a program that runs stays whole.
fn put(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let mut part = path.as_os_str().to_owned();
    part.push(".new");
    let written = fs::write(&part, content)
        .and_then(|()| fs::set_permissions(&part, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&part, path));
    written.with_context(|| format!("cannot write `{}`", path.display()))?;
    say::step(format!("wrote {}", path.display()));
    Ok(())
}

/// The names of the policy files in a folder, sorted.
fn policies(folder: &Path) -> Result<Vec<String>> {
    let shown = folder.display();
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list `{shown}`"))? {
        let name = entry?.file_name().into_string().ok();
        names.extend(name.filter(|name| name.ends_with(".toml")));
    }
    names.sort();
    Ok(names)
}

fn make_group() -> Result<()> {
    if capture_text(Command::new("getent").args(["group", GROUP])).is_ok() {
        return Ok(());
    }
    let groupadd = find("groupadd").context("`groupadd` is missing: install `passwd`")?;
    say::step(format!("making the group {GROUP}"));
    capture(Command::new(groupadd).args(["--system", GROUP])).map(drop)
}
