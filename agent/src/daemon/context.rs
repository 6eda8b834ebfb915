//! What the log's thread adds to the kernel's events: sessions' names, rules, tools, programs. Asks the registry and
//! `/proc`.

use std::sync::mpsc::Sender;

use agent_common::{
    access::{Right, Rights},
    decision::Reason,
    id::{BootNanos, SessionId, Slot},
    rule::{FLOW_TCP_CONNECT, FLOW_TCP_LISTEN, FLOW_UDP_CONNECT, FLOW_UDP_LISTEN},
};

use super::message::ToCanary;
use crate::{
    incident::{self, Context, Event, Explanation, Processes, Rule, time::boot_offset},
    policy::RuleRef,
    session::{
        Id, Session, Sessions,
        registry::{Object, refine},
    },
};

/// IP protocol number of UDP.
const UDP: u8 = 17;

/// Answers the log's questions from the registry and `/proc`.
pub(super) struct DaemonContext {
    host: String,
    sessions: Sessions,
    processes: Processes,
    canary: Sender<ToCanary>,
}

impl DaemonContext {
    pub(super) fn new(host: String, sessions: Sessions, canary: Sender<ToCanary>) -> Self {
        Self { host, sessions, processes: Processes::new(), canary }
    }
}

impl Context for DaemonContext {
    fn host(&self) -> &str {
        &self.host
    }

    fn boot_offset(&self) -> i128 {
        boot_offset()
    }

    fn session(&self, _: Slot, id: SessionId) -> Option<incident::Session> {
        self.sessions.lock().by_id(Id(id)).map(named)
    }

    fn session_at(&self, slot: Slot) -> Option<incident::Session> {
        self.sessions.lock().last_in(slot).map(named)
    }

    fn explain(&self, event: &Event) -> Explanation {
        let registry = self.sessions.lock();
        let unknown = Explanation { rule: None, would_allow: Vec::new(), reason: event.reason };
        let Some(session) = registry.by_id(Id(event.session)) else { return unknown };
        // Of a rename or link, the path that was refused. Only the old path needs `read`, so without it that is the new
        // one.
        let new_path = event.to.as_ref().filter(|_| !event.rights.has(Right::Read));
        let path = match (&event.object, new_path) {
            (_, Some(to)) => String::from_utf8_lossy(to).into_owned(),
            (
                incident::decode::Object::Path(path) | incident::decode::Object::SetId(path),
                None,
            ) => String::from_utf8_lossy(path).into_owned(),
            _ => String::new(),
        };
        let Some(object) = object(event, &path) else { return unknown };
        let verdict = registry.explain_at(session, event.rights, object, event.time);
        let would_allow: Vec<&str> = verdict.would_allow.iter().map(String::as_str).collect();
        let reason = refine(session, event.reason, &would_allow, event.time);
        let rule = match event.reason {
            Reason::ExplicitDeny | Reason::Guard => verdict.denial.map(rule),
            _ => None,
        };
        let would_allow = match event.reason {
            Reason::NoTool | Reason::Revoked | Reason::Expired | Reason::Ancestor => {
                verdict.would_allow
            }
            _ => Vec::new(),
        };
        Explanation { rule, would_allow, reason }
    }

    fn exe(&mut self, pid: u32, before: BootNanos) -> Option<Vec<u8>> {
        self.processes.exe(pid, before)
    }

    fn canary(&mut self, events: Vec<Event>, log: Result<(), String>) {
        // Without a canary nobody receives it.
        let _ = self.canary.send(ToCanary::Events(events, log));
    }
}

/// An event's object as the registry explains it; `None` for objects that no rule can name.
fn object<'p>(event: &Event, path: &'p str) -> Option<Object<'p>> {
    match &event.object {
        incident::decode::Object::Path(_) => {
            let own = path.strip_prefix("/proc/").and_then(|rest| rest.split('/').next());
            let own_process = own == Some(event.pid.to_string().as_str());
            Some(Object::Path { path, own_process })
        }
        incident::decode::Object::SetId(_) => Some(Object::SetId { path }),
        incident::decode::Object::Endpoint { protocol, address, port } => {
            let listens = event.rights.meets(Rights::of(Right::Listen));
            let flow = match (listens, *protocol == UDP) {
                (false, false) => FLOW_TCP_CONNECT,
                (false, true) => FLOW_UDP_CONNECT,
                (true, false) => FLOW_TCP_LISTEN,
                (true, true) => FLOW_UDP_LISTEN,
            };
            Some(Object::Endpoint { address: *address, port: *port, flow })
        }
        _ => None,
    }
}

fn named(session: &Session) -> incident::Session {
    incident::Session {
        id: session.id.to_string(),
        name: session.name.clone(),
        profile: session.profile.clone(),
        task: session.task.clone().unwrap_or_default(),
        lineage: session.lineage.iter().map(ToString::to_string).collect(),
    }
}

fn rule(rule: RuleRef) -> Rule {
    Rule { file: rule.file.display().to_string(), line: rule.line, text: rule.text }
}
