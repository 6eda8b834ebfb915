//! `remit session`.

use super::{
    context::{CliError, Context, Exit},
    output::Paint,
    show,
};
use crate::api::{
    EndAnswer, Session, SessionList,
    client::{segment, typed},
};

/// See and end sessions
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  remit session list
  remit session show fix-42
  remit session end fix-42 --kill")]
pub(super) enum Command {
    List(List),
    Show(Show),
    Tree(Tree),
    Quarantine(Quarantine),
    Resume(Resume),
    End(End),
}

/// List the live sessions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  remit session list
  remit session list --all --json")]
pub(super) struct List {
    /// Ended ones too, as far as they are remembered
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show all of one session: tools, time left, descriptors passed, tools lost
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  remit session show fix-42
  remit session show 019abc0012345678 --json")]
pub(super) struct Show {
    /// Name or id
    session: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show a session and its children (not there yet)
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  remit session tree fix-42")]
pub(super) struct Tree {
    /// Name or id
    session: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Refuse everything to a session until it is resumed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  remit session quarantine fix-42
  remit session quarantine fix-42 --freeze")]
pub(super) struct Quarantine {
    /// Name or id
    session: String,
    /// Stop its processes as well: they keep what they have locked, and notice nothing
    #[arg(long)]
    freeze: bool,
}

/// Resume a quarantined session: it can use its tools again
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  remit session resume fix-42")]
pub(super) struct Resume {
    /// Name or id
    session: String,
}

/// End a session: everything is refused to its processes from here on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  remit session end fix-42
  remit session end fix-42 --kill")]
pub(super) struct End {
    /// Name or id
    session: String,
    /// Kill its processes
    #[arg(long)]
    kill: bool,
}

impl Command {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        match self {
            Self::List(args) => list(&args, context),
            Self::Show(args) => show(&args, context),
            Self::Tree(Tree { session: _, json: _ }) => {
                super::later::not_there_yet("the tree of a session's children is")
            }
            Self::Quarantine(args) => {
                let (verb, done) = if args.freeze {
                    ("quarantine?freeze=true", "quarantined, its processes frozen")
                } else {
                    ("quarantine", "quarantined")
                };
                change(&args.session, verb, done, context)
            }
            Self::Resume(args) => change(&args.session, "resume", "resumed", context),
            Self::End(args) => end(&args, context),
        }
    }
}

fn list(args: &List, context: &Context) -> Result<Exit, CliError> {
    let path = if args.all { "/v1/sessions?all=true" } else { "/v1/sessions" };
    let answer = context.client.get(path)?;
    if args.json {
        context.out.json(&answer)?;
        return Ok(Exit::Done);
    }
    let list: SessionList = typed(&answer)?;
    if list.sessions.is_empty() {
        context.out.line("no sessions")?;
    } else {
        show::list(&context.out, &list.sessions)?;
    }
    Ok(Exit::Done)
}

fn show(args: &Show, context: &Context) -> Result<Exit, CliError> {
    let answer = context.client.get(&format!("/v1/sessions/{}", segment(&args.session)))?;
    if args.json {
        context.out.json(&answer)?;
    } else {
        let session: Session = typed(&answer)?;
        show::detail(&context.out, &session)?;
    }
    Ok(Exit::Done)
}

fn change(session: &str, verb: &str, done: &str, context: &Context) -> Result<Exit, CliError> {
    let path = format!("/v1/sessions/{}/{verb}", segment(session));
    let session: Session = typed(&context.client.post(&path, &())?)?;
    let name = context.out.paint(Paint::Bold, &session.name);
    context.out.line(format!("session {name} {done}"))?;
    Ok(Exit::Done)
}

fn end(args: &End, context: &Context) -> Result<Exit, CliError> {
    let kill = if args.kill { "?kill=true" } else { "" };
    let path = format!("/v1/sessions/{}{kill}", segment(&args.session));
    let answer: EndAnswer = typed(&context.client.delete(&path)?)?;
    let name = context.out.paint(Paint::Bold, &answer.session.name);
    let killed = match answer.killed {
        _ if !args.kill => String::new(),
        1 => ", 1 process killed".to_owned(),
        killed => format!(", {killed} processes killed"),
    };
    context.out.line(format!("session {name} ended{killed}"))?;
    Ok(Exit::Done)
}
