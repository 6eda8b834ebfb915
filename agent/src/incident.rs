//! Incidents: from the kernel's ring buffer into the log, and from the log to people.
//!
//! One direction: `decode` (pure) → `fold` (pure) → `enrich` → `journal`, tied together by `pipeline`;
//! `query` reads the log, `render` shows it. Owns the log's files. Knows neither aya nor tokio: the ring buffer is a
//! [`pipeline::EventSource`], and an [`enrich::Context`] answers the questions on sessions and policy.

pub mod decode;
pub mod enrich;
pub mod fold;
pub mod journal;
pub mod names;
pub mod object;
pub mod pipeline;
pub mod process;
pub mod query;
pub mod record;
pub mod references;
pub mod render;
pub mod schedule;
pub mod seen;
pub mod time;

#[cfg(test)]
mod testing;

pub use decode::{DecodeError, Event, Verdict, decode};
pub use enrich::{Context, Explanation, enrich};
pub use fold::{Folded, Folder, fold};
pub use journal::{Journal, JournalError, Options};
pub use object::Object;
pub use pipeline::{EventSource, Metrics, Pipeline};
pub use process::Processes;
pub use record::{
    Act, Actor, Canary, CanaryTry, Control, Incident, Kind, Lost, Outcome, Record, Rule, Session,
};
pub use schedule::Schedule;
pub use time::Time;
