//! What every command of `remit` is run with, and how it ends.

use std::io;

use super::output::Output;
use crate::{
    api::{
        FailureBody,
        client::{Client, ClientError},
    },
    policy::value::Problem,
};

/// The daemon's codes for a policy that can't be put in force.
const BAD_POLICY: [&str; 3] = ["bad_policy", "unreadable_policy", "policy_does_not_fit"];

/// How a command ended that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done.
    Done,
    /// Refused, or the answer is no.
    Refused,
    /// The policy is wrong.
    Wrong,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
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
    /// Something went wrong.
    #[error("{message}")]
    Failed {
        /// What went wrong.
        message: String,
        /// What would help.
        help: Option<String>,
        /// The exit status.
        status: u8,
    },
    /// The output could not be written.
    #[error("can't write: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    pub(super) fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: Some(help.into()) }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), help: None, status: 1 }
    }

    pub(super) fn help(self, text: impl Into<String>) -> Self {
        let text = Some(text.into());
        match self {
            Self::Usage { message, .. } => Self::Usage { message, help: text },
            Self::Failed { message, status, .. } => Self::Failed { message, help: text, status },
            other => other,
        }
    }

    pub(super) fn status(self, status: u8) -> Self {
        match self {
            Self::Failed { message, help, .. } => Self::Failed { message, help, status },
            other => other,
        }
    }

    /// The exit status.
    pub(super) fn code(&self) -> u8 {
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

    pub(super) fn print(&self) {
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

    /// Whether the error is only that the reader of the output closed it.
    pub(super) fn is_broken_pipe(&self) -> bool {
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

/// What every command is run with.
pub(super) struct Context {
    /// The daemon.
    pub(super) client: Client,
    /// Standard output.
    pub(super) out: Output,
}
