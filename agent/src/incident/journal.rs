//! Writes the log, `incidents.jsonl`. Lines are appended and never changed.
//!
//! Each line has in `prev` the SHA-256 of the whole line before it, also across rotations. So a line that was changed,
//! removed, added or moved is detected. The only writer of the log's files.

use std::{
    collections::HashMap,
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::{record::Record, seen::Seen, time::Time};

pub mod chain;
pub mod files;
mod tail;

use chain::{hash, seal};
use tail::Tail;

/// Permissions of the log: its owner writes, its group reads.
const MODE: u32 = 0o640;

/// The most bytes of a line that must fit for the log to count as writable.
const LINE: u64 = 4096;

/// Where the log is, and how it is written.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder; made if it does not exist.
    pub dir: PathBuf,
    /// The group that may read the log; None leaves the process's own.
    pub group: Option<u32>,
    /// The size in bytes at which the file is rotated.
    pub max_bytes: u64,
    /// How many rotated files are kept.
    pub keep: u32,
    /// Identifies the maps that count the events. Numbers begin anew with new maps, so the same number means the same
    /// event only within one epoch.
    pub epoch: String,
    /// Whether each append waits until the disk has it (a power cut then loses nothing).
    pub sync: bool,
}

impl Options {
    /// The defaults: rotation at 64 MiB, eight rotated files, every append synced.
    pub fn new(dir: impl Into<PathBuf>, epoch: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            group: None,
            max_bytes: 64 << 20,
            keep: 8,
            epoch: epoch.into(),
            sync: true,
        }
    }
}

/// What can go wrong with the log's files.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file can't be opened or made.
    #[error("can't open `{}`", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file can't be read.
    #[error("can't read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Lines can't be added; none was.
    #[error("can't write to `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A full file can't be rotated.
    #[error("can't put `{}` aside", path.display())]
    Rotate {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record can't be written as JSON.
    #[error("can't write a record as JSON")]
    Encode(#[from] serde_json::Error),
}

/// The log, open for adding lines.
#[derive(Debug)]
pub struct Journal {
    options: Options,
    path: PathBuf,
    file: File,
    /// Whether the log is open. Before that, the fields below are not known.
    is_open: bool,
    /// The hash of the last line.
    prev: String,
    /// The numbers of this epoch's events in the log.
    seen: Seen,
    /// By slot, the highest total of this epoch's losses in the log.
    totals: HashMap<u32, u64>,
    /// The last line's time.
    time: Option<Time>,
    /// The length to which the file has to be cut before the next append: an incomplete line follows.
    cut: Option<u64>,
    /// The record on the incomplete line that is cut off, to be written instead of it.
    note: Option<Record>,
}

impl Journal {
    /// Opens the log, or begins it. A last line that a crash cut short is removed with the next append, which records
    /// that.
    ///
    /// # Errors
    /// When a file of the log can't be opened or read.
    pub fn open(options: Options) -> Result<Self, JournalError> {
        let path = files::current(&options.dir);
        fs::create_dir_all(&options.dir)
            .map_err(|source| JournalError::Open { path: options.dir.clone(), source })?;
        let file = open_file(&path, options.group)?;
        let tail = Tail::read(&options.dir, &options.epoch)
            .map_err(|source| JournalError::Read { path: path.clone(), source })?;
        Ok(Self {
            options,
            path,
            file,
            is_open: true,
            prev: tail.prev,
            seen: tail.seen,
            totals: tail.totals,
            time: tail.time,
            cut: tail.torn.as_ref().map(|torn| torn.whole),
            note: tail.torn.map(|torn| Record::Repaired(Box::new(torn.note))),
        })
    }

    /// A log that can't be opened now. Each use tries to open it again.
    ///
    /// # Errors
    /// The system has no descriptor to give.
    pub fn later(options: Options) -> Result<Self, JournalError> {
        let path = files::current(&options.dir);
        // Stands in for the log's file until that is open. Nothing is written to it.
        let nothing = Path::new("/dev/null");
        let file = File::open(nothing)
            .map_err(|source| JournalError::Open { path: nothing.to_owned(), source })?;
        let tail = Tail::empty();
        Ok(Self {
            options,
            path,
            file,
            is_open: false,
            prev: tail.prev,
            seen: tail.seen,
            totals: tail.totals,
            time: tail.time,
            cut: None,
            note: None,
        })
    }

    /// Opens the log, if that failed before.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn settle(&mut self) -> Result<(), JournalError> {
        if !self.is_open {
            *self = Self::open(self.options.clone())?;
        }
        Ok(())
    }

    /// The highest event number of this epoch that the log has.
    pub fn last_sequence(&self) -> Option<u64> {
        self.seen.last()
    }

    /// Whether the log has the event of this number.
    pub fn has(&self, sequence: u64) -> bool {
        self.seen.contains(sequence)
    }

    /// The last total of a slot's losses in the log, by the slot's counter.
    pub fn lost_total(&self, slot: u32) -> u64 {
        self.totals.get(&slot).copied().unwrap_or(0)
    }

    /// The time of the last line.
    pub const fn last_time(&self) -> Option<Time> {
        self.time
    }

    /// The epoch that was given at opening.
    pub fn epoch(&self) -> &str {
        &self.options.epoch
    }

    /// The folder of the log.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }

    /// The hash of the last line. If it is stored elsewhere, it proves the whole log.
    pub fn head(&self) -> &str {
        &self.prev
    }

    /// Adds lines, all of them or none, and returns when the log has them.
    ///
    /// # Errors
    /// When that failed. The records are not in the log and can be given again.
    pub fn append(&mut self, records: &[Record]) -> Result<(), JournalError> {
        if records.is_empty() {
            return Ok(());
        }
        self.refresh()?;
        let notes = self.note.as_slice();
        let (mut text, mut prev) = encode(notes.iter().chain(records), &self.prev)?;
        let length = self.length()?;
        if length > 0 && length.saturating_add(text.len() as u64) > self.options.max_bytes {
            self.shorten()?;
            if self.note.is_some() {
                // The record on the cut belongs into the old file, the rest into the new one.
                let (note, head) = encode(self.note.as_slice(), &self.prev)?;
                self.write(&note)?;
                (self.prev, self.note) = (head, None);
                (text, prev) = encode(records, &self.prev)?;
            }
            self.rotate()?;
        }
        self.shorten()?;
        self.write(&text)?;
        (self.prev, self.note) = (prev, None);
        self.learn(records);
        Ok(())
    }

    /// Whether a line could be appended now: the open file still has the log's name, and the disk has room.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn ready(&mut self) -> Result<(), JournalError> {
        use rustix::fs::{FallocateFlags, fallocate};
        self.refresh()?;
        let end = self.length()?;
        match fallocate(&self.file, FallocateFlags::KEEP_SIZE, end, LINE) {
            // Not every file system can reserve room.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(()),
            Err(error) => {
                Err(JournalError::Write { path: self.path.clone(), source: error.into() })
            }
        }
    }

    /// Opens the file that has the log's name now, if the open one was moved away.
    fn refresh(&mut self) -> Result<(), JournalError> {
        self.settle()?;
        let wrap = |source| JournalError::Open { path: self.path.clone(), source };
        let ours = self.file.metadata().map_err(wrap)?;
        match fs::metadata(&self.path) {
            Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => Ok(()),
            Ok(named) if named.len() > 0 => {
                *self = Self::open(self.options.clone())?;
                Ok(())
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(wrap(error)),
            // The file is empty or new: the chain continues from the last line that was written.
            _ => {
                self.file = open_file(&self.path, self.options.group)?;
                self.cut = None;
                Ok(())
            }
        }
    }

    fn length(&self) -> Result<u64, JournalError> {
        let metadata = self.file.metadata();
        metadata
            .map(|metadata| metadata.len())
            .map_err(|source| JournalError::Read { path: self.path.clone(), source })
    }

    /// Cuts off an incomplete line.
    fn shorten(&mut self) -> Result<(), JournalError> {
        if let Some(whole) = self.cut {
            self.file
                .set_len(whole)
                .map_err(|source| JournalError::Write { path: self.path.clone(), source })?;
            self.cut = None;
        }
        Ok(())
    }

    /// Appends to the file. After a failure the file is as it was, or is cut before the next try.
    fn write(&mut self, text: &[u8]) -> Result<(), JournalError> {
        let before = self.length()?;
        let mut written = self.file.write_all(text);
        if written.is_ok() && self.options.sync {
            written = self.file.sync_data();
            if before == 0 {
                // The folder too: a file may be new, or renamed by a rotation.
                written = written.and_then(|()| File::open(&self.options.dir)?.sync_all());
            }
        }
        written.map_err(|source| {
            self.cut = Some(before);
            // If this fails too, the next append cuts the file first.
            let _ = self.shorten();
            JournalError::Write { path: self.path.clone(), source }
        })
    }

    fn rotate(&mut self) -> Result<(), JournalError> {
        files::rotate(&self.options.dir, self.options.keep)
            .map_err(|source| JournalError::Rotate { path: self.path.clone(), source })?;
        self.file = open_file(&self.path, self.options.group)?;
        Ok(())
    }

    fn learn(&mut self, records: &[Record]) {
        self.time = records.last().map(Record::time);
        for record in records {
            match record {
                Record::Incident(incident) => {
                    for (first, last) in incident.ranges() {
                        self.seen.insert(first, last);
                    }
                }
                Record::Lost(lost) => {
                    if let (Some(slot), Some(total)) = (lost.slot, lost.total) {
                        self.totals.insert(slot, total);
                    }
                }
                Record::Control(_) | Record::Repaired(_) | Record::Canary(_) => {}
            }
        }
    }
}

/// The lines of some records, chained from `prev` on, and the hash of the last.
fn encode<'a>(
    records: impl IntoIterator<Item = &'a Record>,
    prev: &str,
) -> Result<(Vec<u8>, String), JournalError> {
    let mut text = Vec::new();
    let mut prev = prev.to_owned();
    for record in records {
        let line = seal(record, &prev)?;
        prev = hash(line.as_bytes());
        text.extend(line.as_bytes());
        text.push(b'\n');
    }
    Ok((text, prev))
}

fn open_file(path: &Path, group: Option<u32>) -> Result<File, JournalError> {
    let open = || {
        let file = File::options().read(true).append(true).create(true).mode(MODE).open(path)?;
        file.set_permissions(Permissions::from_mode(MODE))?;
        if group.is_some() {
            fchown(&file, None, group)?;
        }
        Ok(file)
    };
    open().map_err(|source| JournalError::Open { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
