//! Reads the lines of all files of the log, one after another.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead as _, BufReader},
    path::Path,
    time::SystemTime,
};

use crate::incident::{
    journal::files::{self, LogFile},
    record::Record,
    time::Time,
};

/// A line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The file's name, when it was opened.
    pub file: String,
    /// The line's number, from one.
    pub line: u64,
    /// The line itself, without its newline: what `--json` shows.
    pub text: String,
    /// The parsed line.
    pub record: Record,
}

/// A line as it is in a file.
#[derive(Debug)]
pub(super) struct Line {
    /// The file's name.
    pub(super) file: String,
    /// Its number, from one.
    pub(super) number: u64,
    /// Its bytes, without the newline.
    pub(super) bytes: Vec<u8>,
    /// Whether it has a newline; without one it is still being written, or a crash cut it short.
    pub(super) whole: bool,
}

impl Line {
    /// The parsed line; `None` if it is no line of the log.
    pub(super) fn entry(self) -> Option<Entry> {
        let text = String::from_utf8(self.bytes).ok()?;
        let record = Record::parse(&text).ok()?;
        Some(Entry { file: self.file, line: self.number, text, record })
    }
}

/// All lines of the log, oldest first.
pub(super) struct Lines {
    waiting: VecDeque<LogFile>,
    reading: Option<(String, BufReader<File>)>,
    number: u64,
    /// How many files were opened.
    pub(super) files: u64,
}

impl Lines {
    /// Files that were rotated before `since` are left out: they have no later lines.
    pub(super) fn open(dir: &Path, since: Option<Time>) -> io::Result<Self> {
        let since = since.map_or(SystemTime::UNIX_EPOCH, |time| time.timestamp().into());
        let waiting = files::open_all(dir)?
            .into_iter()
            .filter(|log| log.number == 0 || log.modified >= since)
            .collect();
        Ok(Self { waiting, reading: None, number: 0, files: 0 })
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let Some((name, reader)) = &mut self.reading else {
                let Some(log) = self.waiting.pop_front() else { return Ok(None) };
                self.reading = Some((log.name, BufReader::new(log.file)));
                self.number = 0;
                self.files += 1;
                continue;
            };
            let mut bytes = Vec::new();
            if reader.read_until(b'\n', &mut bytes)? == 0 {
                self.reading = None;
                continue;
            }
            self.number += 1;
            let whole = bytes.pop_if(|last| *last == b'\n').is_some();
            return Ok(Some(Line { file: name.clone(), number: self.number, bytes, whole }));
        }
    }
}
