//! Connects the other stages: records of the ring buffer become lines of the log.
//!
//! A record leaves the ring only after the log has its line. So a daemon that is killed at any moment loses nothing:
//! records that it had not written are still in the ring, and those that it had written but not released are delivered
//! again and recognized by their number.

use std::{
    collections::{BTreeMap, VecDeque},
    mem::offset_of,
};

use agent_common::{event::EventHeader, id::Slot};
use serde::{Deserialize, Serialize};

use super::{
    decode::{Event, decode},
    enrich::{Context, enrich},
    fold::{Folded, Folder, is_look},
    journal::{Journal, JournalError},
    record::{Canary, Control, Lost, Outcome, Record, new_id},
    time::Time,
};

/// Where events come from: normally the pinned ring buffer.
pub trait EventSource {
    /// Calls `sink` with each record in the ring, the oldest first, and takes none out. Returns how many.
    fn peek(&mut self, sink: &mut dyn FnMut(&[u8])) -> usize;

    /// Takes out the oldest records, at most as many as the last [`EventSource::peek`] returned.
    fn release(&mut self, count: usize);

    /// For each slot that ever lost an event, how many it lost since the programs were loaded.
    fn lost(&mut self) -> Vec<(Slot, u64)>;

    /// Whether the last [`EventSource::peek`] left some records for the next.
    fn has_more(&self) -> bool {
        false
    }

    /// How full the ring is, in percent; a full one makes [`super::schedule::Schedule`] hurry.
    fn fill(&self) -> u8 {
        0
    }
}

/// Counts since the pipeline was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Drains that found something.
    pub drains: u64,
    /// Events taken from the ring, without those that were delivered again.
    pub events: u64,
    /// Events that came a second time.
    pub repeats: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Events that the kernel could not deliver.
    pub lost: u64,
    /// Lines written, of all kinds.
    pub lines: u64,
    /// Drains that could not be written, and were tried again later.
    pub failures: u64,
    /// Acts of control that wait in memory until the log can be written.
    pub waiting: u64,
    /// Acts of control that were dropped because too many waited.
    pub dropped: u64,
}

/// The most acts of control that wait in memory while the log can't be written.
const WAITING: usize = 4096;
/// How many of these may be refused or failed acts, so that somebody's endless refused requests do not displace acts
/// that were done.
const WAITING_REFUSED: usize = WAITING / 2;
/// How many waiting lines are written at once, so that a disk with little room takes some of them.
const WRITTEN: usize = 64;

/// The most batches of a drain: more than a full ring has.
const ROUNDS: usize = 8;

/// One batch of the ring.
#[derive(Default)]
struct Batch {
    /// How many records it has.
    peeked: usize,
    /// Events that are not in the log.
    events: u64,
    /// The same, folded.
    folder: Folder,
    /// The record of the last folded event.
    last: Vec<u8>,
    /// Events of the canary.
    canary: Vec<Event>,
    repeats: u64,
    /// How many records could not be decoded, by error.
    undecodable: BTreeMap<String, u64>,
}

impl Batch {
    /// The number of a record that differs from the last one only in time and number.
    fn repeated(&self, record: &[u8]) -> Option<u64> {
        const NUMBER: usize = offset_of!(EventHeader, sequence);
        const REST: usize = offset_of!(EventHeader, session);
        // Time and number are the first two fields.
        const { assert!(offset_of!(EventHeader, time) < NUMBER && NUMBER + 8 == REST) };
        let number = record.get(NUMBER..REST)?.try_into().ok()?;
        (record.get(REST..)? == self.last.get(REST..)?).then(|| u64::from_ne_bytes(number))
    }
}

/// Connects the stages. Owns the log.
#[derive(Debug)]
pub struct Pipeline<S, C> {
    source: S,
    context: C,
    journal: Journal,
    metrics: Metrics,
    /// Lines that could not be written yet, the oldest first.
    waiting: VecDeque<Record>,
    /// Lines that were dropped since the log last recorded that.
    dropped: u64,
    /// When the ring was read last; losses that are noticed now happened after that.
    since: Time,
    /// The number of the event that [`Self::is_scanned`] saw last.
    scanned: u64,
}

impl<S: EventSource, C: Context> Pipeline<S, C> {
    /// A pipeline from a source to a log.
    pub fn new(source: S, context: C, journal: Journal) -> Self {
        let since = journal.last_time().unwrap_or_else(Time::now);
        Self {
            source,
            context,
            journal,
            metrics: Metrics::default(),
            waiting: VecDeque::new(),
            dropped: 0,
            since,
            scanned: 0,
        }
    }

    /// Writes the ring's events to the log, then takes them out of the ring. Returns how many lines were written.
    ///
    /// # Errors
    /// When the log can't be written. Everything stays in the ring; try again.
    pub fn drain(&mut self) -> Result<usize, JournalError> {
        self.write_waiting()?;
        // An open log knows which events it has.
        self.journal.settle()?;
        let mut lines = 0;
        // After a full ring's batches only events that came meanwhile are left, and these can wait.
        for _ in 0..ROUNDS {
            lines += self.drain_some()?;
            if !self.source.has_more() {
                break;
            }
        }
        Ok(lines)
    }

    /// Whether a scan of all processes goes on: the ring's last event belongs to one, and came since this was asked
    /// last.
    pub fn is_scanned(&mut self) -> bool {
        let mut last = Vec::new();
        self.source.peek(&mut |record| {
            last.clear();
            last.extend_from_slice(record);
        });
        let Ok(event) = decode(&last) else { return false };
        let is_new = self.scanned != event.sequence;
        self.scanned = event.sequence;
        is_new && is_look(&event)
    }

    /// Writes one batch of the ring.
    fn drain_some(&mut self) -> Result<usize, JournalError> {
        let mut batch = self.look();
        let now = Time::now();
        let lost = self.newly_lost(now);
        let folded = std::mem::take(&mut batch.folder).finish();
        let mut records = self.incidents(&folded);
        records.extend(batch.undecodable.iter().map(|(error, count)| {
            let reason = format!("undecodable: {error}");
            Record::Lost(Box::new(Lost { count: *count, reason, ..self.blank_lost(now) }))
        }));
        let lost_count: u64 = lost.iter().map(|lost| lost.count).sum();
        records.extend(lost.into_iter().map(|lost| Record::Lost(Box::new(lost))));
        self.append(&records)?;
        self.source.release(batch.peeked);
        self.since = now;
        self.count(&batch, lost_count);
        if !batch.canary.is_empty() {
            let log = self.journal.ready().map_err(|error| error.to_string());
            self.context.canary(std::mem::take(&mut batch.canary), log);
        }
        Ok(records.len())
    }

    /// Writes an act of control to the log, now or as soon as it can be.
    ///
    /// # Errors
    /// When the log can't be written now.
    pub fn control(&mut self, control: Control) -> Result<(), JournalError> {
        let is_refused = !matches!(control.outcome, Outcome::Done);
        let room = if is_refused { WAITING_REFUSED } else { WAITING };
        self.keep(Record::Control(Box::new(control)), room)
    }

    /// Writes a report of the canary to the log, now or as soon as it can be.
    ///
    /// # Errors
    /// When the log can't be written now.
    pub fn canary(&mut self, canary: Canary) -> Result<(), JournalError> {
        self.keep(Record::Canary(Box::new(canary)), WAITING)
    }

    /// Adds a line to those that wait, unless there are `room` already, and writes all that wait.
    fn keep(&mut self, record: Record, room: usize) -> Result<(), JournalError> {
        if self.waiting.len() < room {
            self.waiting.push_back(record);
        } else {
            self.dropped += 1;
            self.metrics.dropped += 1;
        }
        self.write_waiting()
    }

    /// Writes the lines that wait, and records how many were dropped.
    ///
    /// # Errors
    /// When the log can't be written now: they go on waiting.
    pub fn write_waiting(&mut self) -> Result<(), JournalError> {
        while !self.waiting.is_empty() || self.dropped > 0 {
            let mut records: Vec<Record> = self.waiting.iter().take(WRITTEN).cloned().collect();
            let count = records.len();
            if count == 0 {
                let reason = "too many acts of control waited while the log could not be written";
                let lost = Lost {
                    count: self.dropped,
                    reason: reason.into(),
                    ..self.blank_lost(Time::now())
                };
                records.push(Record::Lost(Box::new(lost)));
            }
            let written = self.append(&records);
            if written.is_ok() {
                self.waiting.drain(..count);
                self.dropped = if count == 0 { 0 } else { self.dropped };
            }
            self.metrics.waiting = self.waiting.len() as u64;
            written?;
        }
        Ok(())
    }

    /// Whether the log could be written now.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn ready(&mut self) -> Result<(), JournalError> {
        self.journal.ready()
    }

    /// The lines that wait, without the log's chain.
    pub fn waiting(&self) -> impl Iterator<Item = &Record> {
        self.waiting.iter()
    }

    /// The counts so far.
    pub const fn metrics(&self) -> Metrics {
        self.metrics
    }

    /// The log.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The source.
    pub const fn source(&self) -> &S {
        &self.source
    }

    /// The context.
    pub const fn context(&mut self) -> &mut C {
        &mut self.context
    }

    /// Reads the ring without taking anything out.
    fn look(&mut self) -> Batch {
        let Self { source, journal, .. } = self;
        let mut batch = Batch::default();
        batch.peeked = source.peek(&mut |record| {
            if let Some(sequence) = batch.repeated(record)
                && !journal.has(sequence)
                && batch.folder.repeat(sequence)
            {
                batch.events += 1;
                return;
            }
            match decode(record) {
                // The canary's events have numbers of their own, and are not logged.
                Ok(event) if event.slot == Slot::CANARY => batch.canary.push(event),
                Ok(event) if journal.has(event.sequence) => batch.repeats += 1,
                Ok(event) => {
                    batch.events += 1;
                    batch.folder.add(event);
                    batch.last.clear();
                    batch.last.extend_from_slice(record);
                }
                Err(error) => *batch.undecodable.entry(error.to_string()).or_default() += 1,
            }
        });
        batch
    }

    fn incidents(&mut self, folded: &[Folded]) -> Vec<Record> {
        let epoch = self.journal.epoch();
        folded
            .iter()
            .map(|folded| Record::Incident(Box::new(enrich(folded, epoch, &mut self.context))))
            .collect()
    }

    /// Losses that the log does not have yet. A counter that went down began anew.
    fn newly_lost(&mut self, now: Time) -> Vec<Lost> {
        let mut found = Vec::new();
        for (slot, total) in self.source.lost() {
            let known = self.journal.lost_total(slot.0);
            let count = total.checked_sub(known).unwrap_or(total);
            if count > 0 {
                found.push(Lost {
                    session: self.context.session_at(slot),
                    count,
                    reason: "ring_full".into(),
                    slot: Some(slot.0),
                    total: Some(total),
                    ..self.blank_lost(now)
                });
            }
        }
        found
    }

    fn blank_lost(&self, now: Time) -> Lost {
        Lost {
            id: new_id(now),
            time: now,
            host: self.context.host().to_owned(),
            session: None,
            count: 0,
            since: self.since,
            reason: String::new(),
            slot: None,
            total: None,
            epoch: self.journal.epoch().to_owned(),
        }
    }

    fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        let written = self.journal.append(records);
        match written {
            Ok(()) => self.metrics.lines += records.len() as u64,
            Err(_) => self.metrics.failures += 1,
        }
        written
    }

    fn count(&mut self, batch: &Batch, lost: u64) {
        let metrics = &mut self.metrics;
        metrics.drains += u64::from(batch.peeked > 0 || lost > 0);
        metrics.events += batch.events;
        metrics.repeats += batch.repeats;
        metrics.undecodable += batch.undecodable.values().sum::<u64>();
        metrics.lost += lost;
    }
}

#[cfg(test)]
mod tests;
