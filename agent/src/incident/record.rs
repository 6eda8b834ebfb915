//! The lines of the log. Scripts rely on the names and meanings of the keys: keys may be added, and none changes.

use serde::{Deserialize, Serialize};

use super::{object::Object, time::Time};

mod control;

pub use control::{Act, Actor, Control, Outcome};

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A refusal.
    Incident(Box<Incident>),
    /// An act of control.
    Control(Box<Control>),
    /// Refusals that are not in the log.
    Lost(Box<Lost>),
    /// A line that a crash had cut short was removed.
    Repaired(Box<Repaired>),
    /// Enforcement does not hold, or holds again.
    Canary(Box<Canary>),
}

/// The kinds of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A refusal.
    Incident,
    /// An act of control.
    Control,
    /// Refusals that are not in the log.
    Lost,
    /// A repair of the log.
    Repaired,
    /// What the canary found.
    Canary,
}

impl Kind {
    /// All kinds.
    pub const ALL: &'static [Self] =
        &[Self::Incident, Self::Control, Self::Lost, Self::Repaired, Self::Canary];

    /// The name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Incident => "incident",
            Self::Control => "control",
            Self::Lost => "lost",
            Self::Repaired => "repaired",
            Self::Canary => "canary",
        }
    }
}

impl Record {
    /// Parses a line, with or without its `prev`.
    ///
    /// # Errors
    /// When it is no line of this log.
    pub fn parse(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Incident(_) => Kind::Incident,
            Self::Control(_) => Kind::Control,
            Self::Lost(_) => Kind::Lost,
            Self::Repaired(_) => Kind::Repaired,
            Self::Canary(_) => Kind::Canary,
        }
    }

    /// Its identity, a ULID.
    pub fn id(&self) -> &str {
        match self {
            Self::Incident(record) => &record.id,
            Self::Control(record) => &record.id,
            Self::Lost(record) => &record.id,
            Self::Repaired(record) => &record.id,
            Self::Canary(record) => &record.id,
        }
    }

    /// When it happened.
    pub const fn time(&self) -> Time {
        match self {
            Self::Incident(record) => record.time,
            Self::Control(record) => record.time,
            Self::Lost(record) => record.time,
            Self::Repaired(record) => record.time,
            Self::Canary(record) => record.time,
        }
    }

    /// The session that it concerns.
    pub fn session(&self) -> Option<&Session> {
        match self {
            Self::Incident(record) => Some(&record.session),
            Self::Control(record) => record.session.as_ref(),
            Self::Lost(record) => record.session.as_ref(),
            Self::Repaired(_) | Self::Canary(_) => None,
        }
    }
}

/// A refused operation, or one that would be refused if the session were not in audit mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// A ULID.
    pub id: String,
    /// When; of several refusals, the first.
    pub time: Time,
    /// The host's name.
    pub host: String,
    /// The session.
    pub session: Session,
    /// The process.
    pub process: Process,
    /// The operation.
    pub operation: String,
    /// The object.
    pub object: Object,
    /// The rights asked for.
    pub access: Vec<String>,
    /// `denied` or `would_deny`.
    pub verdict: String,
    /// The reason.
    pub reason: String,
    /// The rule that decided, if one did.
    pub rule: Option<Rule>,
    /// Tools that would have allowed it.
    pub would_allow: Vec<String>,
    /// How often it happened, within one batch of the ring.
    pub count: u64,
    /// Related entries of public lists of threats and duties.
    pub references: Vec<String>,
    /// The event's number; of several events, the first one's.
    pub sequence: u64,
    /// The last event's number, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sequence: Option<u64>,
    /// All their numbers as ranges, both ends included, unless they are all from `sequence` to `last_sequence`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sequences: Vec<(u64, u64)>,
    /// Identifies the maps that counted these numbers.
    pub epoch: String,
    /// The generation of the policy in force.
    pub policy: u32,
}

impl Incident {
    /// Its events' numbers, as ranges with both ends included.
    pub fn ranges(&self) -> Vec<(u64, u64)> {
        if self.sequences.is_empty() {
            vec![(self.sequence, self.last_sequence.unwrap_or(self.sequence))]
        } else {
            self.sequences.clone()
        }
    }
}

/// A session as the log names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Session {
    /// Its identity.
    pub id: String,
    /// Its name; empty if the session is not known any more.
    pub name: String,
    /// Its profile.
    pub profile: String,
    /// The task that was declared for it.
    pub task: String,
    /// The identities of its ancestor sessions, the parent first.
    pub lineage: Vec<String>,
}

/// The process of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id in the first namespace.
    pub pid: u32,
    /// Thread id in the first namespace.
    pub tid: u32,
    /// Its parent's process id; zero if it had none.
    pub ppid: u32,
    /// User id in the first namespace.
    pub uid: u32,
    /// Command name.
    pub comm: String,
    /// The program's path; empty if it could not be established.
    pub exe: String,
    /// The path's bytes in hexadecimal, if they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe_bytes: Option<String>,
    /// Its ancestors, the parent first.
    pub ancestry: Vec<Ancestor>,
}

/// An ancestor process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Process id in the first namespace.
    pub pid: u32,
    /// The program's path when the log was written; null if the process had exited.
    pub exe: Option<String>,
    /// Command name when the operation was tried.
    pub comm: String,
}

/// A rule of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The policy file.
    pub file: String,
    /// The line, from one.
    pub line: u32,
    /// The rule's path or address range.
    pub text: String,
}

/// Refusals that happened and are not in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lost {
    /// A ULID.
    pub id: String,
    /// When it was noticed.
    pub time: Time,
    /// The host's name.
    pub host: String,
    /// The session, if it is known.
    pub session: Option<Session>,
    /// How many.
    pub count: u64,
    /// They happened after this.
    pub since: Time,
    /// Why: `ring_full`, or `undecodable: …`.
    pub reason: String,
    /// The slot whose counter went up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// The slot's counter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Identifies the maps that counted.
    pub epoch: String,
}

/// A line that a crash had cut short was removed from the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repaired {
    /// A ULID.
    pub id: String,
    /// When it was noticed.
    pub time: Time,
    /// How many bytes were removed.
    pub bytes: u64,
    /// Their SHA-256 in hexadecimal.
    pub sha256: String,
    /// Their beginning as text.
    pub text: String,
}

/// A report of the canary: enforcement does not hold, or holds again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// A ULID.
    pub id: String,
    /// When.
    pub time: Time,
    /// The host's name.
    pub host: String,
    /// Whether every try had the right outcome.
    pub ok: bool,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The operations with a wrong outcome.
    pub operations: Vec<String>,
    /// The tries with a wrong outcome.
    pub tries: Vec<CanaryTry>,
}

/// A try of the canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryTry {
    /// The operation, as incidents name it.
    pub operation: String,
    /// The system call.
    pub call: String,
    /// `succeeded`, `unreported`, `blocked` or `unanswered`; where all are listed also `refused`, `done` or
    /// `skipped`.
    pub outcome: String,
    /// The number of the error that it got; zero for none.
    pub errno: i32,
}

/// A new ULID of a time.
pub fn new_id(time: Time) -> String {
    ulid::Ulid::from_datetime(time.timestamp().into()).to_string()
}

#[cfg(test)]
mod tests {
    use agent_common::decision::Reason;

    use super::*;
    use crate::incident::{
        enrich::enrich,
        fold::fold,
        testing::{TestContext, event, session},
    };

    /// A line of each kind with every key that it can have.
    fn samples() -> Vec<Record> {
        let time = Time::now();
        let by = Actor { uid: 0, user: Some("root".into()), pid: 7, session: Some("s".into()) };
        let folded = fold([event(1), event(3)]);
        let text = String::new;
        vec![
            Record::Incident(Box::new(enrich(&folded[0], "boot", &mut TestContext))),
            Record::Control(Box::new(Control {
                session: Some(session()),
                tool: Some(text()),
                until: Some(time),
                reason: Some(text()),
                policy: Some(1),
                detail: Some(text()),
                count: Some(2),
                ..Control::new("h1", Act::Grant, by)
            })),
            Record::Lost(Box::new(Lost {
                id: text(),
                time,
                host: text(),
                session: None,
                count: 1,
                since: time,
                reason: text(),
                slot: Some(1),
                total: Some(1),
                epoch: text(),
            })),
            Record::Repaired(Box::new(Repaired {
                id: text(),
                time,
                bytes: 1,
                sha256: text(),
                text: text(),
            })),
            Record::Canary(Box::new(Canary {
                id: text(),
                time,
                host: text(),
                ok: false,
                message: text(),
                operations: Vec::new(),
                tries: Vec::new(),
            })),
        ]
    }

    #[test]
    fn control_line_is_read_back_and_has_no_empty_keys() {
        let by = Actor { uid: 0, user: Some("root".into()), pid: 7, session: None };
        let mut control = Control::new("h1", Act::Grant, by);
        control.tool = Some("github".into());
        let record = Record::Control(Box::new(control));
        let json = serde_json::to_value(&record).unwrap();
        assert_eq!(json["kind"], "control");
        assert_eq!(json["act"], "grant");
        assert_eq!(json["outcome"], "done");
        assert!(json.get("until").is_none());
        assert_eq!(Record::parse(&json.to_string()).unwrap(), record);
    }

    #[test]
    fn schema_and_documentation_have_every_name() {
        let page = include_str!("../../../docs/incidents.md");
        let schema = include_str!("../../../docs/incident.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let listed = |kind: &str, key: &str| {
            let list = &schema["$defs"][kind]["properties"][key]["enum"];
            list.as_array().unwrap().clone()
        };
        let (operations, reasons) = (listed("incident", "operation"), listed("incident", "reason"));
        for operation in agent_common::event::Operation::ALL {
            assert!(page.contains(&format!("| `{}` |", operation.name())), "{operation:?}");
            assert!(operations.contains(&operation.name().into()), "{operation:?}");
        }
        for reason in (1..=10).map(|number| Reason::try_from(number).unwrap()) {
            assert!(page.contains(&format!("| `{}` |", reason.name())), "{reason:?}");
            assert!(reasons.contains(&reason.name().into()), "{reason:?}");
        }
        for act in listed("control", "act") {
            assert!(page.contains(&format!("`{}`", act.as_str().unwrap())), "{act}");
            serde_json::from_value::<Act>(act).unwrap();
        }
    }

    #[test]
    fn schema_has_exactly_the_keys_of_each_line() {
        let schema = include_str!("../../../docs/incident.schema.json");
        let schema: serde_json::Value = serde_json::from_str(schema).unwrap();
        let page = include_str!("../../../docs/incidents.md");
        for record in samples() {
            let kind = record.kind().name();
            let line = serde_json::to_value(&record).unwrap();
            let properties = schema["$defs"][kind]["properties"].as_object().unwrap();
            let mut known: Vec<_> = properties.keys().filter(|key| *key != "prev").collect();
            let mut written: Vec<_> = line.as_object().unwrap().keys().collect();
            known.sort();
            written.sort();
            assert_eq!(written, known, "{kind}");
            for key in written {
                assert!(page.contains(&format!("`{key}`")), "{kind}: {key}");
            }
        }
    }

    #[test]
    fn act_is_written_by_its_name() {
        let json = serde_json::to_value(Act::DaemonStart).unwrap();
        assert_eq!(json, Act::DaemonStart.name());
    }

    #[test]
    fn line_with_keys_of_a_later_version_is_read() {
        let line = r#"{"kind":"lost","id":"1","time":"2026-11-24T09:30:00Z","host":"h",
            "session":null,"count":3,"since":"2026-11-24T09:29:00Z","reason":"ring_full",
            "epoch":"e","prev":"00","new":[1]}"#;
        assert_eq!(Record::parse(line).unwrap().kind(), Kind::Lost);
    }
}
