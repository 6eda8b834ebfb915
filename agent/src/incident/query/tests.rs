//! Searching, following, summing up and verifying logs, whole and tampered with.

use std::fs;

use agent_common::decision::Reason;

use super::*;
use crate::incident::{
    decode::Event,
    enrich::enrich,
    fold::fold,
    journal::{Journal, Options, files},
    record::{Act, Actor, Control, Kind, Record},
    testing::{TestContext, event, file_event, session},
    time::Time,
};

fn incident(event: Event) -> Record {
    Record::Incident(Box::new(enrich(&fold([event])[0], "boot", &mut TestContext)))
}

fn control(act: Act) -> Record {
    let by = Actor { uid: 0, user: Some("root".into()), pid: 1, session: None };
    let mut control = Control::new("h1", act, by);
    control.session = Some(session());
    control.time = "2026-11-24T09:30:01Z".parse().map(Time::new).unwrap();
    Record::Control(Box::new(control))
}

/// Eight lines over several files.
fn log() -> (tempfile::TempDir, Journal) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { sync: false, max_bytes: 2_000, ..Options::new(dir.path(), "boot") };
    let mut journal = Journal::open(options).unwrap();
    let other = Event { session: agent_common::id::SessionId(7), ..event(5) };
    for record in [
        control(Act::Start),
        incident(event(1)),
        incident(file_event(2, "/etc/shadow", Reason::ExplicitDeny)),
        incident(file_event(3, "/w/a", Reason::NoTool)),
        incident(event(4)),
        incident(other),
        control(Act::End),
        incident(event(9)),
    ] {
        journal.append(&[record]).unwrap();
    }
    (dir, journal)
}

fn now() -> Time {
    Time::new("2026-11-24T10:00:00Z".parse().unwrap())
}

fn numbers(dir: &Path, text: FilterText) -> Vec<u64> {
    find(dir, &text.check(now()).unwrap())
        .unwrap()
        .iter()
        .map(|entry| match &entry.record {
            Record::Incident(incident) => incident.sequence,
            _ => 0,
        })
        .collect()
}

#[test]
fn lines_of_all_files_come_in_order() {
    let (dir, _journal) = log();
    assert!(dir.path().join("incidents.jsonl.2").exists());
    assert_eq!(numbers(dir.path(), FilterText::default()), [0, 1, 2, 3, 4, 5, 0, 9]);
}

#[test]
fn filter_keeps_the_lines_that_meet_each_condition() {
    let (dir, _journal) = log();
    let set = |change: fn(&mut FilterText)| {
        let mut text = FilterText::default();
        change(&mut text);
        numbers(dir.path(), text)
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(set(|f| f.session = Some("fix-42".into())), [0, 1, 2, 3, 4, 0, 9]);
    assert_eq!(set(|f| f.session = Some("0000000000000007".into())), [5]);
    assert_eq!(set(|f| f.operation = Some("file.open".into())), [2, 3]);
    for family in ["net.", "net.*", "net"] {
        let text = FilterText { operation: some(family), ..FilterText::default() };
        assert_eq!(numbers(dir.path(), text), [1, 4, 5, 9], "{family}");
    }
    assert_eq!(set(|f| f.reason = Some("explicit_deny".into())), [2]);
    assert_eq!(set(|f| f.verdict = Some("would_deny".into())), [0; 0]);
    assert_eq!(set(|f| f.kind = Some("control".into())), [0, 0]);
    assert_eq!(set(|f| f.reference = Some("T1552".into())), [2]);
    assert_eq!(set(|f| f.reference = Some("A2".into())), [1, 2, 3, 4, 5, 9]);
    assert_eq!(set(|f| f.limit = Some(2)), [0, 9]);
    assert_eq!(set(|f| f.since = Some("2026-11-24T09:30:00.000005Z".into())), [0, 5, 0, 9]);
    assert_eq!(set(|f| f.until = Some("2026-11-24T09:30:00.000003Z".into())), [1, 2]);
    assert_eq!(set(|f| f.since = Some("29m".into())), [0; 0]);
    assert_eq!(set(|f| f.since = Some("1h".into())), [0, 1, 2, 3, 4, 5, 0, 9]);
}

#[test]
fn filter_with_an_unknown_word_suggests_the_right_one() {
    let error = |text: FilterText| text.check(now()).unwrap_err().to_string();
    let operation = FilterText { operation: Some("net.conect".into()), ..Default::default() };
    assert_eq!(error(operation), "unknown operation `net.conect`\n  did you mean `net.connect`?");
    let verdict = FilterText { verdict: Some("x".into()), ..Default::default() };
    assert_eq!(error(verdict), "unknown verdict `x`\n  known: denied, would_deny");
    let since = FilterText { since: Some("soon".into()), ..Default::default() };
    assert!(error(since).starts_with("`soon` is neither a time nor an age\n"));
}

#[test]
fn line_is_found_by_id_and_another_is_not() {
    let (dir, _journal) = log();
    let all = find(dir.path(), &Filter::default()).unwrap();
    let wanted = &all[3];
    let found = by_id(dir.path(), &Filter::default(), &wanted.record.id().to_lowercase()).unwrap();
    assert_eq!(found.as_ref(), Some(wanted));
    assert_eq!(by_id(dir.path(), &Filter::default(), "01J").unwrap(), None);
}

#[test]
fn summary_counts_refusals_and_tools() {
    let (dir, _journal) = log();
    let summary = summary(dir.path(), &Filter::default(), 1).unwrap();
    assert_eq!((summary.refusals, summary.controls, summary.lost), (6, 2, 0));
    let count = |name: &str, count| Count { name: name.into(), count };
    assert_eq!(summary.by_session, [count("fix-42", 5), count("0000000000000007", 1)]);
    assert_eq!(summary.by_operation, [count("net.connect", 4), count("file.open", 2)]);
    assert_eq!(summary.by_reason, [count("no_tool", 5), count("explicit_deny", 1)]);
    assert_eq!(summary.by_object, [count("203.0.113.7:443/tcp", 4)]);
    assert_eq!(summary.would_allow, [count("github", 5)]);
}

#[test]
fn follow_reads_each_line_once_through_rotations() {
    let (dir, mut journal) = log();
    let all = Filter::default();
    let mut cursor = Cursor::default();
    let mut read = Vec::new();
    loop {
        let followed = follow(dir.path(), cursor, &all, 3).unwrap();
        assert!(!followed.missed && followed.entries.len() <= 3);
        if followed.entries.is_empty() {
            break;
        }
        cursor = followed.cursor.to_string().parse().unwrap();
        read.extend(followed.entries.into_iter().map(|entry| entry.text));
    }
    assert_eq!(read.len(), 8);
    assert_eq!(cursor, end(dir.path()).unwrap());
    for sequence in 10..20 {
        journal.append(&[incident(event(sequence))]).unwrap();
    }
    let filter = Filter { kind: Some(Kind::Incident), ..Filter::default() };
    let followed = follow(dir.path(), cursor, &filter, 100).unwrap();
    assert_eq!((followed.entries.len(), followed.missed), (10, false));
}

#[test]
fn follow_leaves_a_line_that_is_being_written_for_later() {
    let (dir, _journal) = log();
    let from = end(dir.path()).unwrap();
    let path = files::current(dir.path());
    let whole = fs::read_to_string(&path).unwrap();
    let line = whole.lines().last().unwrap();
    fs::write(&path, format!("{whole}{}", &line[..50])).unwrap();
    let followed = follow(dir.path(), from, &Filter::default(), 9).unwrap();
    assert_eq!((followed.entries.len(), followed.cursor), (0, from));
    fs::write(&path, format!("{whole}{line}\n")).unwrap();
    assert_eq!(follow(dir.path(), from, &Filter::default(), 9).unwrap().entries.len(), 1);
}

#[test]
fn follow_from_behind_the_end_continues_at_the_end() {
    let (dir, mut journal) = log();
    let last = end(dir.path()).unwrap();
    let behind = Cursor { offset: last.offset + 500, ..last };
    let followed = follow(dir.path(), behind, &Filter::default(), 9).unwrap();
    assert_eq!((followed.entries.len(), followed.cursor, followed.missed), (0, last, false));
    journal.append(&[incident(event(20))]).unwrap();
    assert_eq!(follow(dir.path(), last, &Filter::default(), 9).unwrap().entries.len(), 1);
}

#[test]
fn follow_from_a_removed_file_reports_missed_lines() {
    let (dir, _journal) = log();
    let gone = Cursor { inode: u64::MAX, offset: 0 };
    let followed = follow(dir.path(), gone, &Filter::default(), 100).unwrap();
    assert_eq!((followed.entries.len(), followed.missed), (8, true));
    assert!("12".parse::<Cursor>().is_err() && "a-b".parse::<Cursor>().is_err());
}

/// A log of six lines in one file.
fn flat() -> (tempfile::TempDir, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let mut journal =
        Journal::open(Options { sync: false, ..Options::new(dir.path(), "boot") }).unwrap();
    let records: Vec<_> = (1..=6).map(|sequence| incident(event(sequence))).collect();
    journal.append(&records).unwrap();
    let text = fs::read_to_string(files::current(dir.path())).unwrap();
    (dir, text.lines().map(Into::into).collect())
}

fn broken_at(dir: &Path, lines: &[String]) -> Option<u64> {
    fs::write(files::current(dir), lines.join("\n") + "\n").unwrap();
    verify(dir).unwrap().broken.map(|broken| broken.line)
}

#[test]
fn verify_of_an_untouched_log_finds_nothing() {
    let (dir, journal) = log();
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.broken.clone(), report.lines, report.torn), (None, 8, false));
    assert_eq!(report.head, journal.head());
    assert!(report.from_the_beginning());
    // Numbers six to eight are missing, and no line accounts for them.
    assert_eq!((report.missing, report.unaccounted()), (3, 3));
}

#[test]
fn verify_finds_a_line_changed_removed_moved_or_added() {
    let (dir, lines) = flat();
    assert_eq!(broken_at(dir.path(), &lines), None);
    let mut changed = lines.clone();
    changed[2] = changed[2].replace("curl", "wget");
    assert_eq!(broken_at(dir.path(), &changed), Some(4));
    let mut removed = lines.clone();
    removed.remove(2);
    assert_eq!(broken_at(dir.path(), &removed), Some(3));
    let mut moved = lines.clone();
    moved.swap(2, 3);
    assert_eq!(broken_at(dir.path(), &moved), Some(3));
    let mut added = lines.clone();
    added.insert(3, lines[1].clone());
    assert_eq!(broken_at(dir.path(), &added), Some(4));
    let mut nonsense = lines.clone();
    nonsense[1] = "nonsense".into();
    assert_eq!(broken_at(dir.path(), &nonsense), Some(2));
    // What a chain alone can't show: the last line changed. The head tells.
    let mut last = lines;
    last[5] = last[5].replace("curl", "wget");
    let before = verify(dir.path()).unwrap().head;
    assert_eq!(broken_at(dir.path(), &last), None);
    assert_ne!(verify(dir.path()).unwrap().head, before);
}

#[test]
fn verify_names_file_line_and_what_is_wrong() {
    let (dir, _journal) = log();
    fs::remove_file(dir.path().join("incidents.jsonl.1")).unwrap();
    let broken = verify(dir.path()).unwrap().broken.unwrap();
    assert_eq!((broken.file.as_str(), broken.line), ("incidents.jsonl", 1));
    assert!(broken.what.starts_with("its `prev` is not the hash of line "), "{}", broken.what);
}

#[test]
fn missing_log_is_empty() {
    let dir = Path::new("/nonexistent/remit");
    assert_eq!(find(dir, &Filter::default()).unwrap(), []);
    assert_eq!(verify(dir).unwrap().lines, 0);
    assert_eq!(end(dir).unwrap(), Cursor::default());
}
