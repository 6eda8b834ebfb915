//! `remit`: one file a command. Each reads its arguments, asks the daemon, and shows the answer.

mod completions;
mod doctor;
mod grant;
mod incidents;
mod later;
mod output;
mod policy;
mod run;
mod session;
mod show;
mod teardown;
mod whoami;

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand, error::ErrorKind};

use crate::{
    api::{
        FailureBody,
        client::{Client, ClientError},
    },
    policy::value::Problem,
};

pub use output::Output;

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
  remit run --profile coder --task 'fix #42' --workdir . -- claude
  remit session list
  remit grant coder-1 github --ttl 10m --reason 'push the fix'
  remit revoke coder-1 github
  remit incidents --session coder-1 --since 1h

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

/// The daemon's codes for a policy that can't be put in force.
const BAD_POLICY: [&str; 3] = ["bad_policy", "unreadable_policy", "policy_does_not_fit"];

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It is done.
    Done,
    /// It was refused, or says no.
    Refused,
    /// The policy is wrong.
    Wrong,
    /// With another program's status.
    Status(u8),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The daemon did not answer, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The arguments are not right.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What would be right.
        help: Option<String>,
    },
    /// It could not be done.
    #[error("{message}")]
    Failed {
        /// What went wrong.
        message: String,
        /// What would help.
        help: Option<String>,
        /// The exit status.
        status: u8,
    },
    /// The output went nowhere.
    #[error("can't write: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: Some(help.into()) }
    }

    fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), help: None, status: 1 }
    }

    fn help(self, text: impl Into<String>) -> Self {
        let text = Some(text.into());
        match self {
            Self::Usage { message, .. } => Self::Usage { message, help: text },
            Self::Failed { message, status, .. } => Self::Failed { message, help: text, status },
            other => other,
        }
    }

    fn status(self, status: u8) -> Self {
        match self {
            Self::Failed { message, help, .. } => Self::Failed { message, help, status },
            other => other,
        }
    }

    /// The exit status.
    fn code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Unreachable { .. }) => 3,
            // The policy is wrong, can't be read, or does not fit.
            Self::Client(ClientError::Refused { body, .. })
                if !body.diagnostics.is_empty() || BAD_POLICY.contains(&body.code.as_str()) =>
            {
                2
            }
            Self::Usage { .. } => 2,
            Self::Failed { status, .. } => *status,
            Self::Client(_) | Self::Output(_) => 1,
        }
    }

    fn print(&self) {
        match self {
            Self::Client(ClientError::Refused { body, .. }) => print_refusal(body),
            Self::Client(ClientError::Unreachable { .. }) => {
                eprintln!("error: {self}");
                eprintln!(
                    "  help: `systemctl status remitd` shows whether it runs, `remit doctor` \
                     whether this host can enforce"
                );
            }
            Self::Usage { help, .. } | Self::Failed { help, .. } => {
                eprintln!("error: {self}");
                if let Some(help) = help {
                    eprintln!("  help: {help}");
                }
            }
            Self::Client(_) | Self::Output(_) => eprintln!("error: {self}"),
        }
    }

    /// Whether only the reader of the output went away.
    fn is_broken_pipe(&self) -> bool {
        matches!(
            self,
            Self::Output(error) | Self::Client(ClientError::Output(error))
                if error.kind() == io::ErrorKind::BrokenPipe
        )
    }
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> Self {
        Self::Usage { message: problem.message, help: problem.help }
    }
}

fn print_refusal(body: &FailureBody) {
    for diagnostic in &body.diagnostics {
        eprintln!("{diagnostic}\n");
    }
    eprintln!("error: {}", body.message);
    if let Some(help) = &body.help {
        eprintln!("  help: {help}");
    }
}

/// What every command gets.
struct Context {
    client: Client,
    out: Output,
}

/// Runs `remit` with the process's arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // What can't be shown can't be told either.
            let _ = error.print();
            let fine = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(if fine { 0 } else { 2 });
        }
    };
    match run(cli) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::Refused) => ExitCode::from(1),
        Ok(Exit::Wrong) => ExitCode::from(2),
        Ok(Exit::Status(status)) => ExitCode::from(status),
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
        Command::Completions(args) => args.run(),
    }
}

#[cfg(test)]
mod tests;
