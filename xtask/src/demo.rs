//! `cargo xtask demo`: the main job, shown in a guest by `demo.sh`.
//! It must not know what is shown.

use std::{
    env,
    ffi::OsString,
    io::{IsTerminal as _, stdout},
};

use anyhow::Result;

use crate::{
    build::Build,
    project::root,
    vm::{Guest, kernel::Series},
};

/// Builds, boots a guest with kernel 6.12, and shows Remit's main job in it.
///
/// Exits with 1 when something did not go as it is told.
#[derive(clap::Args)]
pub(crate) struct Demo {
    /// Take the binaries as they are.
    #[arg(long)]
    no_build: bool,
}

impl Demo {
    /// Shows it and returns the script's exit status.
    ///
    /// # Errors
    /// When something can't be built or booted, or the guest dies.
    pub(crate) fn run(&self) -> Result<u8> {
        let build = Build::default();
        if !self.no_build {
            build.run()?;
        }
        let mut command = ["sh", "-c", include_str!("demo.sh"), "demo"].map(OsString::from).to_vec();
        command.push(root().join("agent/policy/default.toml").into());
        let mut guest = Guest::new(&build.folder(), command)?;
        if in_colour() {
            guest.environment.push(("REMIT_DEMO_COLOUR".into(), "1".into()));
        }
        guest.run(Series::V6_12)
    }
}

/// Whether who reads this wants colours: the guest can't see it.
fn in_colour() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    stdout().is_terminal() && !refused && !dumb
}
