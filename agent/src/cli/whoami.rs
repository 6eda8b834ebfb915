//! `remit whoami`.

use super::{
    context::{CliError, Context, Exit},
    output::span,
    show,
};
use crate::{
    api::{WhoAmI, client::typed},
    incident::render::printable,
};

/// Show the session that this process belongs to: tools, time left
///
/// Exits with 1 outside a session.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  remit whoami
  remit whoami --json")]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        let answer = context.client.get("/v1/whoami")?;
        let me: WhoAmI = typed(&answer)?;
        if self.json {
            context.out.json(&answer)?;
            return Ok(if me.session.is_some() { Exit::Done } else { Exit::Refused });
        }
        let out = &context.out;
        let Some(session) = me.session else {
            let user = &me.peer.user;
            out.line(format!("not in a session: {user}, uid {}, not confined", me.peer.uid))?;
            match me.may_start.as_slice() {
                _ if me.operator => out.line("may operate, and start sessions of every profile")?,
                [] => out.line("may start no session")?,
                profiles => out.line(format!("may start: {}", profiles.join(", ")))?,
            }
            return Ok(Exit::Refused);
        };
        let left = span(session.left_seconds);
        out.line(format!("session {} ({}), {left} left", session.name, session.profile))?;
        if let Some(task) = &session.task {
            out.line(format!("task: {}", printable(task)))?;
        }
        out.line(format!("state: {}, mode: {}", session.state, session.mode))?;
        show::tools(out, &session)?;
        Ok(Exit::Done)
    }
}
