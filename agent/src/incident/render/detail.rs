//! Shows one record with everything that is needed to understand it.

use std::fmt::Write as _;

use super::{
    advice::advice,
    outcome,
    text::{Colour, Paint, printable},
};
use crate::incident::{
    object::Object,
    record::{Canary, CanaryTry, Control, Incident, Process, Record},
};

/// A page of named lines.
struct Page {
    text: String,
    colour: Colour,
}

impl Page {
    fn title(&mut self, paint: Paint, title: &str, rest: &str) {
        // Writing to a string can't fail.
        let _ = writeln!(self.text, "{} {rest}\n", self.colour.paint(paint, title));
    }

    fn line(&mut self, name: &str, what: &str) {
        let name = self.colour.paint(Paint::Dim, &format!("{name:>9}"));
        let _ = writeln!(self.text, "{name}  {what}");
    }
}

/// A record as a page.
pub fn detail(record: &Record, colour: Colour) -> String {
    let mut page = Page { text: String::new(), colour };
    match record {
        Record::Incident(record) => incident(record, &mut page),
        Record::Control(record) => control(record, &mut page),
        Record::Lost(lost) => {
            page.title(Paint::Magenta, "Lost:", "refusals that are not in the log");
            page.line("count", &lost.count.to_string());
            page.line("reason", &printable(&lost.reason));
            page.line("between", &format!("{} and {}", lost.since, lost.time));
            if let Some(session) = &lost.session {
                page.line("session", &printable(&session.name));
            }
        }
        Record::Repaired(repaired) => {
            page.title(Paint::Magenta, "Repaired:", "a line that a crash cut short was taken out");
            page.line("bytes", &repaired.bytes.to_string());
            page.line("sha256", &printable(&repaired.sha256));
            page.line("text", &printable(&repaired.text));
        }
        Record::Canary(record) => canary(record, &mut page),
    }
    page.line("id", &printable(record.id()));
    page.text
}

fn incident(incident: &Incident, page: &mut Page) {
    let (paint, title) = if incident.verdict == "would_deny" {
        (Paint::Yellow, "Would be refused, but passed (audit mode):")
    } else {
        (Paint::Red, "Refused:")
    };
    page.title(paint, title, &printable(&incident.operation));
    page.line("what", &attempt(incident));
    page.line("program", &program(&incident.process));
    page.line("started", &chain(&incident.process));
    let session = &incident.session;
    let known = !session.name.is_empty();
    let name = if known { &session.name } else { &session.id };
    let task = match session.task.as_str() {
        "" => String::new(),
        task => format!(", task \"{task}\""),
    };
    let about = format!(", profile {}{task}", session.profile);
    page.line("session", &printable(&format!("{name}{}", if known { &about } else { "" })));
    page.line("when", &format!("{} on {}", incident.time, printable(&incident.host)));
    let advice = advice(incident);
    page.line("why", &advice.why);
    if let Some(rule) = &incident.rule {
        page.line("rule", &printable(&format!("{}:{}  {}", rule.file, rule.line, rule.text)));
    }
    page.line("remedy", &printable(&advice.remedy));
    if let Some(command) = &advice.command {
        let command = page.colour.paint(Paint::Green, command);
        page.line("", &command);
    }
    page.line("see", &printable(&incident.references.join(" ")));
}

fn control(control: &Control, page: &mut Page) {
    page.title(Paint::Bold, "Control:", control.act.name());
    let by = &control.by;
    let user = by.user.as_deref().unwrap_or("unknown");
    page.line("by", &printable(&format!("{user} (user {}, process {})", by.uid, by.pid)));
    page.line("when", &format!("{} on {}", control.time, printable(&control.host)));
    let session = control.session.as_ref().map(|session| session.name.as_str());
    let count = control.count.map(|count| format!("{count} attempts"));
    for (name, value) in [
        ("session", session),
        ("tool", control.tool.as_deref()),
        ("reason", control.reason.as_deref()),
        ("detail", control.detail.as_deref()),
        ("stands for", count.as_deref()),
    ] {
        if let Some(value) = value {
            page.line(name, &printable(value));
        }
    }
    if let Some(until) = control.until {
        page.line("until", &until.to_string());
    }
    page.line("outcome", outcome(control.outcome));
}

fn canary(canary: &Canary, page: &mut Page) {
    let (paint, found) = if canary.ok {
        (Paint::Plain, "enforcement holds again")
    } else {
        (Paint::Red, "enforcement does not hold")
    };
    page.title(paint, "Canary:", found);
    page.line("what", &printable(&canary.message));
    page.line("when", &format!("{} on {}", canary.time, printable(&canary.host)));
    for tried in &canary.tries {
        let CanaryTry { operation, call, outcome, errno } = tried;
        page.line("tried", &printable(&format!("{operation} ({call}): {outcome}, error {errno}")));
    }
    if !canary.ok {
        page.line(
            "remedy",
            "`remit doctor` on that host says more; until it is repaired, stop the agents",
        );
    }
}

/// The operation and its object, as a sentence.
fn attempt(incident: &Incident) -> String {
    let object = incident.object.to_string();
    let what = match (incident.operation.as_str(), &incident.object) {
        ("file.open", _) => format!("open {object} for {}", incident.access.join(", ")),
        ("file.exec", Object::Path { set_id: true, .. }) => {
            format!("run {object} with the privilege that the program has of itself")
        }
        ("file.exec", _) => format!("run {object}"),
        ("file.map", _) => format!("map {object} executable"),
        ("file.create", _) => format!("create {object}"),
        ("file.delete", _) => format!("delete {object}"),
        ("file.rename", Object::Path { path, to: Some(to), .. }) => {
            format!("rename {path} to {to}")
        }
        ("file.link", Object::Path { path, to: Some(to), .. }) => format!("link {path} as {to}"),
        ("file.setattr", _) => format!("change the metadata of {object}"),
        ("file.ioctl", Object::Command { .. }) => format!("give a descriptor the {object}"),
        ("file.ioctl", _) => format!("control the device {object}"),
        ("file.receive", _) => format!("receive a descriptor of {object}"),
        ("file.use", _) => format!("use its descriptor of {object}"),
        ("net.socket", _) => format!("make a socket ({object})"),
        ("net.connect" | "unix.connect", _) => format!("connect to {object}"),
        ("net.bind", _) => format!("bind to {object}"),
        ("net.listen", _) => format!("listen on {object}"),
        ("net.send", _) => format!("send to {object}"),
        ("net.use", _) => format!("use its connection to {object}"),
        ("process.trace", _) => format!("trace or read the memory of {object}"),
        ("process.signal", Object::Command { .. }) => {
            format!("have a descriptor signal others ({object})")
        }
        ("process.signal", _) => format!("send a signal to {object}"),
        ("process.control", _) => format!("change limits or priority of {object}"),
        ("net.option", _) => format!("set the socket {object}"),
        ("process.ipc", _) => format!("use the System V object {object} of others"),
        ("process.key", _) => format!("use the key {object} of others"),
        ("process.fork", _) => "make a process or a thread".to_owned(),
        (operation, _) if object.is_empty() => format!("do {operation}"),
        (operation, _) => format!("do {operation} ({object})"),
    };
    let times = match incident.count {
        1 => String::new(),
        count => format!(", {count} times"),
    };
    printable(&format!("{} tried to {what}{times}", incident.process.comm))
}

fn program(process: &Process) -> String {
    let Process { pid, uid, .. } = process;
    let exe = if process.exe.is_empty() { "(unknown)" } else { &process.exe };
    printable(&format!("{exe} (process {pid}, user {uid})"))
}

/// From the oldest ancestor to the process itself: `sh → python3 → curl`.
fn chain(process: &Process) -> String {
    let ancestors = process.ancestry.iter().rev().map(|ancestor| ancestor.comm.as_str());
    let names: Vec<_> = ancestors.chain([process.comm.as_str()]).collect();
    printable(&names.join(" → "))
}
