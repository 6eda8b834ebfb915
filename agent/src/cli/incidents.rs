//! `remit incidents`.

use std::io;

use serde_json::Value;

use super::{
    context::{CliError, Context, Exit},
    output::Paint,
};
use crate::{
    api::{
        IncidentQuery,
        client::{segment, typed},
    },
    incident::{
        Record, Time,
        query::{FilterText, Report, Summary},
        render,
    },
};

/// See what was refused, why, and what would allow it
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  remit incidents --session fix-42 --since 1h
  remit incidents --operation net.connect --reason no_tool
  remit incidents --follow
  remit incidents --json | jq .object
  remit incidents show 01M86R9YKVT14FTP0VWDT081X8"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    filter: Filter,
    /// The newest so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Go on with those to come
    #[arg(long, short)]
    follow: bool,
    /// Print one JSON object a line, as it stands in the log
    #[arg(long)]
    json: bool,
}

/// Which lines of the log.
#[derive(Debug, Default, clap::Args)]
struct Filter {
    /// Of this session, by name or id
    #[arg(long, value_name = "S")]
    session: Option<String>,
    /// Not before: a time, or an age such as `90s`, `15m`, `8h`, `7d`
    #[arg(long)]
    since: Option<String>,
    /// Before: a time or an age
    #[arg(long)]
    until: Option<String>,
    /// Of this operation: `net.connect`, or `net.` for all of that family
    #[arg(long, value_name = "O")]
    operation: Option<String>,
    /// With this reason: `no_tool`, `explicit_deny`, `revoked`, `expired`, …
    #[arg(long, value_name = "R")]
    reason: Option<String>,
    /// `denied` or `would_deny`
    #[arg(long)]
    verdict: Option<String>,
    /// With this entry of a public list: `ASI02`, `mitre-attack:T1048`
    #[arg(long)]
    reference: Option<String>,
    /// Only `incident`, `control`, `lost`, `repaired` or `canary` lines
    #[arg(long)]
    kind: Option<String>,
    /// Control acts (start, grant, revoke, reload, …) too
    #[arg(long, conflicts_with = "kind")]
    all: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show all of one incident, and what would allow it
    #[command(after_help = "Example:\n  remit incidents show 01M86R9YKVT14FTP0VWDT081X8")]
    Show {
        /// The incident's id
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Count the incidents by session, operation, reason and object
    #[command(after_help = "Example:\n  remit incidents summary --since 8h")]
    Summary {
        #[command(flatten)]
        filter: Filter,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check that no line of the log was changed, taken out or lost
    #[command(after_help = "Example:\n  remit incidents verify")]
    Verify {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl Args {
    pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
        match self.command {
            None => list(&self, context),
            Some(Command::Show { id, json }) => show(&id, json, context),
            Some(Command::Summary { filter, json }) => summary(&filter, json, context),
            Some(Command::Verify { json }) => verify(json, context),
        }
    }
}

impl Filter {
    /// The query of the request, with its words checked.
    fn query(&self) -> Result<IncidentQuery, CliError> {
        let text = FilterText {
            session: self.session.clone(),
            since: self.since.clone(),
            until: self.until.clone(),
            operation: self.operation.clone(),
            reason: self.reason.clone(),
            verdict: self.verdict.clone(),
            kind: self.kind.clone(),
            reference: self.reference.clone(),
            limit: None,
        };
        text.check(Time::now())
            .map_err(|error| CliError::Usage { message: error.to_string(), help: None })?;
        Ok(IncidentQuery {
            session: text.session,
            since: text.since,
            until: text.until,
            operation: text.operation,
            reason: text.reason,
            verdict: text.verdict,
            kind: text.kind,
            reference: text.reference,
            all: self.all,
            ..IncidentQuery::default()
        })
    }
}

fn list(args: &Args, context: &Context) -> Result<Exit, CliError> {
    let query = IncidentQuery {
        limit: args.limit,
        lines: true,
        follow: args.follow,
        ..args.filter.query()?
    };
    let path = with_query("/v1/incidents", &query)?;
    let out = &context.out;
    if args.json {
        context.client.stream(&path, |line| out.line(line))?;
        return Ok(Exit::Done);
    }
    let colour = out.log_colour();
    if args.follow {
        let widths = render::Widths::default();
        out.line(render::head(widths, colour))?;
        context.client.stream(&path, |line| match Record::parse(line) {
            Ok(record) => out.line(render::line(&record, widths, colour)),
            Err(_) => out.line(render::printable(line)),
        })?;
        return Ok(Exit::Done);
    }
    let mut records = Vec::new();
    context.client.stream(&path, |line| {
        records.push(Record::parse(line).map_err(io::Error::other)?);
        Ok(())
    })?;
    if records.is_empty() {
        out.line("no incidents")?;
    } else {
        out.line(render::list(&records, colour).trim_end())?;
    }
    Ok(Exit::Done)
}

fn show(id: &str, json: bool, context: &Context) -> Result<Exit, CliError> {
    let answer = context.client.get(&format!("/v1/incidents/{}", segment(id)))?;
    if json {
        context.out.json(&answer)?;
    } else {
        let record: Record = typed(&answer)?;
        context.out.line(render::detail(&record, context.out.log_colour()).trim_end())?;
    }
    Ok(Exit::Done)
}

fn summary(filter: &Filter, json: bool, context: &Context) -> Result<Exit, CliError> {
    let answer = context.client.get(&with_query("/v1/incidents/summary", &filter.query()?)?)?;
    if json {
        context.out.json(&answer)?;
    } else {
        let summary: Summary = typed(&answer)?;
        context.out.line(render::summary(&summary, context.out.log_colour()).trim_end())?;
    }
    Ok(Exit::Done)
}

fn verify(json: bool, context: &Context) -> Result<Exit, CliError> {
    let answer = context.client.get("/v1/incidents/verify")?;
    let report: Report = typed(&answer)?;
    let out = &context.out;
    let holds = report.broken.is_none();
    if json {
        out.json(&answer)?;
    } else {
        match &report.broken {
            None => {
                let (lines, files) = (report.lines, report.files);
                let good = out.paint(Paint::Good, "the chain holds");
                out.line(format!("{good}: {lines} lines in {files} files"))?;
            }
            Some(broken) => {
                let bad = out.paint(Paint::Bad, "the chain is broken");
                out.line(format!("{bad}: {}:{}: {}", broken.file, broken.line, broken.what))?;
            }
        }
        if !report.from_the_beginning() {
            out.line("it begins behind files that are gone")?;
        }
        if report.lost > 0 {
            out.line(format!("refusals counted as lost: {}", report.lost))?;
        }
        if report.unaccounted() > 0 {
            out.line(format!("event numbers not accounted for: {}", report.unaccounted()))?;
        }
        out.line(format!("hash of the last line: {}", report.head))?;
    }
    Ok(if holds { Exit::Done } else { Exit::Refused })
}

/// A path with a query that has a type's fields.
fn with_query(path: &str, query: &IncidentQuery) -> Result<String, CliError> {
    let value = serde_json::to_value(query).map_err(|e| CliError::failed(e.to_string()))?;
    let mut text = path.to_owned();
    let mut joint = '?';
    for (key, value) in value.as_object().into_iter().flatten() {
        let word = match value {
            Value::String(word) => word.clone(),
            other => other.to_string(),
        };
        text.push(joint);
        text.push_str(&format!("{key}={}", segment(&word)));
        joint = '&';
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_has_only_the_fields_that_are_set() {
        let query = IncidentQuery {
            session: Some("a b".into()),
            limit: Some(3),
            follow: true,
            ..IncidentQuery::default()
        };
        let path = with_query("/v1/incidents", &query).unwrap();
        assert_eq!(path, "/v1/incidents?follow=true&limit=3&session=a%20b");
        assert_eq!(with_query("/x", &IncidentQuery::default()).unwrap(), "/x");
    }

    #[test]
    fn query_with_an_unknown_word_is_bad_usage() {
        let filter = Filter { reason: Some("no_tol".into()), ..Filter::default() };
        let error = filter.query().unwrap_err();
        assert_eq!(error.code(), 2);
        assert!(error.to_string().contains("did you mean `no_tool`?"), "{error}");
    }
}
