//! `remit doctor`.

use std::path::PathBuf;

use serde_json::json;

use super::{CliError, Context, Exit, output::Paint};
use crate::{bpf::doctor, settings::Settings};

/// Say whether this host can enforce, and if not, what to change
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sudo remit doctor
  sudo remit doctor --json

Exits with 1 if something has to be changed.")]
pub(super) struct Args {
    /// The daemon's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        let settings = Settings::load(self.config.as_deref())
            .map_err(|error| CliError::failed(error.to_string()).status(2))?;
        let checks = doctor::checks(&settings.pin_dir);
        let fit = checks.iter().all(|check| check.ok);
        let out = &context.out;
        if self.json {
            let checks: Vec<_> = checks
                .iter()
                .map(|check| {
                    json!({"name": check.name, "ok": check.ok, "found": check.found,
                        "advice": check.advice})
                })
                .collect();
            out.json(&json!({"ok": fit, "checks": checks}))?;
        } else {
            for check in &checks {
                let (paint, mark) =
                    if check.ok { (Paint::Good, "✓") } else { (Paint::Bad, "✗") };
                let mark = out.paint(paint, mark);
                out.line(format!("{mark} {}: {}", check.name, check.found))?;
                if !check.ok && !check.advice.is_empty() {
                    out.line(format!("    {}", check.advice))?;
                }
            }
        }
        Ok(if fit { Exit::Done } else { Exit::Refused })
    }
}
