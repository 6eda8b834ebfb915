//! What attacks do beyond the other operations: any system call by its name, by each of the machine's
//! ways to call it; trees, races, terminals, queues, rings.
//!
//! One file a kind; each offers `run`, which gives nothing for a word that it doesn't know.

mod call;
mod entry;
mod files;
mod floods;
mod ipc;
mod own;
mod race;
mod ring;
mod route;
mod terminal;

pub(crate) use call::execute32;

use crate::{Answer, State, Words, errno::Errno};

/// Tries an operation of one of these kinds.
pub(crate) fn run(state: &mut State, name: &str, words: Words<'_>) -> Option<Answer> {
    if name == "all" {
        return Some(all(state, words));
    }
    call::run(state, name, words)
        .or_else(|| files::run(state, name, words))
        .or_else(|| floods::run(name, words))
        .or_else(|| ipc::run(name, words))
        .or_else(|| own::run(state, name, words))
        .or_else(|| race::run(name, words))
        .or_else(|| ring::run(state, name, words))
        .or_else(|| route::run(name, words))
        .or_else(|| terminal::run(name, words))
}

/// Operations separated by `and`, until one fails; the last one's answer otherwise.
fn all(state: &mut State, words: Words<'_>) -> Answer {
    let mut answer = Err(Errno(libc::ENOSYS));
    for operation in words.split(|word| word == "and") {
        answer = crate::run(state, operation);
        if answer.is_err() {
            break;
        }
    }
    answer
}
