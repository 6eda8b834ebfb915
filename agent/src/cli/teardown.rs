//! `remit teardown`.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use super::context::{CliError, Context, Exit};
use crate::{
    api::{
        Health, WhoAmI,
        client::{ClientError, typed},
    },
    daemon::teardown,
    groups::Groups,
    settings::Settings,
};

/// Take enforcement off this host: the one way to do so
///
/// Every session loses its confinement: processes that run in one are free afterwards. The daemon
/// must be stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  systemctl stop remitd && sudo remit teardown")]
pub(super) struct Args {
    /// Don't ask
    #[arg(long)]
    yes: bool,
    /// The daemon's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Args {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        let settings = Settings::load(self.config.as_deref())
            .map_err(|error| CliError::failed(error.to_string()).status(2))?;
        if !rustix::process::geteuid().is_root() {
            return Err(CliError::failed("only root can take enforcement off"));
        }
        refuse_while_used(context)?;
        if !self.yes {
            confirm()?;
        }
        teardown::run(&settings).map_err(|error| CliError::failed(error.to_string()))?;
        Groups::abandon(&settings.state_dir);
        context.out.line("enforcement is off: no process on this host is confined any more")?;
        Ok(Exit::Done)
    }
}

/// Refuses from inside a session, and while the daemon runs. With the daemon stopped, the kernel programs refuse it to
/// a session's processes.
fn refuse_while_used(context: &Context) -> Result<(), CliError> {
    let me: WhoAmI = match context.client.get("/v1/whoami") {
        Ok(answer) => typed(&answer)?,
        Err(ClientError::Unreachable { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if me.session.is_some() {
        return Err(CliError::failed("a process of a session can't take enforcement off"));
    }
    let health: Health = typed(&context.client.get("/v1/health")?)?;
    Err(CliError::failed(format!("the daemon runs, with {} sessions live", health.sessions))
        .help("stop it first: `systemctl stop remitd`"))
}

fn confirm() -> Result<(), CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::usage("there is no terminal to ask on", "add `--yes`"));
    }
    eprint!("Take enforcement off this host? Processes in sessions will be free. Type `yes`: ");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(CliError::failed("nothing was changed")),
    }
}
