//! What the kernel would decide, and why: by the kernel's own function, on the tables that the kernel was given.

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

/// The object of an operation.
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
    /// The reason of the refusal; `None` if it is allowed.
    pub refusal: Option<Reason>,
    /// The tools that the session holds and that cover it.
    pub allowed_by: Vec<String>,
    /// The tools that it does not hold and whose grant would allow it.
    pub would_allow: Vec<String>,
    /// The rule that denies it, whatever tools are held.
    pub denial: Option<RuleRef>,
    /// The rules that concern it.
    pub rules: Vec<RuleRef>,
}

impl Registry {
    /// What would be decided if a session tried an operation now.
    pub fn explain(&self, session: &Session, rights: Rights, object: Object<'_>) -> Verdict {
        self.explain_at(session, rights, object, self.clock.now().nanos())
    }

    /// As [`Self::explain`], but a tool counts as held if the session held it at a moment in the past: the kernel's
    /// reports are explained a little later than they were made.
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

    /// The labels of an object, the rules that concern it, and the one that denies it.
    fn look_up(
        &self,
        session: &Session,
        rights: Rights,
        object: Object<'_>,
    ) -> ([Label; 2], Vec<RuleRef>, Option<RuleRef>) {
        match object {
            Object::Path { path, own_process } => {
                let slot = self.own_slot(session);
                let found = self.compiled.explain_path(path, rights, own_process, slot);
                (found.labels, found.rules, found.denial)
            }
            Object::SetId { path } => {
                let slot = self.own_slot(session);
                let mut found = self.compiled.explain_path(path, rights, false, slot);
                let set_id = self.compiled.set_id();
                // Only tools with `setid` count.
                for tools in found.labels.iter_mut().flat_map(|label| &mut label.tools) {
                    *tools = tools.iter().filter(|tool| set_id.contains(*tool)).collect();
                }
                (found.labels, found.rules, found.denial)
            }
            Object::Endpoint { address, port, flow } => {
                let found = self.compiled.explain_endpoint(address, port, flow);
                ([found.label, Label::NONE], found.rules, None)
            }
        }
    }

    /// The session's slot, while its rules are in the tables.
    fn own_slot(&self, session: &Session) -> Option<Slot> {
        self.live.contains_key(&session.id).then(|| session.slot())
    }
}

/// Makes the kernel's `no_tool` more exact: `revoked` or `expired` if the session had held a tool that covers the
/// object.
pub fn refine(session: &Session, reason: Reason, would_allow: &[&str], at: BootNanos) -> Reason {
    if reason != Reason::NoTool {
        return reason;
    }
    would_allow.iter().find_map(|tool| session.reason_for(tool, at)).unwrap_or(reason)
}
