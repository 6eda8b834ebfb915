//! From a ring to the log: repeats, crashes, losses, garbage, a full disk.

use std::{collections::VecDeque, fs, path::Path};

use agent_common::{
    decision::Reason,
    id::{BootNanos, SessionId},
};

use super::*;
use crate::incident::{
    enrich::Explanation,
    journal::{Options, files},
    query::{Filter, find, verify},
    record::{Incident, Session},
    testing::{TestContext, encode, event, file_event},
};

/// A ring in memory.
#[derive(Debug, Default)]
struct Ring {
    records: VecDeque<Vec<u8>>,
    lost: Vec<(Slot, u64)>,
    /// A daemon that dies before it releases.
    dies: bool,
}

impl EventSource for Ring {
    fn peek(&mut self, sink: &mut dyn FnMut(&[u8])) -> usize {
        self.records.iter().for_each(|record| sink(record));
        self.records.len()
    }

    fn release(&mut self, count: usize) {
        if !self.dies {
            self.records.drain(..count);
        }
    }

    fn lost(&mut self) -> Vec<(Slot, u64)> {
        self.lost.clone()
    }
}

fn ring(events: impl IntoIterator<Item = Event>) -> Ring {
    Ring { records: events.into_iter().map(|event| encode(&event)).collect(), ..Ring::default() }
}

/// A context that keeps what is the canary's.
#[derive(Default)]
struct Cage(Vec<(Vec<u64>, Result<(), String>)>);

impl Context for Cage {
    fn host(&self) -> &str {
        TestContext.host()
    }

    fn boot_offset(&self) -> i128 {
        TestContext.boot_offset()
    }

    fn session(&self, slot: Slot, id: SessionId) -> Option<Session> {
        TestContext.session(slot, id)
    }

    fn session_at(&self, slot: Slot) -> Option<Session> {
        TestContext.session_at(slot)
    }

    fn explain(&self, event: &Event) -> Explanation {
        TestContext.explain(event)
    }

    fn exe(&mut self, pid: u32, before: BootNanos) -> Option<Vec<u8>> {
        TestContext.exe(pid, before)
    }

    fn canary(&mut self, events: Vec<Event>, log: Result<(), String>) {
        self.0.push((events.iter().map(|event| event.sequence).collect(), log));
    }
}

#[test]
fn canary_events_are_passed_on_after_the_others_are_logged() {
    let dir = tempfile::tempdir().unwrap();
    // Its numbers are its own: the same ones mean others in the log.
    let canary = |sequence| Event { slot: Slot::CANARY, ..event(sequence) };
    let source = ring([event(1), canary(1), event(2), canary(2)]);
    let options = Options { sync: false, ..Options::new(dir.path(), "boot") };
    let mut pipeline = Pipeline::new(source, Cage::default(), Journal::open(options).unwrap());
    assert_eq!(pipeline.drain().unwrap(), 1);
    assert!(pipeline.source.records.is_empty());
    assert_eq!(pipeline.context.0, [(vec![1, 2], Ok(()))]);
    assert_eq!(incidents(dir.path())[0].count, 2);
    assert_eq!(pipeline.metrics().events, 2);
    pipeline.source.records.push_back(encode(&event(3)));
    assert_eq!(pipeline.drain().unwrap(), 1);
    assert_eq!(pipeline.context.0.len(), 1);
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.missing, report.broken), (0, None));
}

#[test]
fn canary_events_come_with_an_error_if_the_log_can_not_be_written() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let options = Options { sync: false, ..Options::new(&dir, "boot") };
    let source = ring([Event { slot: Slot::CANARY, ..event(1) }]);
    let mut pipeline = Pipeline::new(source, Cage::default(), Journal::open(options).unwrap());
    fs::remove_dir_all(&dir).unwrap();
    fs::write(&dir, "in its place").unwrap();
    assert_eq!(pipeline.drain().unwrap(), 0);
    let (numbers, log) = &pipeline.context.0[0];
    assert_eq!(numbers, &[1]);
    assert!(log.as_ref().is_err_and(|error| error.contains("incidents.jsonl")), "{log:?}");
}

fn pipeline(dir: &Path, source: Ring) -> Pipeline<Ring, TestContext> {
    let options = Options { sync: false, ..Options::new(dir, "boot") };
    Pipeline::new(source, TestContext, Journal::open(options).unwrap())
}

fn records(dir: &Path) -> Vec<Record> {
    find(dir, &Filter::default()).unwrap().into_iter().map(|entry| entry.record).collect()
}

fn incidents(dir: &Path) -> Vec<Incident> {
    let only = |record| match record {
        Record::Incident(incident) => Some(*incident),
        _ => None,
    };
    records(dir).into_iter().filter_map(only).collect()
}

#[test]
fn drained_events_are_logged_and_leave_the_ring() {
    let dir = tempfile::tempdir().unwrap();
    let mut pipeline = pipeline(dir.path(), ring((1..=3).map(event)));
    assert_eq!(pipeline.drain().unwrap(), 1);
    assert!(pipeline.source.records.is_empty());
    assert_eq!(pipeline.drain().unwrap(), 0);
    let incidents = incidents(dir.path());
    assert_eq!((incidents.len(), incidents[0].count), (1, 3));
    let metrics = Metrics { drains: 1, events: 3, lines: 1, ..Metrics::default() };
    assert_eq!(pipeline.metrics(), metrics);
}

#[test]
fn scan_goes_on_while_the_last_event_is_a_new_look_at_a_process() {
    let dir = tempfile::tempdir().unwrap();
    let look = |number| file_event(number, "/proc/1/stat", Reason::NoTool);
    let mut pipeline = pipeline(dir.path(), ring([event(1), look(2)]));
    assert!(pipeline.is_scanned());
    assert!(!pipeline.is_scanned(), "nothing came");
    pipeline.source.records.push_back(encode(&look(3)));
    assert!(pipeline.is_scanned());
    pipeline.source.records.push_back(encode(&event(4)));
    assert!(!pipeline.is_scanned());
    pipeline.drain().unwrap();
    let found: Vec<_> = incidents(dir.path()).iter().map(|it| it.count).collect();
    assert_eq!(found, [2, 2]);
}

#[test]
fn events_delivered_again_after_a_crash_are_logged_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = pipeline(dir.path(), Ring { dies: true, ..ring((1..=3).map(event)) });
    first.drain().unwrap();
    let mut source = Ring { dies: false, ..first.source };
    // Number five overtook number four, and was written before the crash.
    source.records.push_back(encode(&Event { pid: 1, ..event(5) }));
    let mut second = pipeline(dir.path(), source);
    assert_eq!(second.drain().unwrap(), 1);
    second.source.records.push_back(encode(&Event { pid: 2, ..event(4) }));
    assert_eq!(second.drain().unwrap(), 1);
    assert_eq!(second.metrics().repeats, 3);
    let counts: Vec<_> =
        incidents(dir.path()).iter().map(|one| (one.sequence, one.count)).collect();
    assert_eq!(counts, [(1, 3), (5, 1), (4, 1)]);
    assert_eq!(verify(dir.path()).unwrap().missing, 0);
}

#[test]
fn crash_at_any_byte_of_a_batch_loses_and_repeats_nothing() {
    // Two refusals in turn, and one alone: folded lines whose numbers interleave.
    let batch = (1..=6).map(|number| Event { pid: 100 + number as u32 % 2, ..event(number) });
    let batch: Vec<_> = batch.chain([Event { pid: 7, ..event(7) }]).collect();
    let whole = tempfile::tempdir().unwrap();
    pipeline(whole.path(), ring(batch.clone())).drain().unwrap();
    let text = fs::read(files::current(whole.path())).unwrap();
    for cut in (0..=text.len()).step_by(23) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(files::current(dir.path()), &text[..cut]).unwrap();
        pipeline(dir.path(), ring(batch.clone())).drain().unwrap();
        let mut numbers: Vec<u64> = incidents(dir.path())
            .iter()
            .flat_map(|one| one.ranges())
            .flat_map(|(first, last)| first..=last)
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7], "{cut}");
        let report = verify(dir.path()).unwrap();
        assert_eq!((report.broken, report.missing), (None, 0), "{cut}");
    }
}

#[test]
fn events_stay_in_the_ring_while_the_log_can_not_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut pipeline = pipeline(dir.path(), ring([event(1)]));
    fs::remove_file(files::current(dir.path())).unwrap();
    // A folder in the log's place can't be written.
    fs::create_dir(files::current(dir.path())).unwrap();
    assert!(pipeline.drain().is_err());
    assert_eq!((pipeline.source.records.len(), pipeline.metrics().failures), (1, 1));
    fs::remove_dir(files::current(dir.path())).unwrap();
    assert_eq!(pipeline.drain().unwrap(), 1);
    assert_eq!(incidents(dir.path()).len(), 1);
}

#[test]
fn losses_are_logged_by_session_whenever_they_grow() {
    let dir = tempfile::tempdir().unwrap();
    let lost = vec![(Slot(3), 5), (Slot(4), 1)];
    let mut first = pipeline(dir.path(), Ring { lost, ..ring([]) });
    assert_eq!((first.drain().unwrap(), first.drain().unwrap()), (2, 0));
    let lost = vec![(Slot(3), 7), (Slot(4), 1)];
    let mut second = pipeline(dir.path(), Ring { lost, ..ring([]) });
    assert_eq!(second.drain().unwrap(), 1);
    let told: Vec<_> = records(dir.path())
        .into_iter()
        .map(|record| match record {
            Record::Lost(lost) => (lost.session.map(|session| session.name), lost.count),
            other => panic!("{other:?}"),
        })
        .collect();
    let fix = Some("fix-42".to_owned());
    assert_eq!(told, [(fix.clone(), 5), (None, 1), (fix, 2)]);
}

#[test]
fn undecodable_records_are_logged_as_lost_and_leave_the_ring() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = ring([event(1)]);
    source.records.push_back(vec![1, 2, 3]);
    source.records.push_back(vec![1, 2, 3]);
    let mut pipeline = pipeline(dir.path(), source);
    assert_eq!(pipeline.drain().unwrap(), 2);
    assert!(pipeline.source.records.is_empty());
    assert_eq!(pipeline.metrics().undecodable, 2);
    let Record::Lost(lost) = &records(dir.path())[1] else { panic!() };
    assert_eq!((lost.count, lost.reason.as_str()), (2, "undecodable: record of 3 bytes, 8 needed"));
}

fn act(number: u32, outcome: Outcome) -> Control {
    let by = crate::incident::Actor { uid: 0, user: None, pid: number, session: None };
    Control { outcome, ..Control::new("h1", crate::incident::Act::Grant, by) }
}

#[test]
fn acts_wait_in_order_until_the_log_can_be_written() {
    let home = tempfile::tempdir().unwrap();
    let (dir, aside) = (home.path().join("log"), home.path().join("aside"));
    let mut pipeline = pipeline(&dir, Ring::default());
    fs::rename(&dir, &aside).unwrap();
    fs::write(&dir, "in its place").unwrap();
    for number in 0..40 {
        assert!(pipeline.control(act(number, Outcome::Done)).is_err());
    }
    assert_eq!((pipeline.metrics().waiting, pipeline.metrics().dropped), (40, 0));
    // Refused ones crowd nobody out.
    for number in 0..5000 {
        assert!(pipeline.control(act(number, Outcome::Refused)).is_err());
    }
    assert!(pipeline.control(act(40, Outcome::Done)).is_err());
    assert_eq!((pipeline.metrics().waiting, pipeline.metrics().dropped), (2049, 5040 - 2048));
    fs::remove_file(&dir).unwrap();
    fs::rename(&aside, &dir).unwrap();
    pipeline.drain().unwrap();
    assert_eq!(pipeline.metrics().waiting, 0);
    let records = records(&dir);
    let done = records.iter().filter_map(|record| match record {
        Record::Control(control) if control.outcome == Outcome::Done => Some(control.by.pid),
        _ => None,
    });
    assert_eq!(done.collect::<Vec<_>>(), (0..41).collect::<Vec<_>>());
    let Some(Record::Lost(lost)) = records.last() else { panic!("{records:?}") };
    assert_eq!(lost.count, 5040 - 2048);
    assert_eq!((records.len(), verify(&dir).unwrap().broken), (2050, None));
}

#[test]
fn log_that_is_opened_later_has_nothing_twice() {
    let home = tempfile::tempdir().unwrap();
    let (dir, aside) = (home.path().join("log"), home.path().join("aside"));
    pipeline(&dir, ring([event(1)])).drain().unwrap();
    fs::rename(&dir, &aside).unwrap();
    fs::write(&dir, "in its place").unwrap();
    let options = Options { sync: false, ..Options::new(&dir, "boot") };
    assert!(Journal::open(options.clone()).is_err());
    let source = ring([event(1), event(2)]);
    let mut pipeline = Pipeline::new(source, TestContext, Journal::later(options).unwrap());
    assert!(pipeline.drain().is_err());
    assert!(pipeline.control(act(7, Outcome::Done)).is_err());
    fs::remove_file(&dir).unwrap();
    fs::rename(&aside, &dir).unwrap();
    pipeline.drain().unwrap();
    assert_eq!(pipeline.metrics().repeats, 1);
    assert_eq!(incidents(&dir).iter().map(|found| found.count).sum::<u64>(), 2);
    assert_eq!(verify(&dir).unwrap().broken, None);
}
