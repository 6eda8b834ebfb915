//! `remit grant` and `remit revoke`.

use super::{
    context::{CliError, Context, Exit},
    output::{Paint, span},
};
use crate::{
    api::{
        GrantRequest, Session,
        client::{segment, typed},
    },
    policy::value::duration,
};

/// Give a running session a tool for a while
///
/// In force when the command returns. The kernel takes the tool away when the time is up, from open files and connections
/// too, also while the daemon is stopped. Where the session holds the tool already, the later end counts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  remit grant fix-42 github --ttl 10m --reason 'push the fix'")]
pub(super) struct Grant {
    /// The session's name or id
    session: String,
    /// The tool
    tool: String,
    /// For how long: `90s`, `15m`, `8h`
    #[arg(long)]
    ttl: String,
    /// What for; it stands in the log
    #[arg(long)]
    reason: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Take a tool back from a running session, or all of them
///
/// In force when the command returns: the next open, start or connection that needs the tool fails, and so does the
/// next use of an open file or connection. Memory that a process has mapped stays mapped, unless the tool has
/// `on_revoke = "kill"`: that kills the processes that used it. Open files and connections stay usable if the tool has
/// `recall = "opens"`, or if the session was given them at its start. `remit session end --kill` ends all of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  remit revoke fix-42 github
  remit revoke fix-42 --all")]
pub(super) struct Revoke {
    /// The session's name or id
    session: String,
    /// The tool
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    tool: Option<String>,
    /// Every tool that it holds, those of its profile too
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Grant {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        duration(&self.ttl)?;
        let path = format!("/v1/sessions/{}/grants", segment(&self.session));
        let request =
            GrantRequest { tool: self.tool.clone(), ttl: self.ttl, reason: Some(self.reason) };
        let answer = context.client.post(&path, &request)?;
        if self.json {
            context.out.json(&answer)?;
            return Ok(Exit::Done);
        }
        let session: Session = typed(&answer)?;
        let left = session.tools.iter().find(|grant| grant.tool == self.tool);
        let left =
            left.map_or_else(String::new, |grant| format!(" for {}", span(grant.left_seconds)));
        let (name, tool) = (&session.name, context.out.paint(Paint::Bold, &self.tool));
        context.out.line(format!("session {name} holds {tool}{left}"))?;
        Ok(Exit::Done)
    }
}

impl Revoke {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        let grants = format!("/v1/sessions/{}/grants", segment(&self.session));
        let (path, what) = match &self.tool {
            Some(tool) => (format!("{grants}/{}", segment(tool)), tool.as_str()),
            None => (grants, "any tool"),
        };
        let answer = context.client.delete(&path)?;
        if self.json {
            context.out.json(&answer)?;
            return Ok(Exit::Done);
        }
        let session: Session = typed(&answer)?;
        context.out.line(format!("session {} no longer holds {what}", session.name))?;
        Ok(Exit::Done)
    }
}
