//! Which operations the kernel watches now, as the registry remembers it.

use std::time::Duration;

use crate::bpf::Need;

/// Which operations the kernel watches, and for how long nobody has needed it.
#[derive(Default)]
pub(super) struct Watch {
    /// What is attached; `None` before this daemon has attached or detached anything.
    pub(super) attached: Option<Need>,
    /// Since when no session needs anything, by the clock of expiries.
    pub(super) idle_since: Option<u64>,
    /// Whether the canary runs.
    pub(super) canary: bool,
    /// How long hooks stay attached that no session needs; `None` for ever.
    pub(super) detach_after: Option<Duration>,
    /// Called when hooks are attached after none was.
    pub(super) on_begin: Option<Box<dyn Fn() + Send>>,
}

impl Watch {
    pub(super) fn new(detach_after: Option<Duration>) -> Self {
        Self { detach_after, ..Self::default() }
    }
}
