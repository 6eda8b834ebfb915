//! What a session may do with an object of given labels, under a policy: the only caller of the decision.

use agent_common::{
    access::{Right, Rights},
    authority::{Expiries, Session, ToolSet, WORDS},
    decision::{self, Reason},
    id::{BootNanos, LabelId, Tag},
    limits::{POLICY_SLOTS, TOOLS},
    rule::Label,
};

use crate::{
    cache::{self, Allowed},
    expiry,
    loops::{self, Context},
    maps::{self, EXPIRIES, LABEL_TABLES, SESSIONS_BY_SLOT, SET_ID_TOOLS},
    subject, volatile,
};

/// The labels of an object, by the shared rules and by the session's own, in one register.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Labels(pub(super) u64);

impl Labels {
    /// By the shared rules, and by the session's own.
    #[inline(always)]
    pub(super) fn new(shared: LabelId, own: LabelId) -> Self {
        Self(u64::from(shared.0) << 32 | u64::from(own.0))
    }

    #[inline(always)]
    fn shared(self) -> LabelId {
        LabelId((self.0 >> 32) as u32)
    }

    #[inline(always)]
    fn own(self) -> LabelId {
        LabelId(self.0 as u32)
    }

    /// Looks up both labels in a policy's table.
    #[inline(always)]
    pub(super) fn find(self, table: u32) -> Option<[&'static Label; 2]> {
        let shared = label_of(table, self.shared())?;
        // A label added to itself is itself: nothing to look up where the session has no rules of its own.
        let own = self.own();
        let own = if own.0 == LabelId::NONE.0 { shared } else { label_of(table, own)? };
        Some([shared, own])
    }
}

/// Whether an open descriptor or connection stays usable although the session may not open it any more: the tools
/// that covered it leave descriptors open when they are lost (`recall = "opens"`).
#[inline(always)]
pub(super) fn stays_usable(tag: &Tag, generation: u32, labels: Labels, rights: Rights) -> bool {
    judge_stays_usable(tag, generation, labels.0, u64::from(rights.0)) != 0
}

/// See [`stays_usable`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_stays_usable(
    tag: *const Tag,
    generation: u32,
    labels: u64,
    rights: u64,
) -> u32 {
    deref_or_return!(tag; else return 0);
    let Some(session) = SESSIONS_BY_SLOT.get(tag.slot.0) else { return 0 };
    // Its state alone does not tell that a session's time is up.
    if decision::standing(session, tag.session, expiry::time(session, cache::epoch(session)))
        .is_err()
    {
        return 0;
    }
    let Some(labels) = Labels(labels).find(generation % POLICY_SLOTS as u32) else { return 0 };
    u32::from(decision::keeps(Rights(rights as u8), labels, session))
}

/// A decision: the number of a reason, or zero and the marks that the use leaves.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Verdict(pub(super) u64);

impl Verdict {
    /// The reason's number; zero if it is allowed.
    #[inline(always)]
    pub(super) fn reason(self) -> u32 {
        self.0 as u32
    }

    /// What is allowed to a request for these rights.
    #[inline(always)]
    pub(super) fn allowed(self, rights: Rights) -> Allowed {
        Allowed::new(rights, (self.0 >> 32) as u32)
    }
}

/// Decides what the running task does. If a kill-on-revoke tool allows it, marks the task for its use. (Not inside
/// the decision, which is as deep as the stack allows.)
#[inline(always)]
pub(super) fn judge_use(tag: &Tag, generation: u32, labels: Labels, rights: Rights) -> Verdict {
    // Read before the decision: if the epoch is the same afterwards, the session still holds what it held.
    let epoch = SESSIONS_BY_SLOT.get(tag.slot.0).map_or(0, cache::epoch);
    match judge(tag, generation, labels, rights) {
        0 => {
            let marks = mark_use(tag, generation, labels.0, u64::from(rights.0), epoch);
            Verdict(u64::from(marks) << 32)
        }
        reason => Verdict(u64::from(reason)),
    }
}

/// Zero if the session may use the rights on an object with these labels, else the reason's number.
#[inline(always)]
pub(super) fn judge(tag: &Tag, generation: u32, labels: Labels, rights: Rights) -> u32 {
    judge_rights(tag, generation, labels.0, u64::from(rights.0))
}

/// See [`judge`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn judge_rights(tag: *const Tag, generation: u32, labels: u64, rights: u64) -> u32 {
    deref_or_return!(tag; else return Reason::Expired as u32);
    let rights = Rights(rights as u8);
    let slot = tag.slot.0;
    let Some(session) = SESSIONS_BY_SLOT.get(slot) else { return Reason::Expired as u32 };
    let now = expiry::time(session, cache::epoch(session));
    if let Err(reason) = decision::standing(session, tag.session, now) {
        return reason as u32;
    }
    let Some(labels) = Labels(labels).find(generation % POLICY_SLOTS as u32) else {
        return Reason::NoTool as u32;
    };
    match decision::decide(rights, labels, session, now, |held| any_live(held, slot, now)) {
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}

/// The kill-on-revoke tools that the session held at an epoch of its entry. If the entry was written since: all of
/// the policy's.
#[inline(always)]
fn held_deadly(session: &Session, generation: u32, epoch: u32) -> ToolSet {
    let deadly = maps::deadly(generation);
    // Read before the epoch is read again.
    let held: [u64; WORDS] = core::array::from_fn(|word| volatile::read(&session.tools.0[word]));
    let all = if cache::epoch(session) == epoch { 0 } else { u64::MAX };
    ToolSet(core::array::from_fn(|word| deadly.0[word] & (held[word] | all)))
}

/// Marks the running task and its process, before the task goes on, for the kill-on-revoke tools among those that
/// cover the rights; returns the marks. `epoch` is the epoch of the session's entry before the decision.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn mark_use(
    tag: *const Tag,
    generation: u32,
    labels: u64,
    rights: u64,
    epoch: u32,
) -> u32 {
    deref_or_return!(tag; else return 0);
    let Some(session) = SESSIONS_BY_SLOT.get(tag.slot.0) else { return 0 };
    let tools = held_deadly(session, generation, epoch);
    if tools.0.iter().fold(0, |any, word| any | word) == 0 {
        return 0;
    }
    let Some(labels) = Labels(labels).find(generation % POLICY_SLOTS as u32) else { return 0 };
    let marks = decision::marks(Rights(rights as u8), labels, &tools);
    if marks & !tag.marks != 0 {
        subject::mark(tag, marks);
    }
    marks
}

/// As [`judge`] for running a program, by those tools alone with which set-id programs keep their privilege.
#[inline(never)]
pub(super) fn judge_set_id(tag: &Tag, generation: u32, labels: Labels) -> u32 {
    let slot = tag.slot.0;
    let table = generation % POLICY_SLOTS as u32;
    let Some(session) = SESSIONS_BY_SLOT.get(slot) else { return Reason::Expired as u32 };
    let Some(tools) = SET_ID_TOOLS.get(table) else { return Reason::NoTool as u32 };
    let now = expiry::time(session, cache::epoch(session));
    if let Err(reason) = decision::standing(session, tag.session, now) {
        return reason as u32;
    }
    let Some(labels) = labels.find(table) else { return Reason::NoTool as u32 };
    let mut narrow = *session;
    for (word, with) in narrow.tools.0.iter_mut().zip(tools.0) {
        *word &= with;
    }
    let rights = Rights::of(Right::Exec);
    match decision::decide(rights, labels, &narrow, now, |held| any_live(held, slot, now)) {
        Ok(()) => 0,
        Err(reason) => reason as u32,
    }
}

/// Whether one of the tools has not expired.
#[inline(always)]
fn any_live(held: &ToolSet, slot: u32, now: BootNanos) -> bool {
    is_any_live(held, slot, now.0) != 0
}

/// See [`any_live`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn is_any_live(held: *const ToolSet, slot: u32, now: u64) -> u32 {
    deref_or_return!(held; else return 0);
    let now = BootNanos(now);
    let Some(expiries) = EXPIRIES.get(slot) else { return 0 };
    let mut search = Search { held: *held, expiries, now, found: 0 };
    loops::repeat(TOOLS as u32, is_live, &mut search);
    u32::from(volatile::read(&search.found) != 0)
}

/// What [`is_live`] looks for.
struct Search {
    held: ToolSet,
    expiries: &'static Expiries,
    now: BootNanos,
    found: u64,
}

/// Looks at one tool; non-zero if it is held and has not expired. (With an ordinary loop over the bits, the verifier
/// goes through 64 steps for each right and word: 88,000 instructions, on 6.12.)
extern "C" fn is_live(bit: u64, context: Context<Search>) -> i64 {
    let search = context.get();
    if bit >= TOOLS as u64 {
        return 1;
    }
    let held = search.held.0[(bit / 64) as usize] >> (bit % 64) & 1;
    if held != 0 && search.now < search.expiries[bit as usize] {
        search.found = 1;
        return 1;
    }
    0
}

/// Looks up a label by its number.
#[inline(always)]
fn label_of(table: u32, label: LabelId) -> Option<&'static Label> {
    LABEL_TABLES.get_value(table, &label.0)
}
