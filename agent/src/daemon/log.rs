//! The incident log in the daemon: one thread writes, requests read.
//!
//! Control acts are told while the registry is held, and the writer asks the registry while it enriches
//! events. So acts go through a mailbox, and nobody waits for the writer with the registry in hand.

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
    session::witness::{Control, Witness},
};

/// How long a request waits until what the ring holds is in the log.
const FLUSH: Duration = Duration::from_secs(2);

/// What the writer is told.
enum Letter {
    /// An act of control.
    Control(Box<Control>),
    /// What the canary found.
    Canary(Box<Canary>),
    /// To write what the ring holds, and to say when that is done.
    Flush(SyncSender<()>),
    /// To write what the ring holds, and to end.
    Stop,
}

/// The way to the writer.
#[derive(Clone)]
pub(super) struct LogHandle {
    letters: Sender<Letter>,
    bell: Arc<OwnedFd>,
}

/// Where the writer finds its letters.
pub(super) struct Mail {
    letters: Receiver<Letter>,
    bell: Arc<OwnedFd>,
}

/// A way to a writer that is yet to come.
pub(super) fn mailbox() -> std::io::Result<(LogHandle, Mail)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (send, letters) = mpsc::channel();
    Ok((LogHandle { letters: send, bell: Arc::clone(&bell) }, Mail { letters, bell }))
}

impl LogHandle {
    fn send(&self, letter: Letter) {
        if self.letters.send(letter).is_err() {
            tracing::error!("the log's thread is gone");
        }
        // The counter can only be full where the writer has not looked for ages: it is rung then.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// Waits until what the ring holds is in the log, but not for long. Says whether it is.
    pub(super) fn flush(&self) -> bool {
        let (done, wait) = mpsc::sync_channel(1);
        self.send(Letter::Flush(done));
        let flushed = wait.recv_timeout(FLUSH).is_ok();
        if !flushed {
            tracing::warn!("the log is behind: an answer may lack the last refusals");
        }
        flushed
    }

    /// Has it written what the canary found.
    pub(super) fn canary(&self, canary: Canary) {
        self.send(Letter::Canary(Box::new(canary)));
    }

    /// Ends the writer, once the log has everything.
    pub(super) fn stop(&self) {
        self.send(Letter::Stop);
    }
}

impl Witness for LogHandle {
    fn record(&mut self, control: Control) {
        self.send(Letter::Control(Box::new(control)));
    }
}

impl Mail {
    /// Becomes readable when there is a letter.
    fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The next letter, if one is there.
    fn next(&self) -> Option<Letter> {
        self.letters.try_recv().ok()
    }

    /// Stops the ringing.
    fn hush(&self) {
        let mut count = [0; 8];
        // Nothing to read is as good.
        let _ = rustix::io::read(&self.bell, &mut count);
    }
}

#[cfg(test)]
mod tests;
