//! The log across restarts, crashes, full disks and rotations.

use std::os::unix::fs::PermissionsExt as _;

use super::{chain::GENESIS, *};
use crate::incident::{
    enrich::enrich,
    fold::fold,
    query::verify,
    record::{Act, Actor, Control, Lost, new_id},
    testing::{TestContext, event},
    time::Time,
};

fn incident(sequence: u64) -> Record {
    Record::Incident(Box::new(enrich(&fold([event(sequence)])[0], "boot", &mut TestContext)))
}

fn options(dir: &Path) -> Options {
    Options { sync: false, ..Options::new(dir, "boot") }
}

fn open(dir: &Path) -> Journal {
    Journal::open(options(dir)).unwrap()
}

fn text(dir: &Path) -> String {
    fs::read_to_string(files::current(dir)).unwrap()
}

#[test]
fn reopened_log_continues_the_chain_and_knows_its_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    assert_eq!((journal.last_sequence(), journal.head()), (None, GENESIS));
    journal.append(&[incident(1), incident(2)]).unwrap();
    journal.append(&[incident(4)]).unwrap();
    let head = journal.head().to_owned();
    drop(journal);
    let mut journal = open(dir.path());
    assert_eq!((journal.last_sequence(), journal.head()), (Some(4), head.as_str()));
    assert!(journal.has(2) && !journal.has(3));
    journal.append(&[incident(3)]).unwrap();
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.broken, report.lines, report.missing), (None, 4, 0));
}

#[test]
fn reopened_log_of_another_epoch_only_continues_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.append(&[incident(1)]).unwrap();
    let other = Journal::open(Options { epoch: "other".into(), ..options(dir.path()) }).unwrap();
    assert_eq!(other.last_sequence(), None);
    assert_eq!(other.head(), journal.head());
}

#[test]
fn log_file_is_readable_by_owner_and_group_only() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path());
    let mode = fs::metadata(files::current(dir.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
}

#[test]
fn torn_last_line_is_removed_and_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.append(&[incident(1), incident(2)]).unwrap();
    drop(journal);
    let whole = text(dir.path());
    for cut in 1..40 {
        fs::write(files::current(dir.path()), &whole[..whole.len() - cut]).unwrap();
        let mut journal = open(dir.path());
        assert_eq!(journal.last_sequence(), Some(1), "{cut}");
        journal.append(&[incident(2)]).unwrap();
        let report = verify(dir.path()).unwrap();
        assert_eq!((report.broken, report.lines), (None, 3), "{cut}");
        let after = text(dir.path());
        let note = Record::parse(after.lines().nth(1).unwrap()).unwrap();
        let Record::Repaired(note) = note else { panic!("{note:?}") };
        assert!(note.text.starts_with(r#"{"kind":"incident""#) && note.bytes > 100);
    }
}

#[test]
fn file_with_only_a_torn_line_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(files::current(dir.path()), b"{\"kind\":").unwrap();
    open(dir.path()).append(&[incident(1)]).unwrap();
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.broken, report.lines), (None, 2));
}

#[test]
fn failed_write_leaves_the_log_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.append(&[incident(1)]).unwrap();
    let before = text(dir.path());
    // A file opened for reading refuses writes, and a file cut short stands for the half-written line.
    journal.file = File::open(files::current(dir.path())).unwrap();
    assert!(matches!(journal.append(&[incident(2)]), Err(JournalError::Write { .. })));
    assert_eq!(text(dir.path()), before);
    assert_eq!((journal.last_sequence(), journal.cut), (Some(1), Some(before.len() as u64)));
    journal.file = open_file(&journal.path, None).unwrap();
    fs::write(&journal.path, format!("{before}{{\"ki")).unwrap();
    journal.append(&[incident(2)]).unwrap();
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.broken, report.lines), (None, 2));
}

#[test]
fn full_disk_is_an_error_and_the_records_can_be_appended_later() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        eprintln!("skipped: no /dev/full here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.file = File::options().append(true).open(full).unwrap();
    // The device is not the file of that name, so what is checked is the write alone.
    assert!(matches!(journal.write(b"x"), Err(JournalError::Write { .. })));
    journal.cut = None;
    journal.append(&[incident(1)]).unwrap();
    assert_eq!(verify(dir.path()).unwrap().lines, 1);
}

#[test]
fn rotation_keeps_the_chain_and_removes_the_oldest_file() {
    let dir = tempfile::tempdir().unwrap();
    let small = Options { max_bytes: 4_096, keep: 3, ..options(dir.path()) };
    let mut journal = Journal::open(small.clone()).unwrap();
    for sequence in 1..=40 {
        if sequence % 7 == 0 {
            journal = Journal::open(small.clone()).unwrap();
        }
        journal.append(&[incident(sequence)]).unwrap();
    }
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.broken, report.files), (None, 4));
    assert!(report.lines < 40 && report.first_prev != GENESIS);
    assert!(!dir.path().join("incidents.jsonl.4").exists());
    assert!(journal.has(40) && journal.last_sequence() == Some(40));
}

#[test]
fn rotation_of_a_file_with_a_torn_line_keeps_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.append(&[incident(1), incident(2)]).unwrap();
    let whole = text(dir.path());
    fs::write(files::current(dir.path()), &whole[..whole.len() - 9]).unwrap();
    let mut journal = Journal::open(Options { max_bytes: 1_000, ..options(dir.path()) }).unwrap();
    journal.append(&[incident(2)]).unwrap();
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.broken, report.files, report.lines), (None, 2, 3));
}

#[test]
fn file_that_was_moved_away_is_begun_anew_with_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.append(&[incident(1)]).unwrap();
    fs::rename(files::current(dir.path()), dir.path().join("incidents.jsonl.1")).unwrap();
    journal.append(&[incident(2)]).unwrap();
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.broken, report.files, report.lines), (None, 2, 2));
}

#[test]
fn empty_file_after_a_rotation_continues_the_chain() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = open(dir.path());
    journal.append(&[incident(1)]).unwrap();
    files::rotate(dir.path(), 8).unwrap();
    let reopened = open(dir.path());
    assert_eq!(reopened.head(), journal.head());
    assert!(reopened.has(1));
}

#[test]
fn reopened_log_knows_the_totals_of_losses() {
    let dir = tempfile::tempdir().unwrap();
    let time = Time::now();
    let lost = |total| {
        Record::Lost(Box::new(Lost {
            id: new_id(time),
            time,
            host: "h1".into(),
            session: None,
            count: 1,
            since: time,
            reason: "ring_full".into(),
            slot: Some(3),
            total: Some(total),
            epoch: "boot".into(),
        }))
    };
    let mut journal = open(dir.path());
    journal.append(&[lost(5)]).unwrap();
    files::rotate(dir.path(), 8).unwrap();
    journal.append(&[lost(9)]).unwrap();
    let reopened = open(dir.path());
    assert_eq!((reopened.lost_total(3), reopened.lost_total(4)), (9, 0));
}

#[test]
fn control_lines_and_incidents_share_one_chain() {
    let dir = tempfile::tempdir().unwrap();
    let by = Actor { uid: 0, user: Some("root".into()), pid: 1, session: None };
    let control = Record::Control(Box::new(Control::new("h1", Act::DaemonStart, by)));
    let mut journal = open(dir.path());
    journal.append(&[control.clone(), incident(1), control]).unwrap();
    journal.append(&[]).unwrap();
    assert_eq!(verify(dir.path()).unwrap().lines, 3);
}
