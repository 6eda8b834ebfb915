//! What an attack is, and what is to come of it.

use crate::scene::Act;
pub(crate) use crate::scene::steps;

/// What is to come of an attack in a session.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// Its hook refuses it.
    Stopped,
    /// Another hook refuses it.
    StoppedBy(&'static str),
    /// It succeeds, for this reason.
    NotStopped(&'static str),
    /// The kernel itself refuses it to everybody, with this error and for this reason.
    Absent(&'static str, &'static str),
}

/// One attack.
pub(crate) struct Attack {
    /// What is tried.
    pub(crate) name: &'static str,
    /// The security hook that stops it; `daemon` where the daemon does.
    pub(crate) hook: &'static str,
    /// The hook that stops it where that one is not in force.
    pub(crate) second: Option<&'static str>,
    /// The operation of the incident that tells of it.
    pub(crate) operation: &'static str,
    pub(crate) act: Act,
    /// The same on what the session may use.
    pub(crate) control: Act,
    /// The error that it is refused with.
    pub(crate) error: &'static str,
    /// What somebody outside does before.
    pub(crate) before: Option<&'static str>,
    /// Whether that is root, whoever the user is.
    pub(crate) by_root: bool,
    /// What the process does while it has the tool `lent`, which is taken from it before the attack.
    pub(crate) lent: Option<&'static str>,
    /// The error that it has outside of every session; none where it succeeds there.
    pub(crate) plain: &'static str,
    /// Whether the kernel refuses it to an ordinary user.
    pub(crate) privileged: bool,
    /// The kernels of which only that is true.
    pub(crate) privileged_on: &'static [&'static str],
    /// Whether no incident tells of it.
    pub(crate) unrecorded: bool,
    /// Whether its incident names something else than the attack's files.
    pub(crate) anywhere: bool,
    expected: Expected,
    on: Vec<(&'static [&'static str], Expected)>,
}

/// An attack that a hook is to stop, with the incident's operation, and its control.
pub(crate) fn attack(
    name: &'static str,
    hook: &'static str,
    operation: &'static str,
    act: impl Into<Act>,
    control: impl Into<Act>,
) -> Attack {
    let guarded = ["priv.", "process."].iter().any(|kind| operation.starts_with(kind));
    Attack {
        name,
        hook,
        second: None,
        operation,
        act: act.into(),
        control: control.into(),
        error: if guarded { "EPERM" } else { "EACCES" },
        before: None,
        by_root: false,
        lent: None,
        plain: "",
        privileged: false,
        privileged_on: &[],
        unrecorded: false,
        anywhere: false,
        expected: Expected::Stopped,
        on: Vec::new(),
    }
}

impl Attack {
    /// It is known to succeed.
    pub(crate) fn not_stopped(mut self, reason: &'static str) -> Self {
        self.expected = Expected::NotStopped(reason);
        self
    }

    /// Another hook stops it on these kernels, whatever it is on others.
    pub(crate) fn stopped_by_on(
        mut self,
        kernels: &'static [&'static str],
        hook: &'static str,
    ) -> Self {
        self.on.push((kernels, Expected::StoppedBy(hook)));
        self
    }

    /// This hook stops it where the first is not in force.
    pub(crate) fn then(mut self, hook: &'static str) -> Self {
        self.second = Some(hook);
        self
    }

    /// These kernels refuse it to everybody, with this error, unless the hook comes before.
    pub(crate) fn absent_on(
        mut self,
        kernels: &'static [&'static str],
        error: &'static str,
        reason: &'static str,
    ) -> Self {
        self.on.push((kernels, Expected::Absent(error, reason)));
        self
    }

    /// The error that it is refused with.
    pub(crate) fn error(mut self, error: &'static str) -> Self {
        self.error = error;
        self
    }

    /// What somebody outside of the session, of the same user, does before.
    pub(crate) fn before(mut self, words: &'static str) -> Self {
        self.before = Some(words);
        self
    }

    /// What root does before, outside of the session.
    pub(crate) fn before_by_root(mut self, words: &'static str) -> Self {
        self.by_root = true;
        self.before(words)
    }

    /// What the process does while it holds the tool `lent`; the control follows, then the tool is taken
    /// back, then comes the attack.
    pub(crate) fn lent(mut self, words: &'static str) -> Self {
        self.lent = Some(words);
        self
    }

    /// Outside of every session it fails too, in this way: it shows that the kernel got as far as that.
    pub(crate) fn plain(mut self, error: &'static str) -> Self {
        self.plain = error;
        self
    }

    /// The kernel refuses it to an ordinary user.
    pub(crate) fn privileged(mut self) -> Self {
        self.privileged = true;
        self
    }

    /// These kernels refuse it to an ordinary user.
    pub(crate) fn privileged_on(mut self, kernels: &'static [&'static str]) -> Self {
        self.privileged_on = kernels;
        self
    }

    /// It is refused without an incident.
    pub(crate) fn unrecorded(mut self) -> Self {
        self.unrecorded = true;
        self
    }

    /// Its incident names something else than the attack's files.
    pub(crate) fn anywhere(mut self) -> Self {
        self.anywhere = true;
        self
    }

    /// What is to come of it on a kernel.
    pub(crate) fn expected(&self, kernel: &str) -> Expected {
        let special = self.on.iter().find(|(kernels, _)| kernels.contains(&kernel));
        special.map_or(self.expected, |(_, expected)| *expected)
    }
}
