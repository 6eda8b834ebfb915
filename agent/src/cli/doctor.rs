//! `remit doctor`.

use std::{io, path::PathBuf};

use serde_json::json;

use super::{
    context::{CliError, Context, Exit},
    output::Paint,
    policy,
};
use crate::{
    api::{
        Canary, Health,
        client::{Client, ClientError, typed},
    },
    bpf::doctor::{self, Check},
    incident::render::printable,
    settings::Settings,
};

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
        let named;
        let client = if self.config.is_some() {
            named = Client::new(Some(settings.socket))?;
            &named
        } else {
            &context.client
        };
        let answer = client.post("/v1/canary", &()).and_then(|answer| typed::<Canary>(&answer));
        // After the canary's run, which attaches the hooks.
        let mut checks = doctor::checks(&settings.pin_dir);
        checks.push(canary(&answer));
        checks.extend(daemon(client));
        checks.extend(policy::denials_by_name(&settings.policy_dir, &settings.shipped_dir));
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
            out.json(&json!({"ok": fit, "checks": checks, "canary": answer.ok()}))?;
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

/// The daemon's troubles, and where sessions have control groups, which only limits of a profile need. Nothing if the
/// daemon is not reachable: the canary's check says that.
fn daemon(client: &Client) -> Vec<Check> {
    let Ok(health) = client.get("/v1/health").and_then(|answer| typed::<Health>(&answer)) else {
        return Vec::new();
    };
    let check = |name, ok, found: String| Check { name, ok, found, advice: String::new() };
    let mut checks = vec![check("control groups", true, printable(&health.control_groups))];
    match health.status.as_str() {
        "ok" => {
            let found = "policy, state and log are as they must be".into();
            checks.push(check("daemon", true, found));
        }
        // Only operators get the warnings.
        _ if health.warnings.is_empty() => {
            checks.push(check("daemon", false, "it runs, with troubles that operators see".into()));
        }
        _ => {}
    }
    let warnings = health.warnings.iter().map(|warning| printable(warning));
    checks.extend(warnings.map(|warning| check("daemon", false, warning)));
    checks
}

/// The canary's run just now, as a check.
fn canary(answer: &Result<Canary, ClientError>) -> Check {
    let check = |ok, found: String, advice: &str| Check {
        name: "canary",
        ok,
        found: printable(&found),
        advice: advice.into(),
    };
    let canary = match answer {
        Ok(canary) => canary,
        Err(error @ ClientError::Unreachable { source, .. })
            if source.kind() != io::ErrorKind::PermissionDenied =>
        {
            let advice = "start the daemon: without it nothing looks whether enforcement holds";
            return check(false, error.to_string(), advice);
        }
        Err(error) => {
            let advice = "run it as root, or as a member of the operators' group";
            return check(false, error.to_string(), advice);
        }
    };
    let message = canary.message.as_deref().unwrap_or("no run as yet");
    let age = canary.age_seconds.map_or(String::new(), |age| format!(", {age:.0} s ago"));
    let found = format!("{message}{age}");
    match canary.state.as_str() {
        "ok" | "pending" => check(true, found, ""),
        // An agent with very many refusals causes this. Enforcement holds.
        "behind" => check(
            true,
            format!("{found} (see `remit incidents summary` for who is refused so much)"),
            "",
        ),
        "off" => check(true, "off, by `canary_interval`".into(), ""),
        "late" => {
            let advice =
                "it does not run any more: `journalctl -u remitd`, then restart the daemon";
            check(false, format!("the last run is too old: {found}"), advice)
        }
        _ => {
            let advice = "stop the agents, restart the daemon, which puts back what is missing, and look \
                          at `remit incidents --kind canary` and docs/canary.md";
            check(false, found, advice)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(state: &str, message: Option<&str>) -> Check {
        canary(&Ok(Canary {
            state: state.into(),
            interval_seconds: Some(60),
            last_run: None,
            age_seconds: message.map(|_| 3.2),
            message: message.map(Into::into),
            runs: 1,
            failures: 0,
            tries: Vec::new(),
        }))
    }

    #[test]
    fn canary_check_fails_if_the_run_failed_or_is_late() {
        let good = of("ok", Some("31 operations refused"));
        assert_eq!((good.ok, good.found.as_str()), (true, "31 operations refused, 3 s ago"));
        assert!(of("pending", None).ok && of("off", None).ok);
        let failed = of("failed", Some("not refused: file.open (openat)"));
        assert!(!failed.ok && failed.found.contains("file.open"), "{failed:?}");
        assert!(!of("late", Some("fine")).ok);
        let behind = of("behind", Some("the log is behind"));
        assert!(behind.ok && behind.found.contains("log is behind"), "{behind:?}");
        let socket = "/nowhere".into();
        let source = io::ErrorKind::NotFound.into();
        let gone = canary(&Err(ClientError::Unreachable { socket, source }));
        assert!(!gone.ok && gone.advice.contains("start the daemon"), "{gone:?}");
        let socket = "/closed".into();
        let source = io::ErrorKind::PermissionDenied.into();
        let closed = canary(&Err(ClientError::Unreachable { socket, source }));
        assert!(!closed.ok && !closed.advice.contains("start the daemon"), "{closed:?}");
    }
}
