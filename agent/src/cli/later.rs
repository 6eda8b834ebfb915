//! Commands that are not implemented yet. They are in the help, so that nobody takes a missing one for a misspelling,
//! and they fail with a message that says so.

use std::ffi::OsString;

use super::context::{CliError, Exit};

/// Fails with the message that something is not there yet.
pub(super) fn not_there_yet(what: &str) -> Result<Exit, CliError> {
    Err(CliError::failed(format!("{what} not there yet")))
}

/// Run one command with one tool more (not there yet)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  remit step --tool github --ttl 2m -- git push")]
pub(super) struct Step {
    /// The tool
    #[arg(long)]
    tool: String,
    /// For how long
    #[arg(long)]
    ttl: Option<String>,
    /// The command and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Step {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let Self { tool: _, ttl: _, command: _ } = self;
        not_there_yet("single steps with one tool more are")
    }
}

/// Make a session of an agent that already runs (not there yet)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  remit attach --profile coder --pid 4242")]
pub(super) struct Attach {
    /// The profile
    #[arg(long)]
    profile: String,
    /// The process
    #[arg(long)]
    pid: u32,
}

impl Attach {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let Self { profile: _, pid: _ } = self;
        not_there_yet("attaching to a running agent is")
    }
}

/// Ask for a tool, from inside a session (not there yet)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  remit request github --ttl 5m --reason 'open a pull request' --wait")]
pub(super) struct Request {
    /// The tool
    tool: String,
    /// For how long
    #[arg(long)]
    ttl: String,
    /// What for
    #[arg(long)]
    reason: String,
    /// Wait for the answer
    #[arg(long)]
    wait: bool,
}

impl Request {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let Self { tool: _, ttl: _, reason: _, wait: _ } = self;
        not_there_yet("requests for tools are")
    }
}

/// Decide on sessions' requests (not there yet)
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  remit requests list
  remit requests approve 3")]
pub(super) enum Requests {
    /// List the open requests (not there yet)
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Grant what was asked for (not there yet)
    Approve {
        /// The request
        id: String,
    },
    /// Turn it down (not there yet)
    Deny {
        /// The request
        id: String,
    },
}

impl Requests {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        match self {
            Self::List { json: _ } | Self::Approve { id: _ } | Self::Deny { id: _ } => {
                not_there_yet("requests for tools are")
            }
        }
    }
}

/// A live screen of sessions, tools, time left and incidents (not there yet)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  remit top")]
pub(super) struct Top {}

impl Top {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        not_there_yet("the live screen is")
    }
}
