//! Shows sessions to people.

use jiff::{Timestamp, tz::TimeZone};

use super::{
    Output,
    output::{Paint, span},
};
use crate::{
    api::{Grant, Session},
    incident::render::printable,
};

/// The colour of a state.
fn state(session: &Session) -> Paint {
    match session.state.as_str() {
        "active" => Paint::Good,
        "quarantined" => Paint::Bad,
        _ => Paint::Dim,
    }
}

/// Prints sessions, one a line.
pub(super) fn list(out: &Output, sessions: &[Session]) -> std::io::Result<()> {
    let rows: Vec<_> = sessions
        .iter()
        .map(|session| {
            let plain = |text: &str| (Paint::Plain, text.to_owned());
            let tools: Vec<_> = session.tools.iter().map(|grant| grant.tool.as_str()).collect();
            let left =
                if session.state == "ended" { "-".into() } else { span(session.left_seconds) };
            [
                (Paint::Bold, session.name.clone()),
                plain(&session.id),
                plain(&session.profile),
                (state(session), condition(session)),
                plain(&left),
                plain(&session.owner.user),
                plain(&tools.join(",")),
                plain(session.task.as_deref().unwrap_or("")),
            ]
        })
        .collect();
    out.table(["NAME", "ID", "PROFILE", "STATE", "LEFT", "OWNER", "TOOLS", "TASK"], &rows)
}

/// The state, with the mode if it is not `enforce`.
fn condition(session: &Session) -> String {
    match session.mode.as_str() {
        "audit" if session.state == "active" => "active (audit)".to_owned(),
        _ => session.state.clone(),
    }
}

/// Prints everything on one session.
pub(super) fn detail(out: &Output, session: &Session) -> std::io::Result<()> {
    let line = |name: &str, text: &str| {
        out.line(format!("{} {}", out.paint(Paint::Dim, &format!("{name:<9}")), printable(text)))
    };
    out.line(format!(
        "{}  {}",
        out.paint(Paint::Bold, &printable(&session.name)),
        out.paint(state(session), &condition(session))
    ))?;
    line("id", &session.id)?;
    line("profile", &session.profile)?;
    if let Some(task) = &session.task {
        line("task", task)?;
    }
    let owner = &session.owner;
    line(
        "owner",
        &format!("{} (uid {}), started by process {}", owner.user, owner.uid, session.pid),
    )?;
    line("workdir", &session.workdir)?;
    for (name, value) in session.variables.iter().filter(|(name, _)| *name != "workdir") {
        line("variable", &format!("{name} = {value}"))?;
    }
    line("started", &time(session.started))?;
    match &session.ended {
        Some(ending) => {
            let text = format!("{} by {}: {}", time(ending.at), ending.by.user, ending.reason);
            line("ended", &text)?;
        }
        None => {
            let left = span(session.left_seconds);
            line("expires", &format!("{} (in {left})", time(session.expires)))?;
        }
    }
    if let Some(tasks) = session.tasks {
        line("tasks", &tasks.to_string())?;
    }
    if let Some(group) = &session.control_group {
        line("group", group)?;
    }
    for passed in &session.passed_fds {
        line("passed", &format!("descriptor {}: {}", passed.fd, passed.target))?;
    }
    tools(out, session)?;
    history(out, session)
}

/// Prints the tools that it holds.
pub(super) fn tools(out: &Output, session: &Session) -> std::io::Result<()> {
    if session.tools.is_empty() {
        return out.line("\nholds no tools");
    }
    out.line("")?;
    let rows: Vec<_> = session
        .tools
        .iter()
        .map(|grant| {
            [
                (Paint::Bold, grant.tool.clone()),
                (Paint::Plain, left(grant)),
                (Paint::Plain, grant.source.clone()),
                (Paint::Plain, grant.given_by.user.clone()),
                (Paint::Plain, grant.reason.clone().unwrap_or_default()),
            ]
        })
        .collect();
    out.table(["TOOL", "LEFT", "SOURCE", "GIVEN BY", "REASON"], &rows)
}

fn left(grant: &Grant) -> String {
    match grant.until {
        Some(_) => span(grant.left_seconds),
        None => format!("{} (the session)", span(grant.left_seconds)),
    }
}

fn history(out: &Output, session: &Session) -> std::io::Result<()> {
    if session.history.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let rows: Vec<_> = session
        .history
        .iter()
        .map(|past| {
            [
                (Paint::Plain, past.tool.clone()),
                (Paint::Warn, past.how.clone()),
                (Paint::Plain, time(past.lost)),
                (Paint::Plain, past.by.user.clone()),
            ]
        })
        .collect();
    out.table(["HELD", "LOST", "WHEN", "BY"], &rows)
}

/// A time in the local time zone, to the second.
pub(super) fn time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}
