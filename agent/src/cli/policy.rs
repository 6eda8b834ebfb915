//! `remit policy`.

mod case;
mod check;
mod explain;
mod files;
mod links;
mod ships;

use std::path::{Path, PathBuf};

use self::files::{size, sources, warn};
use super::{
    context::{CliError, Context, Exit},
    later::not_there_yet,
};
use crate::{
    api::{PolicyChange, PolicyFile, PushRequest, ReloadRequest, client::typed},
    bpf::doctor::Check,
    policy,
};

/// Check, change and explain the policy
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "\
Examples:
  remit policy check ./policy
  remit policy push ./policy/20-github.toml
  remit policy reload --dry-run
  remit policy explain fix-42 read /etc/shadow")]
pub(super) enum Command {
    Check(check::Args),
    Push(Push),
    Reload(Reload),
    Explain(explain::Args),
    /// Say which rules no session has used (not there yet)
    #[command(after_help = "Example:\n  remit policy review")]
    Review,
    /// Make a policy of what a session has tried (not there yet)
    #[command(after_help = "Example:\n  remit policy learn fix-42")]
    Learn {
        /// The session
        session: String,
    },
}

/// Send policy files to the daemon and put the whole policy in force
///
/// The daemon checks them together with the files that it has. When anything is wrong, it says all
/// that is, and nothing changes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  remit policy push ./policy/20-github.toml
  remit policy push ./policy")]
pub(super) struct Push {
    /// Policy files, or folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Read the policy's folder again and put it in force
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  remit policy reload
  remit policy reload --dry-run")]
pub(super) struct Reload {
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        match self {
            Self::Check(args) => args.run(context),
            Self::Push(args) => push(&args, context),
            Self::Reload(args) => reload(&args, context),
            Self::Explain(args) => args.run(context),
            Self::Review => not_there_yet("the review of a policy's use is"),
            Self::Learn { session: _ } => not_there_yet("learning a policy from a session is"),
        }
    }
}

/// The check on denials by name where names are not compared exactly; `None` if there are no such denials.
pub(super) fn denials_by_name(folder: &Path, shipped: &Path) -> Option<Check> {
    let files = policy::with_shipped(policy::read(folder).ok()?, shipped).ok()?;
    let remarks = case::remarks(&policy::check_files(&files).ok()?, &files).len();
    let found =
        format!("{remarks} on file systems that may ignore case: `remit policy check` says which");
    let name = "denials by name";
    (remarks > 0).then(|| Check { name, ok: true, found, advice: String::new() })
}

fn push(args: &Push, context: &Context) -> Result<Exit, CliError> {
    let mut files = Vec::new();
    for path in &args.paths {
        for source in sources(path)? {
            let name = source.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push(PolicyFile { name, text: source.text });
        }
    }
    if files.is_empty() {
        return Err(CliError::usage("no policy files there", "files that end in `.toml`"));
    }
    let answer = context.client.post("/v1/policy", &PushRequest { files })?;
    if args.json {
        context.out.json(&answer)?;
        return Ok(Exit::Done);
    }
    changed(&typed(&answer)?, context)
}

fn reload(args: &Reload, context: &Context) -> Result<Exit, CliError> {
    let request = ReloadRequest { dry_run: args.dry_run };
    let answer = context.client.post("/v1/policy/reload", &request)?;
    if args.json {
        context.out.json(&answer)?;
        return Ok(Exit::Done);
    }
    changed(&typed(&answer)?, context)
}

/// Prints what a policy changed.
fn changed(change: &PolicyChange, context: &Context) -> Result<Exit, CliError> {
    let out = &context.out;
    warn(&change.warnings);
    let state = if change.dry_run { "would be in force" } else { "in force" };
    out.line(format!("policy {} {state}: {}", change.generation, size(change.size)))?;
    if !change.added.is_empty() {
        out.line(format!("new tools: {}", change.added.join(", ")))?;
    }
    if !change.dropped.is_empty() {
        out.line(format!("tools gone: {}", change.dropped.join(", ")))?;
    }
    let loses = if change.dry_run { "would lose" } else { "lost" };
    for lost in &change.lost {
        out.line(format!("session {} {loses} {}", lost.session, lost.tools.join(", ")))?;
    }
    Ok(Exit::Done)
}
