//! Reads the log: searches, follows, sums up, verifies. Synchronous, read-only, and line by line, so that a log of any
//! size takes little memory. Knows the log's folder, and nothing of the daemon.

use std::{
    collections::VecDeque,
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

mod filter;
mod follow;
mod read;
mod summary;
mod verify;

pub use filter::{Filter, FilterError, FilterText, Scope};
pub use follow::{Cursor, CursorError, Followed, end, follow};
pub use read::Entry;
pub use summary::{Count, Summary, summary};
pub use verify::{Break, Report, verify};

use read::Lines;

/// The log can't be read.
#[derive(Debug, thiserror::Error)]
#[error("can't read the log in `{}`", dir.display())]
pub struct QueryError {
    /// Its folder.
    pub dir: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl QueryError {
    fn at(dir: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |source| Self { dir: dir.to_owned(), source }
    }
}

/// Calls `visit` with each line that passes the filter, the oldest first, until it breaks. The filter's limit is
/// ignored. Returns how many lines could not be parsed.
///
/// # Errors
/// When the log can't be read.
pub fn for_each(
    dir: &Path,
    filter: &Filter,
    mut visit: impl FnMut(Entry) -> ControlFlow<()>,
) -> Result<u64, QueryError> {
    let mut unreadable = 0;
    let prefilter = filter.prefilter();
    let mut lines = Lines::open(dir, filter.since).map_err(QueryError::at(dir))?;
    while let Some(line) = lines.next().map_err(QueryError::at(dir))? {
        if !line.whole || !prefilter.may_pass(&line.bytes) {
            continue;
        }
        let Some(entry) = line.entry() else {
            unreadable += 1;
            continue;
        };
        if filter.passes(&entry.record) && visit(entry).is_break() {
            break;
        }
    }
    Ok(unreadable)
}

/// The lines that pass the filter, the oldest first; with a limit, the latest.
///
/// # Errors
/// When the log can't be read.
pub fn find(dir: &Path, filter: &Filter) -> Result<Vec<Entry>, QueryError> {
    let limit = filter.limit.unwrap_or(usize::MAX);
    let mut found = VecDeque::new();
    for_each(dir, filter, |entry| {
        found.push_back(entry);
        if found.len() > limit {
            found.pop_front();
        }
        ControlFlow::Continue(())
    })?;
    Ok(found.into())
}

/// The line with this id, if it passes the filter. Case does not matter.
///
/// # Errors
/// When the log can't be read.
pub fn by_id(dir: &Path, filter: &Filter, id: &str) -> Result<Option<Entry>, QueryError> {
    let mut found = None;
    for_each(dir, filter, |entry| {
        if entry.record.id().eq_ignore_ascii_case(id) {
            found = Some(entry);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests;
