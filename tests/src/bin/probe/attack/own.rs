//! On a child of one's own, what attacks try on others: the child is made for it and ended after it.

use crate::{Answer, State, Words, errno::Errno, number, sys::raw};

/// Tries an operation of this kind.
pub(super) fn run(state: &mut State, name: &str, words: Words<'_>) -> Option<Answer> {
    Some(match (name, words) {
        // One of the operations whose first words are a process, or a process and its mark's address.
        ("own-child", [operation]) => own_child(state, operation.to_str().unwrap_or_default()),
        // A child of this process in a group of its own, for others: its id, and its mark's address.
        ("victim", []) => victim(state),
        // `rt_sigqueueinfo(2)`: the signal's number, then who says that it sent it.
        ("queue-signal", [pid]) => {
            let mut information = [0u32; 32];
            // SIGTERM, and SI_QUEUE.
            (information[0], information[2]) = (15, -1i32 as u32);
            let at = information.as_ptr() as usize;
            raw(libc::SYS_rt_sigqueueinfo, [number(pid) as usize, 15, at]).map(|_| String::new())
        }
        _ => return None,
    })
}

fn victim(state: &mut State) -> Answer {
    let text = crate::run(state, &["child".into()])?;
    let pid: usize = text.split(' ').next().and_then(|pid| pid.parse().ok()).unwrap_or_default();
    raw(libc::SYS_setpgid, [pid, pid])?;
    Ok(text)
}

fn own_child(state: &mut State, operation: &str) -> Answer {
    let text = victim(state)?;
    let (pid, mark) = text.split_once(' ').ok_or(Errno(libc::EINVAL))?;
    let words: Vec<std::ffi::OsString> = match operation {
        "memory-read" | "memory-write" => vec![operation.into(), pid.into(), mark.into()],
        "take-fd" => vec![operation.into(), pid.into(), "0".into()],
        "signal" => vec![operation.into(), pid.into(), "18".into()],
        _ => vec![operation.into(), pid.into()],
    };
    let answer = crate::run(state, &words);
    crate::run(state, &["signal".into(), pid.into(), "9".into()])?;
    answer
}
