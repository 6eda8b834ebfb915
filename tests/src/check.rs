//! Tables of operations: what is allowed, what is refused and with which incident.

use std::ffi::OsString;

use serde_json::Value;

use crate::{
    incident::{self, Incident},
    probe::Answer,
    session::Builder,
};

/// One operation and what is to come of it.
#[derive(Clone, Debug)]
pub struct Case {
    words: Vec<OsString>,
    expected: Expected,
}

#[derive(Clone, Debug)]
enum Expected {
    Done,
    Fails(&'static str),
    Refused(Refusal),
}

#[derive(Clone, Debug)]
struct Refusal {
    error: &'static str,
    operation: String,
    reason: String,
    path: Option<String>,
    to: Option<String>,
    object: Option<Value>,
    would_allow: Option<Vec<String>>,
}

/// The operation is done, and no incident tells of it.
pub fn allowed(words: Vec<OsString>) -> Case {
    Case { words, expected: Expected::Done }
}

/// The operation fails with this error for a reason of its own, and no incident tells of it.
pub fn fails(error: &'static str, words: Vec<OsString>) -> Case {
    Case { words, expected: Expected::Fails(error) }
}

/// The operation fails with `EACCES`, and an incident tells of `operation` (`file.open`) and `reason`.
pub fn refused(operation: &str, reason: &str, words: Vec<OsString>) -> Case {
    let refusal = Refusal {
        error: "EACCES",
        operation: operation.to_owned(),
        reason: reason.to_owned(),
        path: None,
        to: None,
        object: None,
        would_allow: None,
    };
    Case { words, expected: Expected::Refused(refusal) }
}

impl Case {
    fn with(mut self, change: impl FnOnce(&mut Refusal)) -> Self {
        match &mut self.expected {
            Expected::Refused(refusal) => change(refusal),
            _ => panic!("only a refusal has an incident"),
        }
        self
    }

    /// The incident's object is this path.
    pub fn at(self, path: impl Into<String>) -> Self {
        self.with(|refusal| refusal.path = Some(path.into()))
    }

    /// The incident's object has this second path.
    pub fn to(self, path: impl Into<String>) -> Self {
        self.with(|refusal| refusal.to = Some(path.into()))
    }

    /// The incident's object is this.
    pub fn object(self, object: Value) -> Self {
        self.with(|refusal| refusal.object = Some(object))
    }

    /// The incident names just these tools as those that would have allowed it.
    pub fn would_allow(self, tools: &[&str]) -> Self {
        let tools = tools.iter().map(|tool| (*tool).to_owned()).collect();
        self.with(|refusal| refusal.would_allow = Some(tools))
    }

    /// It fails with this error instead of `EACCES`.
    pub fn error(self, error: &'static str) -> Self {
        self.with(|refusal| refusal.error = error)
    }
}

impl Refusal {
    fn matches(&self, incident: &Incident) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        incident.operation == self.operation
            && incident.reason == self.reason
            && incident.verdict == "denied"
            && incident.count > 0
            && is(&self.path, incident.path())
            && is(&self.to, incident.to())
            && self.object.as_ref().is_none_or(|object| *object == incident.object)
            && self.would_allow.as_ref().is_none_or(|tools| *tools == incident.would_allow)
    }
}

/// Tries all cases, one after another, in one process of a session. Each is to come out as it says,
/// each refusal is to have its incident, and each incident its refusal.
///
/// # Panics
/// When something differs; tells of all that does.
#[track_caller]
pub fn judge(session: Builder, cases: &[Case]) -> Vec<Incident> {
    let operations: Vec<_> = cases.iter().map(|case| case.words.clone()).collect();
    let (finished, answers) = session.probe(&operations);
    let incidents = finished.incidents();
    let mut faults = Vec::new();
    for (case, answer) in cases.iter().zip(&answers) {
        faults.extend(fault(case, answer, &incidents));
    }
    let refusals = || {
        cases.iter().filter_map(|case| match &case.expected {
            Expected::Refused(refusal) => Some(refusal),
            _ => None,
        })
    };
    for incident in &incidents {
        if !refusals().any(|refusal| refusal.matches(incident)) {
            let incident = incident::list(std::slice::from_ref(incident));
            faults.push(format!("unexpected incident: {}", incident.trim()));
        }
        if incident.process.exe != crate::layout::probe().to_string_lossy() {
            faults.push(format!("the incident's program is `{}`", incident.process.exe));
        }
        if incident.process.ancestry.is_empty() {
            faults.push("an incident without ancestry".to_owned());
        }
    }
    let list = incident::list(&incidents);
    assert!(faults.is_empty(), "{}\n--- incidents\n{list}", faults.join("\n"));
    incidents
}

/// What is wrong with the answer to one case, or its incident.
fn fault(case: &Case, answer: &Answer, incidents: &[Incident]) -> Option<String> {
    let wanted = match &case.expected {
        Expected::Done => "",
        Expected::Fails(error) => error,
        Expected::Refused(refusal) => refusal.error,
    };
    let said = |error: &str| if error.is_empty() { "done".to_owned() } else { error.to_owned() };
    if answer.error() != wanted {
        let words = show(&case.words);
        return Some(format!("{words}: {}, should be {}", said(answer.error()), said(wanted)));
    }
    match &case.expected {
        Expected::Refused(refusal) if !incidents.iter().any(|found| refusal.matches(found)) => {
            Some(format!("{}: no such incident: {refusal:?}", show(&case.words)))
        }
        _ => None,
    }
}

/// Words for a message; long ones shortened.
fn show(words: &[OsString]) -> String {
    let short = |word: &OsString| {
        let word = word.to_string_lossy();
        match word.char_indices().nth(120) {
            Some((end, _)) => format!("{}…", &word[..end]),
            None => word.into_owned(),
        }
    };
    words.iter().map(short).collect::<Vec<_>>().join(" ")
}
