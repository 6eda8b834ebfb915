//! `remit`, the command line: one file for each command. Each reads its arguments, asks the daemon, and prints the
//! answer.

mod completions;
mod context;
mod doctor;
mod for_program;
mod grant;
mod incidents;
mod later;
mod output;
mod policy;
mod run;
mod session;
mod show;
mod signals;
mod teardown;
mod whoami;

use std::{path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand, error::ErrorKind};

use self::{
    context::{CliError, Context, Exit},
    output::Output,
};
use crate::api::client::Client;

/// `remit`.
#[derive(Debug, Parser)]
#[command(
    name = "remit",
    version,
    about = "Confines AI agents to the tools that their session holds at the moment",
    after_help = EXAMPLES,
    disable_help_subcommand = true
)]
pub struct Cli {
    /// The daemon's control socket [default: $REMIT_SOCKET, else /run/remit/control.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  remit run --task 'fix #42' --workdir . -- claude
  remit session list
  remit grant claude-1 github --ttl 10m --reason 'push the fix'
  remit revoke claude-1 github
  remit incidents --session claude-1 --since 1h

Exit status: 0 done, 1 refused or failed, 2 bad usage or bad policy, 3 daemon not reachable;
`remit run` exits with the command's.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Step(later::Step),
    Attach(later::Attach),
    #[command(subcommand)]
    Session(session::Command),
    Grant(grant::Grant),
    Revoke(grant::Revoke),
    Request(later::Request),
    #[command(subcommand)]
    Requests(later::Requests),
    Whoami(whoami::Args),
    #[command(subcommand)]
    Policy(policy::Command),
    Incidents(Box<incidents::Args>),
    Top(later::Top),
    Doctor(doctor::Args),
    Teardown(teardown::Args),
    Completions(completions::Args),
}

/// Runs `remit` with the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // If this can't be printed, nothing can.
            let _ = error.print();
            let fine = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if fine { 0 } else { 2 });
        }
    };
    match run(cli) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Refused) => ExitCode::from(1),
        Ok(Exit::Wrong) => ExitCode::from(2),
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            ExitCode::from(error.code())
        }
    }
}

fn run(cli: Cli) -> Result<Exit, CliError> {
    let client = Client::new(cli.socket)
        .map_err(|error| CliError::failed(format!("can't start: {error}")))?;
    let mut context = Context { client, out: Output::new() };
    let context = &mut context;
    match cli.command {
        Command::Run(args) => args.run(context),
        Command::Step(args) => args.run(),
        Command::Attach(args) => args.run(),
        Command::Session(command) => command.run(context),
        Command::Grant(args) => args.run(context),
        Command::Revoke(args) => args.run(context),
        Command::Request(args) => args.run(),
        Command::Requests(command) => command.run(),
        Command::Whoami(args) => args.run(context),
        Command::Policy(command) => command.run(context),
        Command::Incidents(args) => args.run(context),
        Command::Top(args) => args.run(),
        Command::Doctor(args) => args.run(context),
        Command::Teardown(args) => args.run(context),
        Command::Completions(args) => args.run(&mut Cli::command()),
    }
}

#[cfg(test)]
mod tests;
