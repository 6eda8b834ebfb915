//! The agents, at the versions that are tried, and how each is had from its registry.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    process::capture,
    project::{cache, make_folder, make_whole, remove_folder, write},
    say,
};

/// An agent of a registry.
pub(super) struct Agent {
    pub(super) name: &'static str,
    package: Package,
    pub(super) version: &'static str,
}

enum Package {
    Npm(&'static str),
    Python(&'static str),
}

/// All of them.
pub(super) const AGENTS: [Agent; 5] = [
    Agent {
        name: "claude",
        package: Package::Npm("@anthropic-ai/claude-code"),
        version: "2.1.332",
    },
    Agent { name: "codex", package: Package::Npm("@openai/codex"), version: "0.171.0" },
    Agent { name: "gemini", package: Package::Npm("@google/gemini-cli"), version: "0.61.0" },
    Agent { name: "opencode", package: Package::Npm("opencode-ai"), version: "1.18.33" },
    Agent { name: "mini-swe-agent", package: Package::Python("mini-swe-agent"), version: "2.4.6" },
];

/// Where they are installed: by name and version, so that a new version is had anew.
pub(super) fn folder() -> Result<PathBuf> {
    Ok(cache()?.join("agents"))
}

impl Agent {
    /// Installs the agent, unless that was done before.
    ///
    /// # Errors
    /// When its registry's client fails.
    pub(super) fn install(&self) -> Result<()> {
        let folder = folder()?.join(self.name);
        let mark = folder.join(format!("version-{}", self.version));
        if mark.exists() {
            return Ok(());
        }
        say::step(format!("installing {} {}", self.name, self.version));
        remove_folder(&folder)?;
        make_whole(&folder, |folder| {
            make_folder(folder)?;
            match self.package {
                Package::Npm(package) => {
                    let mut npm = Command::new("npm");
                    npm.args(["install", "--no-fund", "--no-audit", "--loglevel=error"]);
                    npm.arg("--prefix").arg(folder);
                    capture(npm.arg(format!("{package}@{}", self.version)))?;
                }
                Package::Python(package) => {
                    // The system's Python, which users other than this one may run, too.
                    let libraries = folder.join("lib");
                    let mut pip = Command::new("/usr/bin/python3");
                    pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&libraries);
                    capture(pip.arg(format!("{package}=={}", self.version)))?;
                }
            }
            write(&folder.join(format!("version-{}", self.version)), "")
        })
    }
}
