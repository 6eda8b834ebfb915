//! Operations on sockets and other processes, and what no session may do: what a guard has to see.
//!
//! One file a kind; each offers `act`, which gives nothing for words that it doesn't know.

mod call;
mod crowd;
mod guard;
mod http;
mod life;
mod net;
mod repeat;
mod unix;

use std::io;

use crate::{Answer, Words, errno::Errno};

/// What came of an operation.
type Outcome = io::Result<String>;

/// Tries an operation of one of these kinds.
pub(crate) fn run(name: &str, words: Words<'_>) -> Option<Answer> {
    let mut all = vec![name];
    all.extend(words.iter().map(|word| word.to_str().unwrap_or_default()));
    let outcome = net::act(&all)
        .or_else(|| unix::act(&all))
        .or_else(|| guard::act(&all))
        .or_else(|| http::act(&all))
        .or_else(|| life::act(&all))
        .or_else(|| crowd::act(&all));
    match outcome {
        Some(outcome) => Some(outcome.map_err(Errno::from)),
        None => repeat::run(name, words),
    }
}
