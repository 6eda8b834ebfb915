//! Turns an event into the incident that the log shows: the kernel's numbers become names, and what only the daemon
//! knows is added (session, rule, tools, programs of ancestors).

use agent_common::{
    decision::Reason,
    id::{BootNanos, SessionId, Slot},
};

use super::{
    decode::{Ancestor, Event},
    fold::Folded,
    object::{Object, text},
    record::{self, Incident, Process, Rule, Session, new_id},
    references::references,
    time::Time,
};

/// Answers the questions on an event that only the daemon can answer.
pub trait Context {
    /// The host's name.
    fn host(&self) -> &str;

    /// How far the wall clock is ahead of the clock that counts from boot, in nanoseconds; normally
    /// [`super::time::boot_offset`].
    fn boot_offset(&self) -> i128;

    /// The session with this identity in this slot, ended ones too as long as they are remembered.
    fn session(&self, slot: Slot, id: SessionId) -> Option<Session>;

    /// The session that has a slot now, or had it last.
    fn session_at(&self, slot: Slot) -> Option<Session>;

    /// The policy's reasons for the refusal.
    fn explain(&self, event: &Event) -> Explanation;

    /// The path of the program that a process ran, if that process existed before the moment given;
    /// normally [`super::process::Processes::exe`].
    fn exe(&mut self, pid: u32, before: BootNanos) -> Option<Vec<u8>>;

    /// Receives the events of the daemon's canary, which are not logged. It is called after all other events of the
    /// same batch were logged; the second argument is an error if the log can't be written.
    fn canary(&mut self, _events: Vec<Event>, _log: Result<(), String>) {}
}

/// The policy's reasons for a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The rule that decided, if one did.
    pub rule: Option<Rule>,
    /// Tools that would have allowed it.
    pub would_allow: Vec<String>,
    /// The reason, refined by what only the daemon remembers: the kernel's `no_tool` is `revoked` or
    /// `expired` when the session once held a tool that covers it.
    pub reason: Reason,
}

/// A session that is not remembered any more: only its id is known.
pub fn unknown_session(id: SessionId) -> Session {
    Session { id: format!("{:016x}", id.0), ..Session::default() }
}

/// Makes the incident of one or more equal events. `epoch` identifies the maps that count the events' numbers.
pub fn enrich(folded: &Folded, epoch: &str, context: &mut impl Context) -> Incident {
    let event = &folded.event;
    let time = Time::from_boot(event.time, context.boot_offset());
    let explanation = context.explain(event);
    let several = folded.count > 1;
    Incident {
        id: new_id(time),
        time,
        host: context.host().to_owned(),
        session: context
            .session(event.slot, event.session)
            .unwrap_or_else(|| unknown_session(event.session)),
        process: process(event, context),
        operation: event.operation.name().into(),
        object: Object::of(event),
        access: event.rights.iter().map(|right| right.name().into()).collect(),
        verdict: event.verdict.name().into(),
        reason: explanation.reason.name().into(),
        rule: explanation.rule,
        would_allow: explanation.would_allow,
        count: folded.count,
        references: references(event, explanation.reason).into_iter().map(Into::into).collect(),
        sequence: event.sequence,
        last_sequence: several.then(|| folded.last_sequence()),
        sequences: if folded.contiguous() { Vec::new() } else { folded.sequences.clone() },
        epoch: epoch.into(),
        policy: event.generation.0,
    }
}

fn process(event: &Event, context: &mut impl Context) -> Process {
    let (exe, exe_bytes) = text(&event.exe);
    Process {
        pid: event.pid,
        tid: event.tid,
        ppid: event.ancestors.first().map_or(0, |parent| parent.pid),
        uid: event.uid,
        comm: text(&event.comm).0,
        exe,
        exe_bytes,
        ancestry: event
            .ancestors
            .iter()
            .map(|Ancestor { pid, comm }| record::Ancestor {
                pid: *pid,
                exe: context.exe(*pid, event.time).map(|exe| text(&exe).0),
                comm: text(comm).0,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{
        fold::fold,
        record::Record,
        testing::{TestContext, event, file_event},
    };

    fn incident(event: Event) -> Incident {
        enrich(&fold([event])[0], "boot", &mut TestContext)
    }

    #[test]
    fn incident_of_an_event_has_the_documented_line() {
        let mut incident = incident(event(1));
        incident.id = "01JDEXAMPLE".into();
        let json = serde_json::to_value(Record::Incident(Box::new(incident))).unwrap();
        let expected = serde_json::json!({
            "kind": "incident",
            "id": "01JDEXAMPLE", "time": "2026-11-24T09:30:00.000001Z", "host": "h1",
            "session": {
                "id": "000000000000002a", "name": "fix-42", "profile": "coder",
                "task": "fix #42", "lineage": ["0000000000000029"]
            },
            "process": {
                "pid": 4242, "tid": 4243, "ppid": 4200, "uid": 1000, "comm": "curl",
                "exe": "/usr/bin/curl",
                "ancestry": [
                    {"pid": 4200, "exe": "/usr/bin/python3", "comm": "python3"},
                    {"pid": 4100, "exe": null, "comm": "sh"}
                ]
            },
            "operation": "net.connect",
            "object": {"protocol": "tcp", "address": "203.0.113.7", "port": 443},
            "access": ["connect"], "verdict": "denied", "reason": "no_tool", "rule": null,
            "would_allow": ["github"], "count": 1,
            "references": [
                "owasp-agentic:ASI02", "maestro:L3", "mitre-atlas:AML.T0053",
                "mitre-attack:T1041", "mitre-attack:T1048", "mitre-atlas:AML.T0086",
                "nist-ai-rmf:GOVERN"
            ],
            "sequence": 1, "epoch": "boot", "policy": 7
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn incident_that_was_written_is_read_back() {
        let events = [event(1), file_event(2, "/etc/shadow", Reason::ExplicitDeny), event(3)];
        for folded in fold(events) {
            let incident = enrich(&folded, "boot", &mut TestContext);
            let record = Record::Incident(Box::new(incident));
            let line = serde_json::to_string(&record).unwrap();
            assert_eq!(Record::parse(&line).unwrap(), record);
        }
    }

    #[test]
    fn unknown_session_is_shown_by_its_id() {
        let incident = incident(Event { session: SessionId(255), ..event(1) });
        assert_eq!(incident.session.id, "00000000000000ff");
        assert_eq!(incident.session.name, "");
    }

    #[test]
    fn incident_of_folded_events_has_their_count_and_numbers() {
        let folded = fold([event(1), event(2), event(5)]);
        let incident = enrich(&folded[0], "boot", &mut TestContext);
        assert_eq!((incident.count, incident.sequence, incident.last_sequence), (3, 1, Some(5)));
        assert_eq!(incident.ranges(), [(1, 2), (5, 5)]);
    }
}
