//! Turns a session into its entry in the kernel's maps.

use agent_common::{
    authority::{self, Expiries, Mode, State, ToolSet},
    decision::nearest_expiry,
    id::{BootNanos, SessionId, Slot},
    limits::TOOLS,
};

use super::model::{Condition, Grant, Session};

/// A session's entry and expiries. `is_kept` says of a grant whether files and sockets opened by the tool stay usable
/// after its loss.
pub(super) fn entry(
    session: &Session,
    is_kept: impl Fn(&Grant) -> bool,
) -> (authority::Session, Box<Expiries>) {
    let mut expiries = Box::new([BootNanos(0); TOOLS]);
    let mut tools = ToolSet::EMPTY;
    if session.is_live() {
        for grant in &session.grants {
            if let Some(expiry) = expiries.get_mut(usize::from(grant.bit)) {
                *expiry = until(grant);
                tools.insert(grant.tool_bit());
            }
        }
    }
    let state = match session.state {
        Condition::Active => State::Active,
        Condition::Quarantined => State::Quarantined,
        Condition::Ended => State::Ended,
    };
    let entry = authority::Session {
        id: session.id.0,
        expires: session.expires.nanos(),
        nearest_expiry: nearest_expiry(&tools, &expiries),
        tools,
        kept: session.ever().filter(|grant| is_kept(grant)).map(Grant::tool_bit).collect(),
        parent_id: session.parent.map_or(SessionId(0), |id| id.0),
        parent: Slot::NONE,
        state: state as u32,
        mode: Mode::from(session.mode) as u32,
        // Set when the entry is written.
        epoch: 0,
        no_expiry_near: 0,
    };
    (entry, expiries)
}

/// A grant's expiry by the kernel's clock.
pub(super) fn until(grant: &Grant) -> BootNanos {
    grant.until.map_or(BootNanos::NEVER, |moment| moment.nanos())
}
