//! The decision itself: values in, verdict out. The kernel programs, the daemon's `explain` and the
//! tests run this very function.
#![expect(
    clippy::indexing_slicing,
    reason = "by rows and words of arrays of that size, in loops that the verifier can follow"
)]

use crate::{
    access::{Right, Rights},
    authority::{Expiries, Session, State, ToolSet, WORDS},
    id::{BootNanos, SessionId, ToolBit},
    mark,
    rule::Label,
};

/// Why an operation is refused. The numbers are those of the event record.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No tool that the session holds covers it.
    NoTool = 1,
    /// The policy denies it to everybody.
    ExplicitDeny = 2,
    /// A tool that covers it was taken back.
    Revoked = 3,
    /// A tool that covers it, or the session itself, ran out.
    Expired = 4,
    /// An ancestor session does not hold a tool that covers it.
    Ancestor = 5,
    /// The tools that cover it exclude each other.
    Conflict = 6,
    /// What the session has touched forbids it.
    Taint = 7,
    /// The session is quarantined.
    Quarantined = 8,
    /// No session may do it: it would undo the confinement.
    Guard = 9,
    /// The object's path could not be established.
    Unresolved = 10,
}

impl Reason {
    /// The name that incidents use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoTool => "no_tool",
            Self::ExplicitDeny => "explicit_deny",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::Ancestor => "ancestor",
            Self::Conflict => "conflict",
            Self::Taint => "taint",
            Self::Quarantined => "quarantined",
            Self::Guard => "guard",
            Self::Unresolved => "unresolved",
        }
    }
}

impl TryFrom<u8> for Reason {
    type Error = u8;

    fn try_from(number: u8) -> Result<Self, u8> {
        Ok(match number {
            1 => Self::NoTool,
            2 => Self::ExplicitDeny,
            3 => Self::Revoked,
            4 => Self::Expired,
            5 => Self::Ancestor,
            6 => Self::Conflict,
            7 => Self::Taint,
            8 => Self::Quarantined,
            9 => Self::Guard,
            10 => Self::Unresolved,
            other => return Err(other),
        })
    }
}

/// Whether the session may use its authority at all.
///
/// # Errors
/// The reason why everything is refused to it.
#[inline(always)]
pub fn standing(session: &Session, id: SessionId, now: BootNanos) -> Result<(), Reason> {
    if session.id != id || session.state == State::Ended as u32 {
        return Err(Reason::Expired);
    }
    if session.state != State::Active as u32 {
        return Err(Reason::Quarantined);
    }
    if now >= session.expires {
        return Err(Reason::Expired);
    }
    Ok(())
}

/// Decides whether the session may use every right in `rights` on an object.
///
/// `labels` are the object's labels: by the shared rules, and by the session's own. Each right needs a
/// tool that covers it, is held, and is not past its expiry; different rights may be covered by
/// different tools. An explicit denial of any of them beats every tool. `any_live` is asked only once
/// the nearest expiry is past, for the tools that are held and cover a right: whether the session's
/// expiry of one of them is still to come ([`any_live`]; the kernel side brings a loop of its own kind).
///
/// # Errors
/// The reason of the refusal.
#[inline(always)]
pub fn decide(
    rights: Rights,
    labels: [&Label; 2],
    session: &Session,
    now: BootNanos,
    any_live: impl Fn(&ToolSet) -> bool,
) -> Result<(), Reason> {
    if rights.meets(Rights(labels[0].denied | labels[1].denied)) {
        return Err(Reason::ExplicitDeny);
    }
    let mut wanted = rights.0 & !(labels[0].always | labels[1].always);
    let mut row = 0;
    // Most operations need one or two of the first rights.
    while wanted != 0 && row < labels[0].tools.len() {
        if wanted & 1 != 0 {
            let held: ToolSet = ToolSet(core::array::from_fn(|word| {
                let covering = labels[0].tools[row].0[word] | labels[1].tools[row].0[word];
                covering & session.tools.0[word]
            }));
            if held.0.iter().fold(0, |any, word| any | word) == 0 {
                return Err(Reason::NoTool);
            }
            if now >= session.nearest_expiry && !any_live(&held) {
                return Err(Reason::Expired);
            }
        }
        wanted >>= 1;
        row += 1;
    }
    Ok(())
}

/// Whether an open descriptor stays usable although [`decide`] refuses: for each right, a tool covers it that the
/// session holds or held, and whose loss leaves descriptors open.
#[inline(always)]
pub fn keeps(rights: Rights, labels: [&Label; 2], session: &Session) -> bool {
    if session.state != State::Active as u32
        || rights.meets(Rights(labels[0].denied | labels[1].denied))
    {
        return false;
    }
    let mut row = 0;
    while row < labels[0].tools.len() {
        if rights.0 & 1u8 << row != 0 {
            let any = (0..WORDS).fold(0, |any, word| {
                let covering = labels[0].tools[row].0[word] | labels[1].tools[row].0[word];
                any | covering & session.kept.0[word]
            });
            if any == 0 {
                return false;
            }
        }
        row += 1;
    }
    true
}

/// The rights that a copy has too: whoever may read something, and write elsewhere, gets them without a move. What
/// answers at a socket, or behind a device, can't be copied.
pub const COPIED: Rights = Rights(0b1_1111);

/// The rights that what is moved would gain: those that the labels of the new place give to a tool, or to everybody,
/// to which the labels of the old place do not give them. By the policy, not by what the session holds, so that a
/// tool which is granted later opens nothing that was moved to its place.
#[inline(always)]
pub fn gained(from: [&Label; 2], to: [&Label; 2]) -> Rights {
    let (had, has) = (from[0].always | from[1].always, to[0].always | to[1].always);
    let (was_denied, denied) = (from[0].denied | from[1].denied, to[0].denied | to[1].denied);
    let (mut gained, mut row) = (0, 0);
    while row < Right::COUNT {
        let right = 1u8 << row;
        let more = (0..WORDS).fold(0, |more, word| {
            let before = from[0].tools[row].0[word] | from[1].tools[row].0[word];
            let after = to[0].tools[row].0[word] | to[1].tools[row].0[word];
            // What was denied was nobody's.
            more | if was_denied & right == 0 { after & !before } else { after }
        });
        if more != 0 || has & right != 0 {
            gained |= right;
        }
        row += 1;
    }
    Rights(gained & !denied & !(had & !was_denied))
}

/// The [marks](crate::mark) that an operation leaves which [`decide`] allows: those of all kill-on-revoke tools
/// among `tools` that cover one of its rights, even if other tools cover it too.
#[inline(always)]
pub fn marks(rights: Rights, labels: [&Label; 2], tools: &ToolSet) -> u32 {
    let wanted = rights.0 & !(labels[0].always | labels[1].always);
    let mut used = ToolSet::EMPTY;
    let mut row = 0;
    while row < labels[0].tools.len() {
        if wanted & 1u8 << row != 0 {
            for word in 0..WORDS {
                used.0[word] |= labels[0].tools[row].0[word] | labels[1].tools[row].0[word];
            }
        }
        row += 1;
    }
    for word in 0..WORDS {
        used.0[word] &= tools.0[word];
    }
    mark::marks(&used)
}

/// Whether the expiry of one of the tools is still to come.
pub fn any_live(tools: &ToolSet, expiries: &Expiries, now: BootNanos) -> bool {
    tools
        .iter()
        .any(|ToolBit(bit)| expiries.get(usize::from(bit)).is_some_and(|expiry| now < *expiry))
}

/// The tools whose grant would let the session do it: those that cover every right asked for.
pub fn would_allow(rights: Rights, labels: [&Label; 2]) -> ToolSet {
    let mut tools = ToolSet([u64::MAX; WORDS]);
    if rights.is_empty() || rights.meets(Rights(labels[0].denied | labels[1].denied)) {
        return ToolSet::EMPTY;
    }
    for right in rights.iter() {
        for word in 0..WORDS {
            let row = right as usize;
            tools.0[word] &= labels[0].tools[row].0[word] | labels[1].tools[row].0[word];
        }
    }
    tools
}

/// The earliest expiry among the tools held.
pub fn nearest_expiry(tools: &ToolSet, expiries: &Expiries) -> BootNanos {
    tools
        .iter()
        .filter_map(|ToolBit(bit)| expiries.get(usize::from(bit)).copied())
        .min()
        .unwrap_or(BootNanos::NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(tools: ToolSet, nearest: BootNanos) -> Session {
        Session {
            id: SessionId(7),
            expires: BootNanos(1_000),
            nearest_expiry: nearest,
            tools,
            state: State::Active as u32,
            ..Session::FREE
        }
    }

    fn label(right: Right, tool: u16) -> Label {
        let mut label = Label::NONE;
        label.tools[right as usize].insert(ToolBit(tool));
        label
    }

    fn tools(bits: &[u16]) -> ToolSet {
        bits.iter().copied().map(ToolBit).collect()
    }

    const READ: Rights = Rights::of(Right::Read);
    const NOW: BootNanos = BootNanos(10);

    fn judge(
        rights: Rights,
        labels: [&Label; 2],
        session: &Session,
        expiries: &Expiries,
        now: BootNanos,
    ) -> Result<(), Reason> {
        decide(rights, labels, session, now, |tools| any_live(tools, expiries, now))
    }

    #[test]
    fn tool_held_allows_and_another_refuses() {
        let expiries = [BootNanos::NEVER; 256];
        for bit in [0, 63, 64, 255] {
            let object = label(Right::Read, bit);
            let labels = [&object, &Label::NONE];
            let held = session(tools(&[bit]), BootNanos::NEVER);
            assert_eq!(judge(READ, labels, &held, &expiries, NOW), Ok(()));
            assert_eq!(judge(READ, [&Label::NONE, &object], &held, &expiries, NOW), Ok(()));
            let write = READ.with(Right::Write);
            assert_eq!(judge(write, labels, &held, &expiries, NOW), Err(Reason::NoTool));
            let other = session(tools(&[bit ^ 1]), BootNanos::NEVER);
            assert_eq!(judge(READ, labels, &other, &expiries, NOW), Err(Reason::NoTool));
        }
    }

    #[test]
    fn deny_beats_a_tool_and_only_the_right_it_names() {
        let expiries = [BootNanos::NEVER; 256];
        let mut object = label(Right::Read, 3);
        object.tools[Right::Write as usize].insert(ToolBit(3));
        object.denied = Rights::of(Right::Write).0;
        let held = session(tools(&[3]), BootNanos::NEVER);
        let labels = [&object, &Label::NONE];
        assert_eq!(judge(READ, labels, &held, &expiries, NOW), Ok(()));
        let both = READ.with(Right::Write);
        assert_eq!(judge(both, labels, &held, &expiries, NOW), Err(Reason::ExplicitDeny));
    }

    #[test]
    fn expiry_ends_one_tool_and_leaves_another() {
        let mut expiries = [BootNanos(0); 256];
        expiries[5] = BootNanos(20);
        expiries[70] = BootNanos::NEVER;
        let held = session(tools(&[5, 70]), BootNanos(20));
        let short = label(Right::Read, 5);
        let long = label(Right::Read, 70);
        assert_eq!(judge(READ, [&short, &Label::NONE], &held, &expiries, BootNanos(19)), Ok(()));
        assert_eq!(
            judge(READ, [&short, &Label::NONE], &held, &expiries, BootNanos(20)),
            Err(Reason::Expired)
        );
        assert_eq!(judge(READ, [&long, &Label::NONE], &held, &expiries, BootNanos(20)), Ok(()));
        assert_eq!(judge(READ, [&short, &long], &held, &expiries, BootNanos(20)), Ok(()));
    }

    #[test]
    fn standing_follows_identity_state_and_time() {
        let mut entry = session(ToolSet::EMPTY, BootNanos::NEVER);
        assert_eq!(standing(&entry, SessionId(7), NOW), Ok(()));
        assert_eq!(standing(&entry, SessionId(8), NOW), Err(Reason::Expired));
        assert_eq!(standing(&entry, SessionId(7), BootNanos(1_000)), Err(Reason::Expired));
        entry.state = State::Quarantined as u32;
        assert_eq!(standing(&entry, SessionId(7), NOW), Err(Reason::Quarantined));
    }

    #[test]
    fn kept_tool_serves_open_descriptors_until_the_session_is_stopped() {
        let mut object = label(Right::Read, 70);
        let mut session = session(ToolSet::EMPTY, BootNanos::NEVER);
        assert!(!keeps(READ, [&object, &Label::NONE], &session));
        session.kept = tools(&[70]);
        assert!(keeps(READ, [&object, &Label::NONE], &session));
        assert!(keeps(READ, [&Label::NONE, &object], &session));
        assert!(!keeps(READ.with(Right::Write), [&object, &Label::NONE], &session));
        object.denied = READ.0;
        assert!(!keeps(READ, [&object, &Label::NONE], &session));
        object.denied = 0;
        session.state = State::Quarantined as u32;
        assert!(!keeps(READ, [&object, &Label::NONE], &session));
    }

    #[test]
    fn would_allow_names_tools_that_cover_all_rights() {
        let mut object = label(Right::Read, 1);
        object.tools[Right::Read as usize].insert(ToolBit(2));
        object.tools[Right::Write as usize].insert(ToolBit(2));
        let labels = [&object, &Label::NONE];
        assert_eq!(would_allow(READ, labels), tools(&[1, 2]));
        assert_eq!(would_allow(READ.with(Right::Write), labels), tools(&[2]));
        object.denied = READ.0;
        assert!(would_allow(READ, [&object, &Label::NONE]).is_empty());
    }

    #[test]
    fn move_gains_what_no_tool_had_at_the_old_place() {
        let (one, other) = (label(Right::Read, 3), label(Right::Read, 4));
        let both = label(Right::Read, 3);
        let denied = Label { denied: READ.0, ..label(Right::Read, 3) };
        let open = Label { always: READ.0, ..Label::NONE };
        let none = &Label::NONE;
        for (from, to, gains) in [
            ([&one, none], [&both, none], false),
            ([none, &one], [&one, none], false),
            ([&one, &other], [&one, none], false),
            ([&one, none], [none, none], false),
            ([none, none], [&one, none], true),
            ([&one, none], [&other, none], true),
            ([&one, none], [&one, &other], true),
            ([&denied, none], [&one, none], true),
            ([&one, none], [&denied, none], false),
            ([&denied, none], [&denied, none], false),
            ([&one, none], [&open, none], true),
            ([&open, none], [&one, none], false),
            ([&open, &denied], [&one, none], true),
        ] {
            let expected = if gains { READ } else { Rights::NONE };
            assert_eq!(gained(from, to), expected, "{from:?} {to:?}");
        }
    }

    #[test]
    fn operation_leaves_the_marks_of_deadly_tools_that_are_held_and_cover_it() {
        let mut object = label(Right::Read, 3);
        object.tools[Right::Read as usize].insert(ToolBit(4));
        object.tools[Right::Write as usize].insert(ToolBit(70));
        let own = label(Right::Read, 9);
        let labels = [&object, &own];
        let write = Rights::of(Right::Write);
        assert_eq!(marks(READ, labels, &tools(&[3])), 1 << 3, "another tool covers it too");
        assert_eq!(marks(READ, labels, &tools(&[9, 70])), 1 << 9);
        assert_eq!(marks(READ.union(write), labels, &tools(&[9, 70])), 1 << 9 | 1 << 6);
        assert_eq!(marks(READ, labels, &ToolSet::EMPTY), 0);
        object.always = READ.0;
        assert_eq!(marks(READ, [&object, &own], &tools(&[3, 9])), 0, "no tool is needed");
    }
}
