//! Reads the end of the log when the daemon starts: the last line's hash, whether a crash cut it short, and which
//! events of the running kernel programs it has already.

use std::{collections::HashMap, fs::File, io, os::unix::fs::FileExt as _, path::Path};

use serde::Deserialize;

use super::{
    chain::{GENESIS, hash},
    files::{self, LogFile},
};
use crate::incident::{
    record::{Repaired, new_id},
    seen::Seen,
    time::Time,
};

/// How many bytes of the log are read for events that may be delivered again. The ring has 4 MiB of records of at least
/// 264 bytes, each of which makes a line of about 1 KiB. So this is twice as much as the lines of a full ring.
const LOOK_BACK: u64 = 32 << 20;

/// How many characters of a torn line its record has.
const NOTE_CHARACTERS: usize = 1_024;

/// A last line without its end.
pub(super) struct Torn {
    /// The length of the file without it.
    pub(super) whole: u64,
    /// The record to write instead of it.
    pub(super) note: Repaired,
}

/// The end of the log.
pub(super) struct Tail {
    /// The hash of the last whole line.
    pub(super) prev: String,
    /// Event numbers of the epoch.
    pub(super) seen: Seen,
    /// By slot, the last total of losses of the epoch.
    pub(super) totals: HashMap<u32, u64>,
    /// The last line's time.
    pub(super) time: Option<Time>,
    /// The torn last line.
    pub(super) torn: Option<Torn>,
}

/// The keys of a line that matter here.
#[derive(Deserialize)]
struct Mark {
    time: Option<Time>,
    epoch: Option<String>,
    sequence: Option<u64>,
    last_sequence: Option<u64>,
    #[serde(default)]
    sequences: Vec<(u64, u64)>,
    slot: Option<u32>,
    total: Option<u64>,
}

impl Tail {
    /// The end of a log without lines.
    pub(super) fn empty() -> Self {
        Self {
            prev: GENESIS.into(),
            seen: Seen::default(),
            totals: HashMap::new(),
            time: None,
            torn: None,
        }
    }

    pub(super) fn read(dir: &Path, epoch: &str) -> io::Result<Self> {
        let mut tail = Self::empty();
        let mut left = LOOK_BACK;
        let mut found = false;
        for log in files::open_all(dir)?.iter().rev() {
            let end = last_bytes(&log.file, log.length, left)?;
            let (whole, torn) = split(&end, log.length);
            if log.number == 0 && !torn.is_empty() {
                tail.torn = Some(note(torn, log));
            }
            let last = whole.split(|byte| *byte == b'\n').next_back().unwrap_or_default();
            if !found && !last.is_empty() {
                tail.prev = hash(last);
                tail.time = serde_json::from_slice::<Mark>(last).ok().and_then(|mark| mark.time);
                found = true;
            }
            tail.take_marks(whole, epoch);
            left = left.saturating_sub(log.length);
            if left == 0 && found {
                break;
            }
            // A file without a whole line is skipped, whatever its size.
            left = left.max(u64::from(!found) * LOOK_BACK);
        }
        Ok(tail)
    }

    /// Collects this epoch's numbers and totals from some lines. Files come newest first, so a total that is known
    /// already is the later one.
    fn take_marks(&mut self, lines: &[u8], epoch: &str) {
        let mut totals = HashMap::new();
        for line in lines.split(|byte| *byte == b'\n') {
            let Ok(mark) = serde_json::from_slice::<Mark>(line) else { continue };
            if mark.epoch.as_deref() != Some(epoch) {
                continue;
            }
            if let (Some(slot), Some(total)) = (mark.slot, mark.total) {
                totals.insert(slot, total);
            }
            if !mark.sequences.is_empty() {
                mark.sequences.iter().for_each(|(first, last)| self.seen.insert(*first, *last));
            } else if let Some(first) = mark.sequence {
                self.seen.insert(first, mark.last_sequence.unwrap_or(first));
            }
        }
        for (slot, total) in totals {
            self.totals.entry(slot).or_insert(total);
        }
    }
}

/// The last bytes of a file, up to a limit.
fn last_bytes(file: &File, length: u64, limit: u64) -> io::Result<Vec<u8>> {
    let count = length.min(limit);
    let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, length - count)?;
    Ok(bytes)
}

/// The whole lines, without the last newline, and what follows it. If the bytes do not begin at the file's beginning,
/// the first line is incomplete; it does not parse, so it does no harm.
fn split(bytes: &[u8], length: u64) -> (&[u8], &[u8]) {
    match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => {
            let (whole, torn) = bytes.split_at(newline);
            (whole, torn.get(1..).unwrap_or_default())
        }
        // Without a newline the line is torn if the bytes are the whole file, and else only longer than what was read.
        None if bytes.len() as u64 == length => (&[], bytes),
        None => (&[], &[]),
    }
}

fn note(torn: &[u8], log: &LogFile) -> Torn {
    let time = Time::now();
    let bytes = torn.len() as u64;
    Torn {
        whole: log.length.saturating_sub(bytes),
        note: Repaired {
            id: new_id(time),
            time,
            bytes,
            sha256: hash(torn),
            text: String::from_utf8_lossy(torn).chars().take(NOTE_CHARACTERS).collect(),
        },
    }
}
