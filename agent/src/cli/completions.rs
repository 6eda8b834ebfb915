//! `remit completions`.

use std::io::{self, Write as _};

use super::context::{CliError, Exit};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  remit completions bash > /usr/share/bash-completion/completions/remit")]
pub(super) struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

impl Args {
    /// Prints the script for the whole command line.
    pub(super) fn run(self, command: &mut clap::Command) -> Result<Exit, CliError> {
        // Made in memory first: the generator panics where it can't write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "remit", &mut script);
        io::stdout().write_all(&script)?;
        Ok(Exit::Done)
    }
}
