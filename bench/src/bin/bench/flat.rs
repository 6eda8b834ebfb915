//! What more sessions, tools and rules cost: nothing, by design.
//! It must not know how the cells are shown.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
};

use anyhow::{Context as _, Result, bail, ensure};
use bench::WORK;
use serde::Serialize;

use crate::{
    column::{Column, Confinement},
    kernel,
    process::say,
    remit::{self, Remit},
    rows::{OPENS, Row, SCENES},
};

/// What is measured at each size.
const OPERATIONS: [&str; 3] = ["open+close", "open+close, first time", "UDP connect"];

/// Everything that one boot has shown.
#[derive(Serialize)]
pub(crate) struct Flat {
    /// As `uname -r` says it.
    kernel: String,
    rows: Vec<Sizes>,
}

/// One operation in a session, at two sizes of one thing.
#[derive(Serialize)]
struct Sizes {
    operation: &'static str,
    of: &'static str,
    small: u32,
    large: u32,
    tagged_small: u64,
    tagged_large: u64,
}

/// Something that there can be few or many of.
struct Axis {
    of: &'static str,
    sizes: [u32; 2],
    /// How many of it the policy has that every measurement takes.
    own: u32,
    /// What is added to the policy, for so many more.
    policy: fn(u32) -> String,
}

/// The tools of [`OPENS`], its paths that are patterns, and its pairs of ranges of addresses and ports.
const OWN_TOOLS: u32 = 1;
const OWN_PATTERNS: u32 = 7;
const OWN_PAIRS: u32 = 3;

const AXES: &[Axis] = &[
    Axis { of: "tools", sizes: [10, 256], own: OWN_TOOLS, policy: tools },
    Axis { of: "path rules", sizes: [10, 100_000], own: OWN_PATTERNS, policy: paths },
    Axis { of: "network rules", sizes: [10, 10_000], own: OWN_PAIRS, policy: network },
];

/// How many sessions are live at once.
const SESSIONS: [u32; 2] = [1, 1024];

/// Measures everything.
///
/// # Errors
/// When a policy is refused, a session does not start, or a loop fails.
pub(crate) fn measure() -> Result<Flat> {
    let remit = Remit::start(OPENS)?;
    let mut rows = Vec::new();
    let small = column(&remit, "1 session")?;
    let mut crowd = Crowd::default();
    crowd.start(SESSIONS[1] - 1)?;
    let large = column(&remit, "1024 sessions")?;
    drop(crowd);
    add(&mut rows, "sessions", SESSIONS, &small, &large)?;
    for axis in AXES {
        // A tool's bit is free again when a policy without the tool was in force.
        remit.policy(OPENS)?;
        let mut columns = Vec::new();
        for size in axis.sizes {
            let added = (axis.policy)(size - axis.own);
            remit.policy(&added)?;
            columns.push(column(&remit, &format!("{size} {}", axis.of))?);
        }
        if let [small, large] = columns.as_slice() {
            add(&mut rows, axis.of, axis.sizes, small, large)?;
        }
    }
    remit.end()?;
    Ok(Flat { kernel: kernel()?, rows })
}

fn column(remit: &Remit, name: &str) -> Result<Column> {
    let is_meant = |row: &&Row| OPERATIONS.contains(&row.operation);
    let rows: Vec<Row> = SCENES[0].rows.iter().filter(is_meant).copied().collect();
    Confinement::Session(remit, SCENES[0].profile).measure(name, &rows)
}

fn add(
    rows: &mut Vec<Sizes>,
    of: &'static str,
    [small, large]: [u32; 2],
    few: &Column,
    many: &Column,
) -> Result<()> {
    for operation in OPERATIONS {
        let cell = |column: &Column| column.get(operation).copied().context("not measured");
        let (tagged_small, tagged_large) = (cell(few)?, cell(many)?);
        rows.push(Sizes { operation, of, small, large, tagged_small, tagged_large });
    }
    Ok(())
}

/// The policy with tools more, all held by the profile.
fn tools(more: u32) -> String {
    let mut text = String::new();
    for number in 0..more {
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "[tool.more-{number}]\nfiles = [{{ paths = [\"/srv/more/{number}/**\"], \
             access = [\"read\"] }}]"
        );
    }
    let names: Vec<String> = (0..more).map(|number| format!("\"more-{number}\"")).collect();
    with(&text, &names)
}

/// The policy with paths more, beside the file that is opened.
fn paths(more: u32) -> String {
    let path = |number: u32| format!("\"{WORK}/a/{}/{}\"", number / 1000, number % 1000);
    let paths: Vec<String> = (0..more).map(path).collect();
    let paths = paths.join(", ");
    let text = format!("[tool.more]\nfiles = [{{ paths = [{paths}], access = [\"read\"] }}]\n");
    with(&text, &["\"more\"".to_owned()])
}

/// The policy with ranges of addresses more.
fn network(more: u32) -> String {
    let range = |number: u32| format!("\"10.0.{}.{}/32\"", number / 256, number % 256);
    let ranges: Vec<String> = (0..more).map(range).collect();
    let ranges = ranges.join(", ");
    let text = format!(
        "[tool.more]\nnetwork = [{{ cidrs = [{ranges}], ports = [9], protocol = \"udp\" }}]\n"
    );
    with(&text, &["\"more\"".to_owned()])
}

/// The policy with more tools, which the profile holds too.
fn with(more: &str, names: &[String]) -> String {
    let own = "tools = [\"bench\"]";
    let held = format!("tools = [\"bench\", {}]", names.join(", "));
    OPENS.replace(own, &held) + "\n" + more
}

/// Many sessions of one small process each: children of this one, which stays outside of them.
#[derive(Default)]
pub(crate) struct Crowd(Vec<UnixStream>);

impl Crowd {
    /// Starts so many.
    ///
    /// # Errors
    /// When one does not start.
    pub(crate) fn start(&mut self, count: u32) -> Result<()> {
        say(format!("starting {count} sessions"));
        let most = u64::from(count) + 64;
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the record outlives the call.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        ensure!(result == 0, "so many files can't be opened");
        for number in 0..count {
            let (mut ours, theirs) = UnixStream::pair()?;
            // SAFETY: this process has one thread.
            match unsafe { libc::fork() } {
                0 => {
                    // The others' ends are not ours: who holds them keeps them from ending.
                    self.0.clear();
                    drop(ours);
                    live(theirs, number)
                }
                -1 => bail!("can't fork"),
                _ => drop(theirs),
            }
            let mut status = [0; 3];
            ours.read_exact(&mut status)?;
            ensure!(&status == b"201", "session {number} did not start");
            self.0.push(ours);
        }
        remit::rest();
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.clear();
        // SAFETY: no status is asked for.
        while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
    }
}

/// The life of a child: becomes a session, and waits for its end.
fn live(mut channel: UnixStream, number: u32) -> ! {
    let status = ask(number).unwrap_or(*b"000");
    let told = channel.write_all(&status);
    let _ = told.and_then(|()| channel.read(&mut [0]));
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(0) }
}

/// Asks for a session of this process, and returns the status of the answer.
fn ask(number: u32) -> std::io::Result<[u8; 3]> {
    let body = format!(
        r#"{{"profile": "{}", "name": "crowd-{number}", "workdir": "{WORK}"}}"#,
        SCENES[0].profile
    );
    let mut stream = UnixStream::connect(remit::socket())?;
    write!(
        stream,
        "POST /v1/sessions HTTP/1.1\r\nhost: remit\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let status = answer.get(9..12).and_then(|digits| digits.try_into().ok());
    status.ok_or(std::io::ErrorKind::InvalidData.into())
}
