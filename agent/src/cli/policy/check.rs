//! `remit policy check`, which works without the daemon.

use std::path::PathBuf;

use agent_common::authority::ToolSet;
use serde_json::json;

use super::{
    case,
    files::{size, sources, warn},
    links, ships,
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
        let wrong = |message: String| CliError::failed(message).status(2);
        let settings = Settings::load(self.config.as_deref());
        let Settings { policy_dir, shipped_dir, .. } =
            settings.map_err(|error| wrong(error.to_string()))?;
        let own = sources(&self.dir.unwrap_or(policy_dir))?;
        let files = policy::with_shipped(own, &shipped_dir).map_err(|e| wrong(e.to_string()))?;
        match policy::check_files(&files) {
            Ok(mut policy) => {
                let remarks = [
                    case::remarks(&policy, &files),
                    links::remarks(&policy, &files),
                    ships::remarks(&policy, &files, &shipped_dir),
                ];
                let mut widened = policy.clone();
                policy::links::widen(&mut widened);
                fits(&widened)?;
                policy.warnings.extend(remarks.into_iter().flatten());
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
    let later = policy.warnings.iter().filter(|warning| warning.code == "policy::not-in-force");
    let later = later.count();
    if later > 0 {
        let parts = count(later, "part");
        context.out.line(format!("not in force yet: {parts}, see above"))?;
    }
    Ok(Exit::Done)
}
