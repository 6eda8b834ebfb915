//! Incidents as scripts read them: JSON. The format is a promise, so the harness has its own
//! reading of it.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

/// One refusal, or several that are the same.
#[derive(Clone, Debug, Deserialize)]
pub struct Incident {
    /// A ULID.
    pub id: String,
    /// The session.
    pub session: Session,
    /// The process that tried.
    pub process: Process,
    /// What was tried: `file.open`.
    pub operation: String,
    /// On what; the keys depend on the operation.
    pub object: Value,
    /// The rights asked for.
    pub access: Vec<String>,
    /// `denied` or `would_deny`.
    pub verdict: String,
    /// `no_tool` and so on.
    pub reason: String,
    /// The rule that decided.
    pub rule: Option<Rule>,
    /// Tools that would have allowed it.
    pub would_allow: Vec<String>,
    /// How often.
    pub count: u64,
    /// Entries of public lists.
    pub references: Vec<String>,
}

/// The session of an incident.
#[derive(Clone, Debug, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its profile.
    pub profile: String,
    /// What it is for.
    pub task: String,
}

/// The process of an incident.
#[derive(Clone, Debug, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// The parent's.
    pub ppid: u32,
    /// User id.
    pub uid: u32,
    /// Command name.
    pub comm: String,
    /// Program.
    pub exe: String,
    /// Parent first.
    pub ancestry: Vec<Ancestor>,
}

/// An ancestor of the process.
#[derive(Clone, Debug, Deserialize)]
pub struct Ancestor {
    /// Process id.
    pub pid: u32,
    /// Program, while it was there.
    pub exe: Option<String>,
}

/// A rule of the policy.
#[derive(Clone, Debug, Deserialize)]
pub struct Rule {
    /// Its file.
    pub file: String,
    /// Its line.
    pub line: u32,
}

impl Incident {
    /// The object's path; empty where it has none.
    pub fn path(&self) -> &str {
        self.text("path")
    }

    /// The second path of a rename or link; empty where it has none.
    pub fn to(&self) -> &str {
        self.text("to")
    }

    /// A text of the object; empty where it has none of this name.
    pub fn text(&self, key: &str) -> &str {
        self.object.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

/// Reads the control interface's list of incidents.
///
/// # Panics
/// When one lacks a key that is promised.
#[track_caller]
pub(crate) fn read(list: &Value) -> Vec<Incident> {
    Vec::deserialize(list).unwrap_or_else(|error| panic!("{error} in `{list}`"))
}

/// Incidents for a failure's message, one a line.
pub fn list(incidents: &[Incident]) -> String {
    let mut text = String::new();
    for incident in incidents {
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "  {} {} {} of {} ({}), access {:?}, would allow {:?}, {} times",
            incident.reason,
            incident.operation,
            incident.object,
            incident.process.exe,
            incident.process.comm,
            incident.access,
            incident.would_allow,
            incident.count,
        );
    }
    text
}
