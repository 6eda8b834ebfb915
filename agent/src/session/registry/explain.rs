//! What would be decided, and why: by the kernel's own function, over what the kernel was given.

use std::net::IpAddr;

use agent_common::{
    access::Rights,
    decision::{Reason, any_live, decide, standing, would_allow},
    id::{BootNanos, Slot},
    rule::Label,
};

use super::Registry;
use crate::{
    policy::RuleRef,
    session::{Session, entry::entry},
};

/// What something is tried on.
#[derive(Clone, Copy, Debug)]
pub enum Object<'a> {
    /// A file, or a unix socket that has a path.
    Path {
        /// The path.
        path: &'a str,
        /// Whether its second component is the procfs folder of one of the session's own processes.
        own_process: bool,
    },
    /// A program that gives its process more privilege.
    SetId {
        /// Its path.
        path: &'a str,
    },
    /// A network endpoint.
    Endpoint {
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
        /// A `FLOW_` constant.
        flow: u16,
    },
}

/// What would be decided, and why.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The reason of the refusal; none if it is allowed.
    pub refusal: Option<Reason>,
    /// The tools held that cover it.
    pub allowed_by: Vec<String>,
    /// The tools not held whose grant would allow it.
    pub would_allow: Vec<String>,
    /// The rule that denies it to everybody.
    pub denial: Option<RuleRef>,
    /// The rules that speak of it.
    pub rules: Vec<RuleRef>,
}

impl Registry {
    /// What would be decided if a session tried this now.
    pub fn explain(&self, session: &Session, rights: Rights, object: Object<'_>) -> Verdict {
        self.explain_at(session, rights, object, self.clock.now().nanos())
    }

    /// The same, with the tools told apart by whether the session held them at that moment: what the
    /// kernel reports is looked at a little later.
    pub fn explain_at(
        &self,
        session: &Session,
        rights: Rights,
        object: Object<'_>,
        at: BootNanos,
    ) -> Verdict {
        let (labels, rules, denial) = self.look_up(session, rights, object);
        let (entry, expiries) = entry(session, |grant| self.is_kept(grant));
        let now = self.clock.now().nanos();
        let labels = [&labels[0], &labels[1]];
        let decided = standing(&entry, session.id.0, now).and_then(|()| {
            decide(rights, labels, &entry, now, |tools| any_live(tools, &expiries, now))
        });
        let covering = self.bits.names(&would_allow(rights, labels));
        let (held, other): (Vec<&str>, Vec<&str>) =
            covering.into_iter().partition(|tool| session.held_at(tool, at));
        let refusal = decided.err().map(|reason| refine(session, reason, &other, at));
        Verdict {
            refusal,
            allowed_by: held.into_iter().map(str::to_owned).collect(),
            would_allow: other.into_iter().map(str::to_owned).collect(),
            denial,
            rules,
        }
    }

    fn look_up(
        &self,
        session: &Session,
        rights: Rights,
        object: Object<'_>,
    ) -> ([Label; 2], Vec<RuleRef>, Option<RuleRef>) {
        match object {
            Object::Path { path, own_process } => {
                let slot = self.own_slot(session);
                let said = self.compiled.explain_path(path, rights, own_process, slot);
                (said.labels, said.rules, said.denial)
            }
            Object::SetId { path } => {
                let slot = self.own_slot(session);
                let mut said = self.compiled.explain_path(path, rights, false, slot);
                let with = self.compiled.set_id();
                // Only the tools count that let it.
                for tools in said.labels.iter_mut().flat_map(|label| &mut label.tools) {
                    *tools = tools.iter().filter(|tool| with.contains(*tool)).collect();
                }
                (said.labels, said.rules, said.denial)
            }
            Object::Endpoint { address, port, flow } => {
                let said = self.compiled.explain_endpoint(address, port, flow);
                ([said.label, Label::NONE], said.rules, None)
            }
        }
    }

    /// The session's slot, while its rules are in the tables.
    fn own_slot(&self, session: &Session) -> Option<Slot> {
        self.live.contains_key(&session.id).then(|| session.slot())
    }
}

/// The kernel's `no_tool`, as `revoked` or `expired` where the session had held a tool that covers it.
pub fn refine(session: &Session, reason: Reason, would_allow: &[&str], at: BootNanos) -> Reason {
    if reason != Reason::NoTool {
        return reason;
    }
    would_allow.iter().find_map(|tool| session.reason_for(tool, at)).unwrap_or(reason)
}
