//! Times operations of its own process: `loops [--landlock | --apparmor] [--daemon PID] OPERATION…`
//! prints a line of JSON for each. Linked without shared libraries, so that it needs no file but itself.

// What the runtime does before `main`, such as reading `/proc/self/maps`, would be a part of what
// `process::EXEC` times, and a confinement that refuses it would seem cheaper than none.
#![no_main]

mod confine;
mod file;
mod measure;
mod net;
mod process;
mod sys;

use std::{
    env,
    ffi::{CStr, c_char, c_int},
    io,
};

use measure::{Loop, Setting};

/// Every loop, by the name of its operation.
const LOOPS: &[Loop] = &[
    file::OPEN,
    file::OPEN_FIRST,
    file::STAT,
    file::ACCESS,
    file::READ_BYTE,
    file::WRITE_BYTE,
    file::READ_PAGE,
    file::WRITE_PAGE,
    file::UNLINK,
    file::RENAME,
    file::MKDIR,
    file::REFUSED_OPEN,
    net::UDP_CONNECT,
    net::TCP_CONNECT,
    process::FORK,
    process::EXEC,
];

/// What the C library calls.
///
/// # Safety
/// As the C library calls it: `arguments` are `count` C strings.
#[unsafe(no_mangle)]
unsafe extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    if count == 2 {
        // SAFETY: there are two arguments.
        match unsafe { CStr::from_ptr(*arguments.add(1)) }.to_bytes() {
            // What `process::EXEC` executes.
            b"exit" => return 0,
            // A session's process that does nothing.
            b"sleep" => loop {
                // SAFETY: the call takes nothing.
                unsafe { libc::pause() };
            },
            _ => {}
        }
    }
    let words: Vec<String> = env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("loops: {error}");
            1
        }
    }
}

fn run(words: &[String]) -> io::Result<()> {
    let mut setting = Setting::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--landlock" => confine::landlock()?,
            "--apparmor" => confine::apparmor()?,
            "--daemon" => {
                let number = words.next().and_then(|number| number.parse().ok());
                setting.daemon = Some(number.ok_or_else(|| unknown("--daemon"))?);
            }
            name => {
                let found = LOOPS.iter().find(|one| one.name == name);
                let line = found
                    .ok_or_else(|| unknown(name))?
                    .run(&setting)
                    .map_err(|error| io::Error::new(error.kind(), format!("`{name}`: {error}")))?;
                println!("{}", serde_json::to_string(&line)?);
            }
        }
    }
    Ok(())
}

fn unknown(word: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("no such operation or option: `{word}`"))
}
