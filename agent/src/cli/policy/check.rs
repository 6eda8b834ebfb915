//! `remit policy check`, which works without the daemon.

use std::path::PathBuf;

use agent_common::authority::ToolSet;
use serde_json::json;

use super::{
    case,
    files::{size, sources, warn},
};
use crate::{
    api::PolicySize,
    cli::{
        context::{CliError, Context, Exit},
        output::count,
    },
    policy::{self, Builtin, Compiled, Diagnostic, Policy, ToolBits},
    settings::Settings,
};

/// Check a policy, without the daemon, and say everything that is wrong with it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  remit policy check
  remit policy check ./policy

Exits with 2 if the policy can't be put in force.")]
pub(in crate::cli) struct Args {
    /// The folder, or one file [default: the daemon's `policy_dir`]
    dir: Option<PathBuf>,
    /// The daemon's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let dir = match self.dir {
            Some(dir) => dir,
            None => {
                Settings::load(self.config.as_deref())
                    .map_err(|error| CliError::failed(error.to_string()).status(2))?
                    .policy_dir
            }
        };
        let sources = sources(&dir)?;
        match policy::check(&sources) {
            Ok(mut policy) => {
                fits(&policy)?;
                let remarks = case::remarks(&policy, &sources);
                policy.warnings.extend(remarks);
                show(&policy, self.json, context)
            }
            Err(diagnostics) if self.json => {
                context.out.json(&json!({"ok": false, "diagnostics": diagnostics}))?;
                Ok(Exit::Wrong)
            }
            Err(diagnostics) => {
                warn(&diagnostics);
                let errors = diagnostics.iter().filter(|d| is_error(d)).count();
                let errors = count(errors, "error");
                Err(CliError::failed(format!("the policy has {errors}")).status(2))
            }
        }
    }
}

fn is_error(diagnostic: &Diagnostic) -> bool {
    diagnostic.severity == policy::Severity::Error
}

/// Makes sure that the policy fits into the kernel's tables, without any sessions.
fn fits(policy: &Policy) -> Result<(), CliError> {
    let mut bits = ToolBits::new();
    bits.assign(policy.tools.keys(), &ToolSet::EMPTY)
        .and_then(|()| Compiled::new(policy, &bits, &Builtin::default()).map(drop))
        .map_err(|error| CliError::failed(error.to_string()).status(2))
}

fn show(policy: &Policy, json: bool, context: &Context) -> Result<Exit, CliError> {
    let policy_size = PolicySize::of(policy);
    if json {
        let answer = json!({"ok": true, "size": policy_size, "diagnostics": policy.warnings});
        context.out.json(&answer)?;
        return Ok(Exit::Done);
    }
    warn(&policy.warnings);
    context.out.line(format!("policy ok: {}", size(policy_size)))?;
    if !policy.warnings.is_empty() {
        let parts = count(policy.warnings.len(), "part");
        context.out.line(format!("not in force yet: {parts}, see above"))?;
    }
    Ok(Exit::Done)
}
