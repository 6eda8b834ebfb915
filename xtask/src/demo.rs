//! `cargo xtask demo`: the main job, shown in a guest by `demo.sh`.
//! It must not know what is shown.

mod picture;

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, IsTerminal as _, Write, stdout},
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};

use crate::{
    build::Build,
    project::root,
    vm::{Guest, kernel::Series},
};

/// The steps of the demo that a picture has: those from the first refusal to the log.
const DRAWN: Range<usize> = 4..10;

/// Builds, boots a guest with kernel 6.12, and shows Remit's main job in it.
///
/// Exits with 1 when something did not go as it is told.
#[derive(clap::Args)]
pub(crate) struct Demo {
    /// Take the binaries as they are.
    #[arg(long)]
    no_build: bool,

    /// Draw what the demo printed as a terminal, into an SVG file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Demo {
    /// Shows it and returns the script's exit status.
    ///
    /// # Errors
    /// When something can't be built or booted, or the guest dies, or the picture can't be written.
    pub(crate) fn run(&self) -> Result<u8> {
        let build = Build::default();
        if !self.no_build {
            build.run()?;
        }
        let mut command =
            ["sh", "-c", include_str!("demo.sh"), "demo"].map(OsString::from).to_vec();
        command.push(root().join("agent/policy").into());
        let mut guest = Guest::new(&build.folder(), command)?;
        if self.svg.is_some() || in_colour() {
            guest.environment.push(("REMIT_DEMO_COLOUR".into(), "1".into()));
        }
        let printed = Copied::default();
        guest.stdout = Box::new(printed.clone());
        let status = guest.run(Series::V6_12)?;
        if let Some(file) = self.svg.as_ref().filter(|_| status == 0) {
            let drawn = picture::draw(&printed.text(), DRAWN)
                .context("the demo has fewer steps than are drawn")?;
            fs::write(file, drawn).with_context(|| format!("cannot write `{}`", file.display()))?;
        }
        Ok(status)
    }
}

/// The standard output, with a copy of what is written to it.
#[derive(Clone, Default)]
struct Copied(Arc<Mutex<Vec<u8>>>);

impl Copied {
    /// What was written so far.
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Write for Copied {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = stdout().write(bytes)?;
        let mut copy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        copy.extend(bytes.iter().take(written));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        stdout().flush()
    }
}

/// Whether who reads this wants colours: the guest can't see it.
fn in_colour() -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    stdout().is_terminal() && !refused && !dumb
}
