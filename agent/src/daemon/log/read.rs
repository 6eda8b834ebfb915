//! Reads the log for requests.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::LogHandle;
use crate::{
    api::{
        IncidentQuery,
        server::log::{Follower, Log, LogError, Scope},
    },
    incident::{
        Kind, Record, Time,
        query::{self, Cursor, Filter, FilterText, QueryError},
    },
};

/// How many different names of each kind a summary has.
const TOP: usize = 20;
/// The most lines that a follower gets at once.
const MOST: usize = 1000;

/// Reads the log.
pub(in crate::daemon) struct Reader {
    dir: PathBuf,
    writer: LogHandle,
}

/// What a request asks for.
struct Wanted {
    filter: Filter,
    /// Acts of control and repairs too.
    all: bool,
}

impl Wanted {
    fn of(query: &IncidentQuery, scope: &Scope) -> Result<Self, LogError> {
        let text = FilterText {
            session: query.session.clone(),
            since: query.since.clone(),
            until: query.until.clone(),
            operation: query.operation.clone(),
            reason: query.reason.clone(),
            verdict: query.verdict.clone(),
            kind: query.kind.clone(),
            reference: query.reference.clone(),
            limit: query.limit,
        };
        let mut filter =
            text.check(Time::now()).map_err(|error| LogError::Query(error.to_string()))?;
        filter.scope = scoped(scope);
        Ok(Self { all: query.all || filter.kind.is_some(), filter })
    }

    fn passes(&self, record: &Record) -> bool {
        self.all || matches!(record.kind(), Kind::Incident | Kind::Lost | Kind::Canary)
    }
}

impl Reader {
    pub(in crate::daemon) fn new(dir: &Path, writer: LogHandle) -> Self {
        Self { dir: dir.to_owned(), writer }
    }
}

impl Log for Reader {
    fn list(&self, query: &IncidentQuery, scope: &Scope) -> Result<Vec<String>, LogError> {
        let wanted = Wanted::of(query, scope)?;
        self.writer.flush();
        let limit = wanted.filter.limit.unwrap_or(usize::MAX);
        let mut found = VecDeque::new();
        query::for_each(&self.dir, &wanted.filter, |entry| {
            if wanted.passes(&entry.record) {
                found.push_back(entry.text);
                if found.len() > limit {
                    found.pop_front();
                }
            }
            ControlFlow::Continue(())
        })
        .map_err(unreadable)?;
        Ok(found.into())
    }

    fn all(&self, query: &IncidentQuery, scope: &Scope) -> Result<Box<dyn Follower>, LogError> {
        let wanted = Wanted::of(query, scope)?;
        self.writer.flush();
        Ok(Box::new(Follow { dir: self.dir.clone(), wanted, cursor: Cursor::default() }))
    }

    fn show(&self, id: &str, scope: &Scope) -> Result<String, LogError> {
        self.writer.flush();
        let filter = Filter { scope: scoped(scope), ..Filter::default() };
        let found = query::by_id(&self.dir, &filter, id).map_err(unreadable)?;
        found.map(|entry| entry.text).ok_or_else(|| LogError::Unknown(id.to_owned()))
    }

    fn summary(&self, query: &IncidentQuery, scope: &Scope) -> Result<Value, LogError> {
        let wanted = Wanted::of(query, scope)?;
        self.writer.flush();
        let summary = query::summary(&self.dir, &wanted.filter, TOP).map_err(unreadable)?;
        serde_json::to_value(summary).map_err(|error| LogError::Read(error.to_string()))
    }

    fn verify(&self) -> Result<Value, LogError> {
        self.writer.flush();
        let report = query::verify(&self.dir).map_err(unreadable)?;
        serde_json::to_value(report).map_err(|error| LogError::Read(error.to_string()))
    }

    fn follow(&self, query: &IncidentQuery, scope: &Scope) -> Result<Box<dyn Follower>, LogError> {
        let wanted = Wanted::of(query, scope)?;
        self.writer.flush();
        // Without `since`, only lines to come are shown; with it, the lines since then come first.
        let cursor = if wanted.filter.since.is_some() {
            Cursor::default()
        } else {
            query::end(&self.dir).map_err(unreadable)?
        };
        Ok(Box::new(Follow { dir: self.dir.clone(), wanted, cursor }))
    }
}

/// Reads on from a place in the log.
struct Follow {
    dir: PathBuf,
    wanted: Wanted,
    cursor: Cursor,
}

impl Follower for Follow {
    fn next(&mut self) -> Result<Vec<String>, LogError> {
        loop {
            let followed = query::follow(&self.dir, self.cursor, &self.wanted.filter, MOST)
                .map_err(unreadable)?;
            let moved = followed.cursor != self.cursor;
            self.cursor = followed.cursor;
            let lines: Vec<String> = followed
                .entries
                .into_iter()
                .filter(|entry| self.wanted.passes(&entry.record))
                .map(|entry| entry.text)
                .collect();
            // If all lines were filtered out, there may be more behind them.
            if !lines.is_empty() || !moved {
                return Ok(lines);
            }
        }
    }
}

/// What a filter lets pass for a caller.
fn scoped(scope: &Scope) -> Option<query::Scope> {
    let (sessions, only_refusals) = match scope {
        Scope::All => return None,
        Scope::Sessions(sessions) => (sessions.clone(), false),
        Scope::Refusals(session) => ([session.clone()].into(), true),
    };
    Some(query::Scope { sessions, only_refusals })
}

fn unreadable(error: QueryError) -> LogError {
    let source = error.source.to_string();
    LogError::Read(format!("{error}: {source}"))
}
