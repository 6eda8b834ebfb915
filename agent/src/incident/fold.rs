//! Folds repeats of one refusal into one record with a count, also those to read the same file of all processes. Pure: a
//! function of a batch.
//!
//! A batch is what one drain of the ring buffer found, so repeats are folded within about a second. The sequence
//! numbers of all folded events are kept: after a crash they show which events the log has already.

use std::{collections::HashMap, hash::Hash};

use agent_common::{
    access::{Right, Rights},
    decision::Reason,
    event::Operation,
    id::{SessionId, Slot},
};

use super::decode::{Event, Object, Verdict};

/// The most ranges of numbers in one record, which bounds the length of a line.
const RANGES: usize = 64;

/// One or more events that are the same refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// The first of them.
    pub event: Event,
    /// How many.
    pub count: u64,
    /// Their numbers as ranges with both ends included, in the order in which they came.
    pub sequences: Vec<(u64, u64)>,
}

impl Folded {
    fn new(event: Event) -> Self {
        let sequences = vec![(event.sequence, event.sequence)];
        Self { event, count: 1, sequences }
    }

    /// The highest number.
    pub fn last_sequence(&self) -> u64 {
        self.sequences.iter().map(|(_, last)| *last).max().unwrap_or(self.event.sequence)
    }

    /// Whether the numbers are all those from the first to the last.
    pub const fn contiguous(&self) -> bool {
        self.sequences.len() == 1
    }

    /// Adds an event with the same key. False if that would need too many ranges.
    fn join(&mut self, event: &Event) -> bool {
        if !self.extend(event.sequence) {
            return false;
        }
        if self.event.object != event.object
            && let Some(object) = of_all_processes(event)
        {
            self.event.object = object;
        }
        true
    }

    /// Adds a number. False if that would need too many ranges.
    fn extend(&mut self, sequence: u64) -> bool {
        let full = self.sequences.len() >= RANGES;
        match self.sequences.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(sequence) => *last = sequence,
            _ if full => return false,
            _ => self.sequences.push((sequence, sequence)),
        }
        self.count += 1;
        true
    }
}

/// Whether a process was refused to read about another one in procfs. `ps` tries it for all there are.
pub fn is_look(event: &Event) -> bool {
    of_all_processes(event).is_some()
}

/// The object that stands for the same file of all processes, if an event is a look at one.
fn of_all_processes(event: &Event) -> Option<Object> {
    let Object::Path(path) = &event.object else { return None };
    if event.operation != Operation::FileOpen || event.rights != Rights::of(Right::Read) {
        return None;
    }
    let rest = path.strip_prefix(b"/proc/")?;
    let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let (process, below) = rest.split_at_checked(end)?;
    let is_process = !process.is_empty() && process.iter().all(u8::is_ascii_digit);
    is_process.then(|| Object::Path([b"/proc/*", below].concat()))
}

/// The fields that are equal in two events of the same refusal.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    session: (Slot, SessionId),
    operation: Operation,
    object: Object,
    to: Option<Vec<u8>>,
    rights: Rights,
    verdict: Verdict,
    reason: Reason,
    exe: Vec<u8>,
    pid: u32,
}

impl Key {
    fn of(event: &Event) -> Self {
        Self {
            session: (event.slot, event.session),
            operation: event.operation,
            object: of_all_processes(event).unwrap_or_else(|| event.object.clone()),
            to: event.to.clone(),
            rights: event.rights,
            verdict: event.verdict,
            reason: event.reason,
            exe: event.exe.clone(),
            pid: event.pid,
        }
    }
}

/// Folds a batch, event by event. Records are in the order of their first events.
#[derive(Default)]
pub struct Folder {
    folded: Vec<Folded>,
    places: HashMap<Key, usize>,
    /// The index of the record that the last event was added to.
    last: usize,
}

impl Folder {
    /// Adds an event.
    #[expect(clippy::indexing_slicing, reason = "`places` has places of `folded` alone")]
    pub fn add(&mut self, event: Event) {
        let key = Key::of(&event);
        if let Some(place) = self.places.get(&key)
            && self.folded[*place].join(&event)
        {
            self.last = *place;
            return;
        }
        self.last = self.folded.len();
        self.places.insert(key, self.last);
        self.folded.push(Folded::new(event));
    }

    /// Adds an event that differs from the last one only in time and number, as most do in a flood. False if the event
    /// has to be added by [`Self::add`].
    pub fn repeat(&mut self, sequence: u64) -> bool {
        self.folded.get_mut(self.last).is_some_and(|folded| folded.extend(sequence))
    }

    /// The records.
    pub fn finish(self) -> Vec<Folded> {
        self.folded
    }
}

/// Folds a whole batch. Records are in the order of their first events.
pub fn fold(events: impl IntoIterator<Item = Event>) -> Vec<Folded> {
    let mut folder = Folder::default();
    events.into_iter().for_each(|event| folder.add(event));
    folder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::testing::{event, file_event};

    #[test]
    fn repeats_are_folded_into_the_first_event_with_their_count() {
        let folded = fold((1..=5).map(event));
        assert_eq!(folded.len(), 1);
        assert_eq!(folded[0].event, event(1));
        assert_eq!(folded[0].count, 5);
        assert_eq!(folded[0].sequences, [(1, 5)]);
        assert!(folded[0].contiguous());
    }

    #[test]
    fn different_refusals_are_kept_apart_in_order() {
        let cases = [
            event(1),
            Event { pid: 1, ..event(2) },
            Event { reason: Reason::Expired, ..event(3) },
            Event { verdict: Verdict::WouldDeny, ..event(4) },
            Event { exe: b"/bin/nc".to_vec(), ..event(5) },
            Event { session: SessionId(43), ..event(6) },
            Event { rights: Rights::NONE, ..event(7) },
            Event { operation: Operation::NetSend, ..event(8) },
            file_event(9, "/w/a", Reason::NoTool),
            Event { to: Some(b"/w/b".to_vec()), ..file_event(10, "/w/a", Reason::NoTool) },
        ];
        let folded = fold(cases.clone());
        assert_eq!(folded.iter().map(|one| one.event.clone()).collect::<Vec<_>>(), cases);
        assert!(folded.iter().all(|one| one.count == 1));
    }

    #[test]
    fn interleaved_repeats_keep_their_exact_numbers() {
        let file = |sequence| file_event(sequence, "/w/a", Reason::NoTool);
        let folded = fold([event(1), file(2), event(3), event(4), file(9), event(8)]);
        assert_eq!(folded.len(), 2);
        assert_eq!(folded[0].sequences, [(1, 1), (3, 4), (8, 8)]);
        assert_eq!((folded[0].count, folded[0].last_sequence()), (4, 8));
        assert_eq!(folded[1].sequences, [(2, 2), (9, 9)]);
        assert!(!folded[1].contiguous());
    }

    #[test]
    fn repeat_is_added_to_the_last_event() {
        let mut folder = Folder::default();
        assert!(!folder.repeat(1), "there is none");
        folder.add(event(1));
        folder.add(file_event(2, "/w/a", Reason::NoTool));
        folder.add(event(3));
        assert!(folder.repeat(4));
        let folded = folder.finish();
        assert_eq!(folded[0].sequences, [(1, 1), (3, 4)]);
        assert_eq!(folded[1].sequences, [(2, 2)]);
    }

    #[test]
    fn looks_at_all_processes_are_one_record() {
        let stat =
            |sequence, pid: u32| file_event(sequence, &format!("/proc/{pid}/stat"), Reason::NoTool);
        let events = [
            stat(1, 1),
            stat(2, 70),
            // Another file, not of a process, and no look.
            file_event(3, "/proc/70/maps", Reason::NoTool),
            file_event(4, "/proc/7x/stat", Reason::NoTool),
            Event { rights: Rights::of(Right::Write), ..stat(5, 71) },
            stat(6, 71),
        ];
        let folded = fold(events.clone());
        let path = |path: &str| Object::Path(path.into());
        let found: Vec<_> = folded.iter().map(|one| (&one.event.object, one.count)).collect();
        assert_eq!(
            found,
            [
                (&path("/proc/*/stat"), 3),
                (&path("/proc/70/maps"), 1),
                (&path("/proc/7x/stat"), 1),
                (&path("/proc/71/stat"), 1),
            ]
        );
        // One alone stays as it is.
        assert_eq!(fold([stat(1, 70)])[0].event.object, path("/proc/70/stat"));
    }

    #[test]
    fn too_many_ranges_begin_another_record() {
        let folded = fold((0..200).map(|number| event(number * 2)));
        assert_eq!(folded.len(), 200usize.div_ceil(RANGES));
        assert_eq!(folded.iter().map(|one| one.count).sum::<u64>(), 200);
        assert!(folded.iter().all(|one| one.sequences.len() <= RANGES));
    }
}
