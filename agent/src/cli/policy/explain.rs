//! `remit policy explain`.

use crate::{
    api::{ExplainRequest, Explanation, RuleView, client::typed},
    cli::{
        context::{CliError, Context, Exit},
        output::Paint,
    },
};

/// Say what would be decided if a session tried something now, and why
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  remit policy explain fix-42 read /etc/shadow
  remit policy explain fix-42 file.exec /usr/bin/git
  remit policy explain fix-42 net.connect 203.0.113.7:443
  remit policy explain fix-42 net.connect udp/10.0.0.1:53

Exits with 0 if it would be allowed, with 1 if not.")]
pub(in crate::cli) struct Args {
    /// The session's name or id
    session: String,
    /// An access right (`read`, `write`, `exec`, …) or an operation (`file.open`, `net.connect`, …)
    operation: String,
    /// A path, or an endpoint
    object: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(in crate::cli) fn run(self, context: &Context) -> Result<Exit, CliError> {
        let request = ExplainRequest {
            session: self.session,
            operation: self.operation,
            object: self.object,
        };
        let answer = context.client.post("/v1/policy/explain", &request)?;
        let said: Explanation = typed(&answer)?;
        let exit = if said.verdict == "allowed" { Exit::Done } else { Exit::Refused };
        if self.json {
            context.out.json(&answer)?;
            return Ok(exit);
        }
        let out = &context.out;
        let paint = if exit == Exit::Done { Paint::Good } else { Paint::Bad };
        let because = said.reason.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        let verdict = out.paint(paint, &said.verdict);
        out.line(format!("{verdict}{because}: {} {}", said.access.join("+"), said.object))?;
        if let Some(leads) = &said.leads {
            out.line(format!("{} is a link: it is {} that counts", leads.link, leads.to))?;
        }
        if let Some(rule) = &said.denied_by {
            out.line(format!("denied by {}", place(rule)))?;
        }
        if !said.allowed_by.is_empty() {
            out.line(format!("covered by tools held: {}", said.allowed_by.join(", ")))?;
        }
        if exit == Exit::Refused && !said.would_allow.is_empty() {
            let tools = said.would_allow.join(", ");
            out.line(format!("would be allowed with one of: {tools}"))?;
        }
        for rule in &said.rules {
            out.line(format!("  {}", place(rule)))?;
        }
        if said.rules.is_empty() {
            out.line("no rule speaks of it")?;
        }
        Ok(exit)
    }
}

fn place(rule: &RuleView) -> String {
    let owner = match &rule.tool {
        Some(tool) => format!("tool {tool}"),
        None => rule.kind.clone(),
    };
    if rule.file.is_empty() {
        format!("{owner}: {} (Remit's own)", rule.text)
    } else {
        format!("{owner}: {} ({}:{})", rule.text, rule.file, rule.line)
    }
}
