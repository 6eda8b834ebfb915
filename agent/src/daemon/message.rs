//! Messages to the canary's thread: from requests, from the log's thread, and from the registry.

use std::sync::mpsc::SyncSender;

use crate::incident::Event;

/// A message to the canary's thread.
pub(super) enum ToCanary {
    /// Refusals of the canary's session, as the log's thread read them, and whether the log could be written.
    Events(Vec<Event>, Result<(), String>),
    /// Run now, and signal when that is done.
    Run(SyncSender<()>),
    /// Hooks were attached after none was: there is something to watch.
    Attached,
    /// End.
    Stop,
}
