//! The incident log in the daemon: one thread writes it, requests read it.
//!
//! Acts of control are logged while the registry is locked, and the writer locks the registry while it enriches events.
//! So acts are sent as messages, and nobody waits for the writer with the registry locked.

mod control;
mod read;
mod write;

use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    time::Duration,
};

use rustix::event::{EventfdFlags, eventfd};

pub(super) use read::Reader;
pub(super) use write::Writer;

use crate::{
    incident::Canary,
    session::acts::{ActLog, Control},
};

/// How long a request waits for the log's thread to write what is in the ring.
const FLUSH: Duration = Duration::from_secs(2);

/// A message to the writer.
enum Message {
    /// An act of control.
    Control(Box<Control>),
    /// A report of the canary.
    Canary(Box<Canary>),
    /// Write what is in the ring, and signal when that is done.
    Flush(SyncSender<()>),
    /// Write what is in the ring, and end.
    Stop,
}

/// Sends messages to the writer.
#[derive(Clone)]
pub(super) struct LogHandle {
    messages: Sender<Message>,
    /// An event counter, which wakes the writer.
    wake_up: Arc<OwnedFd>,
}

/// Receives the writer's messages.
pub(super) struct Inbox {
    messages: Receiver<Message>,
    wake_up: Arc<OwnedFd>,
}

/// Both ends of the messages to a writer.
pub(super) fn channel() -> std::io::Result<(LogHandle, Inbox)> {
    let wake_up = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (send, messages) = mpsc::channel();
    let handle = LogHandle { messages: send, wake_up: Arc::clone(&wake_up) };
    Ok((handle, Inbox { messages, wake_up }))
}

impl LogHandle {
    fn send(&self, message: Message) {
        if self.messages.send(message).is_err() {
            tracing::error!("the log's thread is gone");
        }
        // This only fails if the counter is full, and then it wakes the writer anyway.
        let _ = rustix::io::write(&self.wake_up, &1u64.to_ne_bytes());
    }

    /// Waits until what is in the ring is in the log, but not for long. Returns whether it is.
    pub(super) fn flush(&self) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        self.send(Message::Flush(done));
        let flushed = wait.recv_timeout(FLUSH).is_ok();
        if !flushed {
            tracing::warn!("the log is behind: an answer may lack the last refusals");
        }
        flushed
    }

    /// Logs a report of the canary.
    pub(super) fn canary(&self, canary: Canary) {
        self.send(Message::Canary(Box::new(canary)));
    }

    /// Ends the writer once everything is in the log.
    pub(super) fn stop(&self) {
        self.send(Message::Stop);
    }
}

impl ActLog for LogHandle {
    fn record(&mut self, control: Control) {
        self.send(Message::Control(Box::new(control)));
    }
}

impl Inbox {
    /// A descriptor that is readable while messages may be waiting.
    fn wake_up(&self) -> BorrowedFd<'_> {
        self.wake_up.as_fd()
    }

    /// The next message, if there is one.
    fn next(&self) -> Option<Message> {
        self.messages.try_recv().ok()
    }

    /// Makes the descriptor unreadable until the next message comes.
    fn reset_wake_up(&self) {
        let mut count = [0; 8];
        // An error means that it was not readable.
        let _ = rustix::io::read(&self.wake_up, &mut count);
    }
}

#[cfg(test)]
mod tests;
