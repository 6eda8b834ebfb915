//! Follows the log: reads on from a cursor, through rotations.

use std::{
    fmt,
    io::{self, BufRead as _, BufReader, Seek as _, SeekFrom},
    path::Path,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{Entry, Filter, QueryError, read::Line};
use crate::incident::journal::files::{self, LogFile};

/// A position in the log, up to which it was read. As text: `inode-offset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cursor {
    /// The file; zero is the beginning of the oldest.
    pub inode: u64,
    /// Bytes of it that have been read.
    pub offset: u64,
}

/// A text that is no cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no place in the log\n  give the `cursor` of an earlier answer, or none")]
pub struct CursorError {
    /// What was given.
    pub given: String,
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-{}", self.inode, self.offset)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(given: &str) -> Result<Self, CursorError> {
        given
            .split_once('-')
            .and_then(|(inode, offset)| {
                Some(Self { inode: inode.parse().ok()?, offset: offset.parse().ok()? })
            })
            .ok_or_else(|| CursorError { given: given.into() })
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}

impl TryFrom<String> for Cursor {
    type Error = CursorError;

    fn try_from(given: String) -> Result<Self, CursorError> {
        given.parse()
    }
}

/// What was read from a cursor on.
#[derive(Clone, Debug, PartialEq)]
pub struct Followed {
    /// The lines that the filter lets pass.
    pub entries: Vec<Entry>,
    /// The new cursor; the same as before if there was nothing to read.
    pub cursor: Cursor,
    /// Whether lines were missed, because the cursor's file was removed.
    pub missed: bool,
}

/// The cursor at the end of the log: following from it shows only new lines.
///
/// # Errors
/// When the log can't be read.
pub fn end(dir: &Path) -> Result<Cursor, QueryError> {
    let files = files::open_all(dir).map_err(QueryError::at(dir))?;
    Ok(files
        .last()
        .map_or_else(Cursor::default, |log| Cursor { inode: log.inode, offset: log.length }))
}

/// Reads on from a place: at most `most` whole lines that the filter lets pass. Returns at once when
/// there is nothing to read.
///
/// # Errors
/// When the log can't be read.
pub fn follow(
    dir: &Path,
    from: Cursor,
    filter: &Filter,
    most: usize,
) -> Result<Followed, QueryError> {
    let files = files::open_all(dir).map_err(QueryError::at(dir))?;
    let place = files.iter().position(|log| log.inode == from.inode);
    let missed = place.is_none() && from.inode != 0;
    let mut followed = Followed { entries: Vec::new(), cursor: from, missed };
    let unread = files.into_iter().skip(place.unwrap_or(0));
    for (index, log) in unread.enumerate() {
        // Lines that could not be written whole are taken back, so the place may lie behind the end.
        let known = index == 0 && place.is_some();
        let begin = if known { from.offset.min(log.length) } else { 0 };
        followed.cursor = Cursor { inode: log.inode, offset: begin };
        if !read_on(log, filter, most, &mut followed).map_err(QueryError::at(dir))? {
            break;
        }
    }
    Ok(followed)
}

/// Reads a file from the cursor's offset. False when there are enough lines.
fn read_on(
    log: LogFile,
    filter: &Filter,
    most: usize,
    followed: &mut Followed,
) -> io::Result<bool> {
    let prefilter = filter.prefilter();
    let mut reader = BufReader::new(log.file);
    reader.seek(SeekFrom::Start(followed.cursor.offset))?;
    loop {
        if followed.entries.len() >= most {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        let length = reader.read_until(b'\n', &mut bytes)?;
        if bytes.pop_if(|last| *last == b'\n').is_none() {
            return Ok(true);
        }
        followed.cursor.offset += length as u64;
        if !prefilter.may_pass(&bytes) {
            continue;
        }
        // Lines are not counted from the file's beginning here.
        let line = Line { file: log.name.clone(), number: 0, bytes, whole: true };
        if let Some(entry) = line.entry().filter(|entry| filter.passes(&entry.record)) {
            followed.entries.push(entry);
        }
    }
}
