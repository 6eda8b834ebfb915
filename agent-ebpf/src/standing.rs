//! The standing of a session: whether it may use its authority at all, whether refusals are enforced, and what its
//! decisions depend on besides the rules.

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

/// The session's epoch. `None` when cached decisions must not be used for this session: its own expiry is past or the
/// nearest of its tools, or its slot belongs to another session.
#[inline(always)]
pub(crate) fn epoch_for_cache(tag: &Tag) -> Option<u32> {
    let session = SESSIONS_BY_SLOT.get(tag.slot.0)?;
    let epoch = cache::epoch(session);
    (session.id == tag.session && expiry::is_before_expiries(session, epoch)).then_some(epoch)
}

/// What a decision for the session depends on besides the rules.
#[inline(always)]
pub(crate) fn basis(tag: &Tag) -> Basis {
    let epoch = epoch_for_cache(tag).unwrap_or(0);
    Basis { generation: generation(), epoch, changes: Changes::now() }
}

/// The policy and the session's epoch in one word, for decisions that do not depend on a path. Zero when cached
/// decisions must not be used for this session.
#[inline(always)]
pub(crate) fn stamp(tag: &Tag) -> u64 {
    epoch_for_cache(tag).map_or(0, |epoch| cache::stamp(generation(), epoch))
}

/// What a hook returns for a refusal: the error, or zero if the refusal is only reported.
#[inline(always)]
pub(crate) fn enforce_or_report(tag: &Tag, error: i32) -> i32 {
    if is_audited(tag) { 0 } else { error }
}

/// Whether refusals are only reported: in audit mode, while the session is active. (Everything is refused to a session
/// that has ended or is quarantined.)
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
    judge_standing(tag) == 0
}

/// Zero if the session [has standing](has_standing), else the number of the reason why it has none.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn judge_standing(tag: *const Tag) -> u32 {
    deref_or_return!(tag; else return Reason::Expired as u32);
    let Some(session) = SESSIONS_BY_SLOT.get(tag.slot.0) else { return Reason::Expired as u32 };
    let now = expiry::time(session, cache::epoch(session));
    match decision::standing(session, tag.session, now) {
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}
