//! The thread that owns the log.

use std::{
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

use super::{Letter, Mail, control::records};
use crate::{
    daemon::context::{DaemonContext, host},
    incident::{Act, Actor, Control, EventSource, Journal, Pipeline, Schedule},
    vitals::Vitals,
};

/// How long the thread sleeps at most where the ring can't wake it.
const UNWOKEN: Duration = Duration::from_secs(1);
/// How often it looks how full the ring is while it waits for repeats to come.
const STEP: Duration = Duration::from_millis(20);

/// The kernel's events, whatever their source.
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

    fn fill(&self) -> u8 {
        self.0.fill()
    }
}

/// Writes the log.
pub(in crate::daemon) struct Writer {
    pipeline: Pipeline<Source, DaemonContext>,
    wake: Option<OwnedFd>,
    mail: Mail,
    host: String,
    schedule: Schedule,
    /// Whether the ring may hold something.
    pending: bool,
    vitals: Arc<Vitals>,
}

impl Writer {
    /// From a source of events and a mailbox to a log.
    pub(in crate::daemon) fn new(
        events: Box<dyn EventSource + Send>,
        wake: Option<OwnedFd>,
        context: DaemonContext,
        journal: Journal,
        mail: Mail,
        vitals: Arc<Vitals>,
    ) -> Self {
        let pipeline = Pipeline::new(Source(events), context, journal);
        Self {
            pipeline,
            wake,
            mail,
            host: host(),
            schedule: Schedule::default(),
            pending: true,
            vitals,
        }
    }

    /// Starts the thread.
    pub(in crate::daemon) fn spawn(mut self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("log".into()).spawn(move || while self.turn() {})
    }

    /// Waits for something to do, and does it. Says whether to go on.
    fn turn(&mut self) -> bool {
        self.wait();
        self.mail.hush();
        while let Some(letter) = self.mail.next() {
            match letter {
                Letter::Control(control) => self.control(&control),
                Letter::Canary(canary) => {
                    if let Err(error) = self.pipeline.canary(*canary) {
                        tracing::error!("{error}; the log lacks what the canary found");
                    }
                }
                Letter::Flush(done) => {
                    self.drain();
                    // Who asked may have given up.
                    let _ = done.send(());
                }
                Letter::Stop => {
                    self.drain();
                    self.stopped();
                    return false;
                }
            }
        }
        if self.pending && self.pause().is_zero() {
            self.drain();
        }
        true
    }

    /// How long what is in the ring may wait for repeats.
    fn pause(&self) -> Duration {
        self.schedule.wait(Instant::now(), self.pipeline.source().fill())
    }

    /// Sleeps until a letter comes or the ring has something; when the ring has something that may
    /// still be repeated, only for a step, so that a ring that fills up is seen.
    fn wait(&mut self) {
        let mut fds = vec![PollFd::from_borrowed_fd(self.mail.bell(), PollFlags::IN)];
        let pause = self.pause();
        let time = match &self.wake {
            // A ring with something in it would end every sleep at once.
            Some(_) if self.pending => Some(pause.min(STEP)),
            Some(wake) => {
                fds.push(PollFd::new(wake, PollFlags::IN));
                None
            }
            None => Some(pause.max(UNWOKEN)),
        };
        let time = time.map(|time| Timespec {
            tv_sec: time.as_secs().cast_signed(),
            tv_nsec: time.subsec_nanos().into(),
        });
        match poll(&mut fds, time.as_ref()) {
            // No letter: the time is over, or the ring has something.
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
        if let Err(error) = self.pipeline.drain() {
            tracing::error!("{error}; refusals wait in the kernel");
        }
        self.schedule.drained(Instant::now());
        self.pending = false;
        self.vitals.set_log(self.pipeline.metrics());
    }

    fn control(&mut self, control: &crate::session::witness::Control) {
        for record in records(&self.host, control) {
            self.append(record);
        }
    }

    fn stopped(&mut self) {
        let by = Actor { uid: 0, user: None, pid: std::process::id(), session: None };
        self.append(Control::new(self.host.clone(), Act::DaemonStop, by));
    }

    fn append(&mut self, control: Control) {
        let act = control.act;
        if let Err(error) = self.pipeline.control(control) {
            tracing::error!("{error}; the log lacks an act of control: {act}");
        }
    }
}
