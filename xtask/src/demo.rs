//! `cargo xtask demo`: the main job, shown in a guest by `demo.sh`.
//! It must not know what is shown.

use std::ffi::OsString;

use anyhow::Result;

use crate::{
    build::Build,
    vm::{Guest, kernel::Series},
};

/// Builds, boots a guest with kernel 6.12, and shows Remit's main job in it.
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
        let script = include_str!("demo.sh");
        let command = ["sh", "-c", script, "demo"].map(OsString::from).to_vec();
        Guest::new(&build.folder(), command)?.run(Series::V6_12)
    }
}
