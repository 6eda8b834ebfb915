//! The stage that ties the others together: what the ring buffer holds becomes lines of the log.
//!
//! A record leaves the ring only after the log has its line. So a daemon that is killed at any moment
//! loses nothing: what it had not written waits in the ring, and what it had written but not released
//! comes again and is known by its number.

use std::{
    collections::{BTreeMap, VecDeque},
    mem::offset_of,
};

use agent_common::{event::EventHeader, id::Slot};
use serde::{Deserialize, Serialize};

use super::{
    decode::{Event, decode},
    enrich::{Context, enrich},
    fold::{Folded, Folder},
    journal::{Journal, JournalError},
    record::{Canary, Control, Lost, Outcome, Record, new_id},
    time::Time,
};

/// Where events come from: normally the pinned ring buffer.
pub trait EventSource {
    /// Calls `sink` with each record that is there, oldest first, and takes none out. Returns how many.
    fn peek(&mut self, sink: &mut dyn FnMut(&[u8])) -> usize;

    /// Takes out the oldest records: as many as the last [`EventSource::peek`] returned, or fewer.
    fn release(&mut self, count: usize);

    /// For each slot that ever lost an event, how many it lost since the programs were loaded.
    fn lost(&mut self) -> Vec<(Slot, u64)>;

    /// Whether the last [`EventSource::peek`] left some that were there for the next.
    fn has_more(&self) -> bool {
        false
    }

    /// How full the buffer is, in percent; lets [`super::schedule::Schedule`] hurry.
    fn fill(&self) -> u8 {
        0
    }
}

/// What the pipeline has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metrics {
    /// Drains that found something.
    pub drains: u64,
    /// Events taken from the ring, those known already left out.
    pub events: u64,
    /// Events that came a second time.
    pub repeats: u64,
    /// Records that are no event.
    pub undecodable: u64,
    /// Events that the kernel could not deliver.
    pub lost: u64,
    /// Lines written, those of control included.
    pub lines: u64,
    /// Drains that could not be written, and were kept for later.
    pub failures: u64,
    /// Lines of control that wait in memory until the log can be written.
    pub waiting: u64,
    /// Lines of control that were dropped because too many waited.
    pub dropped: u64,
}

/// Lines of control that are kept while the log can't be written.
const WAITING: usize = 4096;
/// Of these, how many may be of acts that were refused or failed: whoever asks for what is refused, over and over,
/// must not crowd out what was done.
const WAITING_REFUSED: usize = WAITING / 2;
/// Lines that are written at once where many waited: of a disk with little room, some get onto it.
const WRITTEN: usize = 64;

/// Looks into the ring that a drain takes at most: what a full one holds, and some more.
const ROUNDS: usize = 8;

/// What one look into the ring found.
#[derive(Default)]
struct Batch {
    /// Records looked at.
    peeked: usize,
    /// Events that are not in the log.
    events: u64,
    /// The same, folded.
    folder: Folder,
    /// The record of the event that was folded last.
    last: Vec<u8>,
    /// Events of the canary.
    canary: Vec<Event>,
    repeats: u64,
    /// Records that are no event, by what is wrong with them.
    undecodable: BTreeMap<String, u64>,
}

impl Batch {
    /// The number of a record that differs from the last one in time and number alone.
    fn repeated(&self, record: &[u8]) -> Option<u64> {
        const NUMBER: usize = offset_of!(EventHeader, sequence);
        const REST: usize = offset_of!(EventHeader, session);
        // The time is before the number, and all else behind it.
        const { assert!(offset_of!(EventHeader, time) < NUMBER && NUMBER + 8 == REST) };
        let number = record.get(NUMBER..REST)?.try_into().ok()?;
        (record.get(REST..)? == self.last.get(REST..)?).then(|| u64::from_ne_bytes(number))
    }
}

/// The stage that ties the others together. Owns the log.
#[derive(Debug)]
pub struct Pipeline<S, C> {
    source: S,
    context: C,
    journal: Journal,
    metrics: Metrics,
    /// Lines that the log has yet to have, the oldest first.
    waiting: VecDeque<Record>,
    /// Lines that were dropped since the log last said so.
    dropped: u64,
    /// When the ring was last read; losses that show now happened after that.
    since: Time,
}

impl<S: EventSource, C: Context> Pipeline<S, C> {
    /// From a source to a log.
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
        }
    }

    /// Writes what the ring holds to the log, then takes it out of the ring. Returns how many lines
    /// were written. At most one second's events should wait; a query drains first, so that it sees all.
    ///
    /// # Errors
    /// When the log can't be written. Everything stays in the ring; try again.
    pub fn drain(&mut self) -> Result<usize, JournalError> {
        self.write_waiting()?;
        // What the log has is known once it is open.
        self.journal.settle()?;
        let mut lines = 0;
        // More rounds than a full ring takes are for what came meanwhile, which can wait.
        for _ in 0..ROUNDS {
            lines += self.drain_some()?;
            if !self.source.has_more() {
                break;
            }
        }
        Ok(lines)
    }

    /// Writes what one look into the ring found.
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

    /// Writes what came of a run of the canary to the log, now or as soon as it can be.
    ///
    /// # Errors
    /// When the log can't be written now.
    pub fn canary(&mut self, canary: Canary) -> Result<(), JournalError> {
        self.keep(Record::Canary(Box::new(canary)), WAITING)
    }

    /// Takes a line, where no more than so many wait, and writes all that wait.
    fn keep(&mut self, record: Record, room: usize) -> Result<(), JournalError> {
        if self.waiting.len() < room {
            self.waiting.push_back(record);
        } else {
            self.dropped += 1;
            self.metrics.dropped += 1;
        }
        self.write_waiting()
    }

    /// Writes the lines that wait, and says how many there were no room for.
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

    /// Whether the log could take a line now, where none waits to show it.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn ready(&mut self) -> Result<(), JournalError> {
        self.journal.ready()
    }

    /// The lines that wait, as they would stand in the log but for its chain.
    pub fn waiting(&self) -> impl Iterator<Item = &Record> {
        self.waiting.iter()
    }

    /// What has been done so far.
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

    /// What the daemon knows.
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
                // Its numbers are its own, so none is in the log.
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

    /// Losses that the log does not tell of yet. A counter that went down began anew.
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
