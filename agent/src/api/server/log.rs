//! What the server asks of the incident log.

use serde_json::Value;

use crate::api::IncidentQuery;

/// The incident log, as far as the server reads it. Lines are passed on as they are.
pub trait Log: Send + Sync {
    /// The lines that match, the oldest first; with a limit the newest of them.
    ///
    /// # Errors
    /// The query is not right, or the log can't be read.
    fn list(&self, query: &IncidentQuery) -> Result<Vec<String>, LogError>;

    /// All lines that match, the oldest first, a part at a time, without the query's limit: the log may be larger than
    /// what memory should hold of it. Nothing comes once all that was there came.
    ///
    /// # Errors
    /// The query is not right, or the log can't be read.
    fn all(&self, query: &IncidentQuery) -> Result<Box<dyn Follower>, LogError>;

    /// The line of that id.
    ///
    /// # Errors
    /// There is none, or the log can't be read.
    fn show(&self, id: &str) -> Result<String, LogError>;

    /// Counts over the lines that match.
    ///
    /// # Errors
    /// The query is not right, or the log can't be read.
    fn summary(&self, query: &IncidentQuery) -> Result<Value, LogError>;

    /// Checks the chain of hashes.
    ///
    /// # Errors
    /// The log can't be read.
    fn verify(&self) -> Result<Value, LogError>;

    /// The lines that match, and then those to come.
    ///
    /// # Errors
    /// The query is not right, or the log can't be read.
    fn follow(&self, query: &IncidentQuery) -> Result<Box<dyn Follower>, LogError>;
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
