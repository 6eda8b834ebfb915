//! How a session stands: whether it may use its authority at all, and what its decisions rest on.

use agent_common::{
    authority::{Mode, State},
    decision::{self, Reason},
    id::Tag,
};

use crate::{
    cache::{self, Basis},
    expiry,
    kernel::Changes,
    maps::{self, SESSIONS_BY_SLOT},
};

/// The generation of the policy in force.
#[inline(always)]
pub(crate) fn generation() -> u32 {
    maps::active() as u32
}

/// The epoch of the task's session, if what is kept of its authority answers: not past the nearest expiry of its tools
/// or its own, nor where the slot is another session's.
#[inline(always)]
pub(crate) fn epoch_for_cache(tag: &Tag) -> Option<u32> {
    let session = SESSIONS_BY_SLOT.get(tag.slot.0)?;
    let epoch = cache::epoch(session);
    (session.id == tag.session && expiry::is_before_expiries(session, epoch)).then_some(epoch)
}

/// What a decision for a session rests on.
#[inline(always)]
pub(crate) fn basis(tag: &Tag) -> Basis {
    let epoch = epoch_for_cache(tag).unwrap_or(0);
    Basis { generation: generation(), epoch, changes: Changes::now() }
}

/// What an answer for a socket rests on: the policy and the state of the session's authority. Zero when the
/// answer has to be found anew: an expiry is past.
#[inline(always)]
pub(crate) fn stamp(tag: &Tag) -> u64 {
    epoch_for_cache(tag).map_or(0, |epoch| cache::stamp(generation(), epoch))
}

/// The verdict for a refusal: nothing in audit mode, unless the session may do nothing at all.
#[inline(always)]
pub(crate) fn enforce_or_report(tag: &Tag, error: i32) -> i32 {
    if is_audited(tag) { 0 } else { error }
}

/// Whether a refusal is only reported: in audit mode, while the session is active (one that has ended or
/// is quarantined may do nothing at all).
#[inline(always)]
pub(crate) fn is_audited(tag: &Tag) -> bool {
    SESSIONS_BY_SLOT.get(tag.slot.0).is_some_and(|session| {
        session.id == tag.session
            && session.state == State::Active as u32
            && session.mode == Mode::Audit as u32
    })
}

/// Whether everything is refused to the session until an operator resumes it.
#[inline(always)]
pub(crate) fn is_quarantined(tag: &Tag) -> bool {
    SESSIONS_BY_SLOT.get(tag.slot.0).is_some_and(|session| {
        session.id == tag.session && session.state == State::Quarantined as u32
    })
}

/// Whether the session may use its authority at all: it has not ended, its time is not up, and it is not quarantined.
#[inline(always)]
pub(crate) fn has_standing(tag: &Tag) -> bool {
    standing(tag) == 0
}

/// Zero if the session may use its authority at all, else the number of the reason why it may not: it has ended, its
/// time is up, or it is quarantined.
#[inline(always)]
pub(crate) fn standing(tag: &Tag) -> u32 {
    judge_standing(tag)
}

/// As [`standing`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_standing(tag: *const Tag) -> u32 {
    deref_or_return!(tag; else return Reason::Expired as u32);
    let Some(session) = SESSIONS_BY_SLOT.get(tag.slot.0) else { return Reason::Expired as u32 };
    let now = expiry::time(session, cache::epoch(session));
    match decision::standing(session, tag.session, now) {
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}
