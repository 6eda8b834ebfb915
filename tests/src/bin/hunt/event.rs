//! What others do while a program runs.

/// What is done meanwhile by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The tool `spare` is given.
    Grant,
    /// It is given for a second.
    GrantBriefly,
    /// The second is over.
    Expire,
    /// It is taken back.
    Revoke,
    /// The tool `deadly` is taken back, which kills who used it.
    RevokeDeadly,
    Quarantine,
    Resume,
    End,
    /// The daemon does nothing from here on.
    Pause,
    /// The policy is put in force anew, with another tool beside.
    Swap,
    /// Processes outside send to whatever the session listens at.
    Approach,
}

/// All of them, with their names.
pub(crate) const EVENTS: [(Event, &str); 11] = [
    (Event::Grant, "grant"),
    (Event::GrantBriefly, "grant-briefly"),
    (Event::Expire, "expire"),
    (Event::Revoke, "revoke"),
    (Event::RevokeDeadly, "revoke-deadly"),
    (Event::Quarantine, "quarantine"),
    (Event::Resume, "resume"),
    (Event::End, "end"),
    (Event::Pause, "pause"),
    (Event::Swap, "swap"),
    (Event::Approach, "approach"),
];

impl Event {
    pub(crate) fn name(self) -> &'static str {
        EVENTS.iter().find(|(event, _)| *event == self).map_or("", |(_, name)| name)
    }
}
