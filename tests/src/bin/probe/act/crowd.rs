//! Many sessions at once, of one small process each: children of this one, which stays outside of them.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::{Mutex, PoisonError},
};

use super::{Outcome, call::number, http};

/// The children, each by its end of a pair of sockets.
static CROWD: Mutex<Vec<UnixStream>> = Mutex::new(Vec::new());

/// Does the act, if it is one of these.
pub(super) fn act(words: &[&str]) -> Option<Outcome> {
    Some(match words {
        // Sessions of a profile, named with a number, their folders below `folder`: how many started, and
        // why the next did not.
        ["crowd-start", socket, profile, count, folder] => {
            start(socket, profile, number(count), folder)
        }
        // How many reach their own file, and how many do not reach their neighbour's.
        ["crowd-check"] => check(),
        ["crowd-end"] => {
            CROWD.lock().unwrap_or_else(PoisonError::into_inner).clear();
            // SAFETY: the call takes no memory.
            while unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } > 0 {}
            Ok(String::new())
        }
        _ => return None,
    })
}

fn start(socket: &str, profile: &str, count: usize, folder: &str) -> Outcome {
    // One descriptor for each child.
    let limit = libc::rlimit { rlim_cur: count as u64 + 64, rlim_max: count as u64 + 64 };
    // SAFETY: the record outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for place in 0..count {
        let (mut ours, theirs) = UnixStream::pair()?;
        // SAFETY: this process has one thread.
        match unsafe { libc::fork() } {
            0 => {
                // Else the child would hold its own channel open, and never see it end.
                drop(ours);
                live(theirs, socket, profile, folder, place, count)
            }
            -1 => return Err(io::Error::last_os_error()),
            _ => drop(theirs),
        }
        let mut length = [0; 4];
        ours.read_exact(&mut length)?;
        let mut answer = vec![0; u32::from_ne_bytes(length) as usize];
        ours.read_exact(&mut answer)?;
        if !answer.starts_with(b"201") {
            return Ok(format!("{place} {}", String::from_utf8_lossy(&answer)));
        }
        CROWD.lock().unwrap_or_else(PoisonError::into_inner).push(ours);
    }
    Ok(count.to_string())
}

/// The life of a child: becomes a session, then looks at files whenever it is asked.
fn live(
    mut channel: UnixStream,
    socket: &str,
    profile: &str,
    folder: &str,
    place: usize,
    count: usize,
) -> ! {
    // The others' ends are not ours: who holds them keeps them from ending.
    let others = std::mem::take(&mut *CROWD.lock().unwrap_or_else(PoisonError::into_inner));
    drop(others);
    let body = format!(
        r#"{{"profile": "{profile}", "name": "crowd-{place}", "workdir": "{folder}/{place}"}}"#
    );
    let answer = http::request(socket, "POST", "/v1/sessions", &body)
        .unwrap_or_else(|error| format!("000 {error}"));
    let length = u32::try_from(answer.len()).unwrap_or_default().to_ne_bytes();
    let told = channel.write_all(&length).and_then(|()| channel.write_all(answer.as_bytes()));
    let (own, other) =
        (format!("{folder}/{place}/file"), format!("{folder}/{}/file", (place + 1) % count));
    let mut asked = [0];
    while told.is_ok() && channel.read(&mut asked).is_ok_and(|bytes| bytes == 1) {
        let refused = |path: &str| {
            File::open(path).is_err_and(|error| error.raw_os_error() == Some(libc::EACCES))
        };
        let seen = [u8::from(File::open(&own).is_ok()), u8::from(refused(&other))];
        if channel.write_all(&seen).is_err() {
            break;
        }
    }
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(0) }
}

fn check() -> Outcome {
    let crowd = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut own, mut other) = (0, 0);
    for mut channel in crowd.iter() {
        channel.write_all(b"?")?;
        let mut seen = [0; 2];
        channel.read_exact(&mut seen)?;
        own += u32::from(seen[0]);
        other += u32::from(seen[1]);
    }
    Ok(format!("{own} {other}"))
}
