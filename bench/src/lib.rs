//! What the two programs of this crate agree on: where things lie, and what the loops print.
//!
//! `loops` times operations of its own process. `bench` runs it bare, beside Remit, in a session, and
//! under other confinements, all in one boot, and prints what came of it. Neither is part of the product,
//! and nothing of the product is linked into them.

use serde::{Deserialize, Serialize};

/// The work folder: what the loops use lies below it, and every confinement allows it.
pub const WORK: &str = "/srv/bench";

/// The file that is opened and read, four folders deep.
pub const FILE: &str = "/srv/bench/a/b/file";

/// The file that is written, beside it: reading looks at the time of the last writing.
pub const WRITTEN: &str = "/srv/bench/a/b/written";

/// The folder of names that are made and removed, as deep.
pub const NAMES: &str = "/srv/bench/a/names";

/// The folder, ten folders deep, of the files that are opened for the first time.
pub const DEEP: &str = "/srv/bench/a/b/c/d/e/f/g/h";

/// How many files lie there.
pub const DEEP_FILES: usize = 128;

/// A file, four folders deep, that every confinement refuses.
pub const REFUSED: &str = "/srv/refused/a/b/file";

/// The folder of the programs.
pub const PROGRAMS: &str = "/run/remit-bench/bin";

/// The port that UDP sockets are connected to.
pub const UDP_PORT: u16 = 9;

/// The port that TCP sockets are connected to, and listened on.
pub const TCP_PORT: u16 = 7077;

/// The profile of AppArmor.
pub const APPARMOR_PROFILE: &str = "remit-bench";

/// What a loop says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    /// The loop's name.
    pub operation: String,
    /// Nanoseconds for one round, which are instructions where the guest's clock counts them.
    pub instructions: u64,
    /// Those of them that the daemon spent; none unless its time is counted.
    pub daemon: u64,
    /// How many rounds were refused.
    pub refused: u64,
}
