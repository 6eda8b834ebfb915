//! The interface by which the server reads the incident log.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::IncidentQuery;

/// The lines that a caller may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    All,
    /// Those about these sessions, by id.
    Sessions(BTreeSet<String>),
    /// The refusals of this session.
    Refusals(String),
}

/// The incident log. Lines are passed on as they are in it.
pub trait Log: Send + Sync {
    /// The lines that match, the oldest first; with a limit the newest of them.
    ///
    /// # Errors
    /// The query is not right, or the log can't be read.
    fn list(&self, query: &IncidentQuery, scope: &Scope) -> Result<Vec<String>, LogError>;

    /// All lines that match, the oldest first, without the query's limit. They come in parts, since the log may not fit
    /// into memory; an empty part is the end.
    ///
    /// # Errors
    /// The query is not right, or the log can't be read.
    fn all(&self, query: &IncidentQuery, scope: &Scope) -> Result<Box<dyn Follower>, LogError>;

    /// The line of that id.
    ///
    /// # Errors
    /// There is none, or the log can't be read.
    fn show(&self, id: &str, scope: &Scope) -> Result<String, LogError>;

    /// Counts over the lines that match.
    ///
    /// # Errors
    /// The query is not right, or the log can't be read.
    fn summary(&self, query: &IncidentQuery, scope: &Scope) -> Result<Value, LogError>;

    /// Checks the chain of hashes.
    ///
    /// # Errors
    /// The log can't be read.
    fn verify(&self) -> Result<Value, LogError>;

    /// The lines that match, and then those that are still to come.
    ///
    /// # Errors
    /// The query is not right, or the log can't be read.
    fn follow(&self, query: &IncidentQuery, scope: &Scope) -> Result<Box<dyn Follower>, LogError>;
}

/// Reads the log as it grows.
pub trait Follower: Send {
    /// The lines that came since the last call.
    ///
    /// # Errors
    /// The log can't be read.
    fn next(&mut self) -> Result<Vec<String>, LogError>;
}

/// Why the log gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The query is not right.
    #[error("{0}")]
    Query(String),
    /// No line has that id.
    #[error("no incident `{0}`")]
    Unknown(String),
    /// The log can't be read.
    #[error("{0}")]
    Read(String),
}
