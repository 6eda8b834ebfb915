//! The thread that owns the log.

use std::{
    error::Error as _,
    io,
    os::fd::OwnedFd,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use agent_common::id::Slot;
use rustix::{
    event::{PollFd, PollFlags, poll},
    time::Timespec,
};

use super::{Inbox, Message, control::records};
use crate::{
    daemon::{context::DaemonContext, host},
    incident::{Act, Actor, Control, EventSource, Journal, JournalError, Pipeline, Schedule},
    troubles::{Trouble, Troubles},
    vitals::Vitals,
};

/// The longest sleep if the ring can't wake the thread.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How often it looks how full the ring is while it waits for repeats of a refusal.
const STEP: Duration = Duration::from_millis(20);
/// How often it tries again to write after a failure.
const RETRY: Duration = Duration::from_millis(500);

/// Any source of events.
struct Source(Box<dyn EventSource + Send>);

impl EventSource for Source {
    fn peek(&mut self, sink: &mut dyn FnMut(&[u8])) -> usize {
        self.0.peek(sink)
    }

    fn release(&mut self, count: usize) {
        self.0.release(count);
    }

    fn lost(&mut self) -> Vec<(Slot, u64)> {
        self.0.lost()
    }

    fn has_more(&self) -> bool {
        self.0.has_more()
    }

    fn fill(&self) -> u8 {
        self.0.fill()
    }
}

/// Writes the log.
pub(in crate::daemon) struct Writer {
    pipeline: Pipeline<Source, DaemonContext>,
    wake: Option<OwnedFd>,
    inbox: Inbox,
    host: String,
    schedule: Schedule,
    /// Whether the ring may hold something.
    pending: bool,
    vitals: Arc<Vitals>,
    troubles: Arc<Troubles>,
    /// When writing failed last; `None` while it works.
    failed: Option<Instant>,
}

impl Writer {
    /// A writer from a source of events and an inbox to a journal.
    pub(in crate::daemon) fn new(
        events: Box<dyn EventSource + Send>,
        wake: Option<OwnedFd>,
        context: DaemonContext,
        journal: Journal,
        inbox: Inbox,
        (vitals, troubles): (Arc<Vitals>, Arc<Troubles>),
    ) -> Self {
        let pipeline = Pipeline::new(Source(events), context, journal);
        Self {
            pipeline,
            wake,
            inbox,
            host: host::name(),
            schedule: Schedule::default(),
            pending: true,
            vitals,
            troubles,
            failed: None,
        }
    }

    /// Starts the thread.
    pub(in crate::daemon) fn spawn(mut self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("log".into()).spawn(move || {
            let _abort = AbortOnPanic;
            while self.turn() {}
        })
    }

    /// Waits for something to do, and does it. Returns whether to go on.
    fn turn(&mut self) -> bool {
        self.wait();
        self.inbox.reset_wake_up();
        while let Some(message) = self.inbox.next() {
            match message {
                Message::Control(control) => self.control(&control),
                Message::Canary(canary) => {
                    let written = self.pipeline.canary(*canary);
                    self.note(written);
                }
                Message::Flush(done) => {
                    self.drain();
                    // The caller may have given up.
                    let _ = done.send(());
                }
                Message::Stop => {
                    self.drain();
                    self.stopped();
                    return false;
                }
            }
        }
        if self.pending && self.pause().is_zero() {
            if !self.waits_for_scan() {
                self.drain();
            }
        } else if self.failed.is_some_and(|failed| failed.elapsed() >= RETRY) {
            let written = self.pipeline.write_waiting().and_then(|()| self.pipeline.ready());
            self.note(written);
        }
        true
    }

    /// Whether the next drain waits for the rest of a scan.
    fn waits_for_scan(&mut self) -> bool {
        let (now, fill) = (Instant::now(), self.pipeline.source().fill());
        self.failed.is_none()
            && self.pipeline.is_scanned()
            && self.schedule.wait_for_scan(now, fill)
    }

    /// How long the ring's content may wait: for repeats, or for the next try after a failure.
    fn pause(&self) -> Duration {
        if let Some(failed) = self.failed {
            return RETRY.saturating_sub(failed.elapsed());
        }
        self.schedule.wait(Instant::now(), self.pipeline.source().fill())
    }

    /// Sleeps until a message comes or the ring has something. While the ring has something that waits for repeats, it
    /// sleeps for a step only, so that it sees the ring fill up.
    #[expect(
        clippy::indexing_slicing,
        reason = "the first is always there, and the second looked for"
    )]
    fn wait(&mut self) {
        let mut fds = vec![PollFd::from_borrowed_fd(self.inbox.wake_up(), PollFlags::IN)];
        let pause = self.pause();
        let time = match &self.wake {
            // A ring with something in it would end every sleep at once.
            Some(_) if self.pending => Some(pause.min(STEP)),
            Some(wake) => {
                fds.push(PollFd::new(wake, PollFlags::IN));
                self.failed.map(|_| RETRY)
            }
            None => Some(pause.max(LONGEST_SLEEP)),
        };
        let time = time.map(|time| Timespec {
            tv_sec: time.as_secs().cast_signed(),
            tv_nsec: time.subsec_nanos().into(),
        });
        match poll(&mut fds, time.as_ref()) {
            // Without a message, the time is over or the ring has something.
            Ok(_) => {
                self.pending |= !fds[0].revents().contains(PollFlags::IN)
                    || fds.len() > 1 && !fds[1].revents().is_empty()
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::warn!("can't wait for events: {error}");
                thread::sleep(STEP);
                self.pending = true;
            }
        }
    }

    fn drain(&mut self) {
        let drained = self.pipeline.drain().map(drop);
        self.note(drained);
        self.schedule.drained(Instant::now());
        self.pending = false;
    }

    /// Begins or ends the trouble with the log, by the result of a write.
    fn note(&mut self, written: Result<(), JournalError>) {
        let metrics = self.pipeline.metrics();
        match written {
            // Success also means that no line waits: those are written first.
            Ok(()) => {
                self.failed = None;
                self.troubles.end(Trouble::Log);
            }
            Err(error) => {
                self.failed = Some(Instant::now());
                let source = error.source().map(|source| format!(": {source}"));
                let source = source.unwrap_or_default();
                let (waiting, dropped) = (metrics.waiting, metrics.dropped);
                let mut message = format!(
                    "the log can't be written: {error}{source}; {waiting} acts of control wait for it in memory, refusals \
                     in the kernel"
                );
                if dropped > 0 {
                    message.push_str(&format!("; {dropped} acts found no room"));
                }
                self.troubles.begin(Trouble::Log, message);
            }
        }
        self.vitals.set_log(metrics);
    }

    fn control(&mut self, control: &crate::session::acts::Control) {
        for record in records(&self.host, control) {
            self.append(record);
        }
    }

    fn stopped(&mut self) {
        let by = Actor { uid: 0, user: None, pid: std::process::id(), session: None };
        self.append(Control::new(self.host.clone(), Act::DaemonStop, by));
        // Lines that wait are lost with this process, so they go to the daemon's own log.
        for record in self.pipeline.waiting() {
            let line = serde_json::to_string(record).unwrap_or_default();
            tracing::error!("the log lacks a line: {line}");
        }
    }

    fn append(&mut self, control: Control) {
        let written = self.pipeline.control(control);
        self.note(written);
    }
}

/// Ends the process if the log's thread panics: a daemon without it would answer as if acts were logged.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("the log's thread panicked: the daemon ends, enforcement stays");
            std::process::abort();
        }
    }
}
