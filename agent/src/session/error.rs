//! Why the registry refuses or fails.

use std::{io, path::PathBuf, time::Duration};

use crate::{
    bpf::KernelError,
    groups::NoLimits,
    policy::{self, Diagnostic},
};

/// Why a request changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No session of that name or id.
    #[error("no session `{name}`")]
    NoSession {
        /// What the user wrote.
        name: String,
        /// A live one that may have been meant.
        nearest: Option<String>,
    },
    /// The session has ended.
    #[error("session `{name}` has ended")]
    Ended {
        /// Its name.
        name: String,
    },
    /// No profile of that name.
    #[error("no profile `{name}` in the policy")]
    NoProfile {
        /// What the user wrote.
        name: String,
        /// One that may have been meant.
        nearest: Option<String>,
    },
    /// No tool of that name.
    #[error("no tool `{name}` in the policy")]
    NoTool {
        /// What the user wrote.
        name: String,
        /// One that may have been meant.
        nearest: Option<String>,
    },
    /// The session does not hold the tool.
    #[error("session `{session}` does not hold `{tool}`")]
    NotHeld {
        /// The session's name.
        session: String,
        /// The tool.
        tool: String,
    },
    /// The session holds the tool until its end already.
    #[error("session `{session}` holds `{tool}` until its end already")]
    HeldAlready {
        /// The session's name.
        session: String,
        /// The tool.
        tool: String,
    },
    /// Another live session has the name.
    #[error("a live session is called `{name}` already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The name has other characters than allowed.
    #[error("`{name}` is not a session name")]
    BadName {
        /// What the user wrote.
        name: String,
        /// What would be right.
        help: &'static str,
    },
    /// A text is too long or has characters that don't belong into one line.
    #[error("the {what} is not fit")]
    BadText {
        /// Which text.
        what: &'static str,
        /// What would be right.
        help: &'static str,
    },
    /// The work folder is not an absolute path.
    #[error("`{workdir}` is not an absolute path")]
    BadWorkdir {
        /// What the user wrote.
        workdir: String,
    },
    /// A variable that the profile's tools need has no value.
    #[error("profile `{profile}` needs a value for `{{{variable}}}`")]
    MissingVariable {
        /// The profile.
        profile: String,
        /// The variable.
        variable: String,
    },
    /// A variable has a name that is taken or malformed.
    #[error("`{variable}` can't be set")]
    BadVariable {
        /// Its name.
        variable: String,
        /// What would be right.
        help: &'static str,
    },
    /// The time is zero.
    #[error("the time to live is zero")]
    ZeroTtl,
    /// The time is longer than the profile allows.
    #[error("{} is longer than the {} that profile `{profile}` allows", Span(*asked), Span(*most))]
    LongTtl {
        /// The profile.
        profile: String,
        /// The time that was asked for.
        asked: Duration,
        /// The longest time that the profile allows.
        most: Duration,
    },
    /// All slots are taken.
    #[error("1,024 sessions are live, the most that fit: end one (`remit session end S`)")]
    Full,
    /// All free slots still have processes of ended sessions.
    #[error(
        "no place is free: ended sessions left processes that run on, refused everything: kill them \
         (`remit session end S --kill` does at once)"
    )]
    Occupied,
    /// The starter has as many sessions as the profile lets them.
    #[error(
        "you have {most} sessions of profile `{profile}`, the most that it lets you have at once"
    )]
    TooMany {
        /// The profile.
        profile: String,
        /// How many.
        most: u32,
    },
    /// The session can't go from its state to that one.
    #[error("session `{name}` is {state}")]
    WrongState {
        /// Its name.
        name: String,
        /// Its state.
        state: &'static str,
    },
    /// The session's limits can't be set.
    #[error("the session can't have the limits of its profile: {0}")]
    Limits(#[from] NoLimits),
    /// The session's processes can't be frozen.
    #[error("session `{name}` is quarantined, but its processes can't be frozen: {why}")]
    Unfrozen {
        /// Its name.
        name: String,
        /// Why not.
        why: String,
    },
    /// Processes that were killed live on.
    #[error(
        "{} process{} of the session live{} on although killed: {}",
        processes.len(),
        if processes.len() == 1 { "" } else { "es" },
        if processes.len() == 1 { "s" } else { "" },
        Numbers(processes)
    )]
    Left {
        /// Their ids.
        processes: Vec<i32>,
    },
    /// The policy has errors.
    #[error("the policy has {} error{}", .0.len(), if .0.len() == 1 { "" } else { "s" })]
    Policy(Vec<Diagnostic>),
    /// The policy's folder can't be read.
    #[error(transparent)]
    Read(#[from] policy::ReadError),
    /// The policy can't be compiled, or not for this session.
    #[error("{0}")]
    Compile(String),
    /// A pushed file's name is not one that the policy's folder may hold.
    #[error("`{name}` is not a policy file's name")]
    BadFile {
        /// What the user wrote.
        name: String,
    },
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The state directory refused.
    #[error("can't {action} `{}`: {source}", path.display())]
    Store {
        /// The operation.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A folder of the session's own can't be made.
    #[error("can't make the session's `{{{variable}}}` below `{}`: {source}", dir.display())]
    Folder {
        /// The variable that stands for it.
        variable: &'static str,
        /// Where it would be.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The log can't be written, so no authority is given.
    #[error("{reason}: nothing that gives authority is done until it can be written")]
    Unlogged {
        /// What is wrong with the log.
        reason: String,
    },
}

impl Error {
    /// What would be right, where that is known.
    pub fn help(&self) -> Option<String> {
        let meant = |nearest: &Option<String>| {
            nearest.as_ref().map(|name| format!("did you mean `{name}`?"))
        };
        match self {
            Self::NoSession { nearest, .. } => {
                meant(nearest).or_else(|| Some("`remit session list` shows the live ones".into()))
            }
            Self::NoProfile { nearest, .. } | Self::NoTool { nearest, .. } => meant(nearest),
            Self::BadName { help, .. }
            | Self::BadText { help, .. }
            | Self::BadVariable { help, .. } => Some((*help).into()),
            Self::MissingVariable { variable, .. } => Some(missing(variable)),
            Self::ZeroTtl => Some("a time such as `90s`, `15m` or `8h`".into()),
            Self::LongTtl { most, .. } => Some(format!("at most `{}`", Span(*most))),
            Self::TooMany { .. } => Some("end one, or have an operator start it".into()),
            Self::Limits(_) => Some(
                "take `limits` out of the profile, or see what `remit doctor` says of control groups"
                    .into(),
            ),
            Self::Left { .. } => Some(
                "the session may do nothing that was taken from it; they wait for a device or a file system: \
                 `ps -o pid,stat,wchan:32 -p …` shows which, and killing them again ends those that are left"
                    .into(),
            ),
            Self::NameTaken { .. } => Some("choose another `--name`, or leave it out".into()),
            Self::BadFile { .. } => {
                Some("letters, digits, `.`, `_` and `-`, ending in `.toml`".into())
            }
            _ => None,
        }
    }
}

/// What helps where a variable has no value.
fn missing(variable: &str) -> String {
    match variable {
        "gitdir" | "worktree" => {
            "the daemon finds it where the work folder's repository lies elsewhere".into()
        }
        _ if super::variables::is_own(variable) => {
            "the daemon sets it, and found no value that a path can have".into()
        }
        _ => format!("add `--var {variable}=…`"),
    }
}

/// Shows the first ten of some numbers.
struct Numbers<'a>(&'a [i32]);

impl std::fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, number) in self.0.iter().take(10).enumerate() {
            write!(f, "{}{number}", if place == 0 { "" } else { ", " })?;
        }
        if self.0.len() > 10 { f.write_str(", …") } else { Ok(()) }
    }
}

/// A time as policies write it: `90s`, `15m`, `8h`.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub Duration);

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0 if self.0.is_zero() => f.write_str("0s"),
            0 => write!(f, "{}ms", self.0.as_millis()),
            _ if seconds.is_multiple_of(3600) => write!(f, "{}h", seconds / 3600),
            _ if seconds.is_multiple_of(60) => write!(f, "{}m", seconds / 60),
            _ if seconds > 3600 => {
                write!(f, "{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
            }
            _ if seconds > 60 => write!(f, "{}m{}s", seconds / 60, seconds % 60),
            _ => write!(f, "{seconds}s"),
        }
    }
}
