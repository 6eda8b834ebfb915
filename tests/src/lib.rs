//! The harness of the integration tests: a daemon of the tests' own, sessions, incidents, checks.
//!
//! One `remitd` serves all tests of an executable ([`bed::bed`]); each test puts its own policy in
//! force and makes sessions with names of its own. Files that tests confine lie below `/srv`, what the
//! daemon owns below `/run/remit-test`. What a session does is done by real programs, or by the program
//! `probe` (`src/bin/probe`), which tries a list of operations and says what came of each.
//!
//! The harness knows Remit by its command line, its control interface, its log and its settings only: nothing of the
//! product is linked into it.

pub mod bed;
pub mod check;
pub mod hole;
pub mod http;
pub mod image;
pub mod incident;
pub mod layout;
pub mod outcome;
pub mod probe;
pub mod repeat;
pub mod session;
pub mod settings;

pub use bed::{Bed, bed};
pub use check::{Case, allowed, fails, judge, refused};
pub use hole::Hole;
pub use incident::Incident;
pub use outcome::Outcome;
pub use probe::{Answer, Interactive, untagged};
pub use repeat::Counts;
pub use session::{Builder, Finished, Running};
pub use settings::Changed;

/// A list of words of any string type, for commands and for operations of the probe.
#[macro_export]
macro_rules! words {
    ($($word:expr),* $(,)?) => {
        vec![$(::std::ffi::OsString::from(::std::convert::AsRef::<::std::ffi::OsStr>::as_ref(&$word))),*]
    };
}

/// Leaves a test that takes minutes on kernels where it adds little (see [`layout::takes_slow_tests`]).
#[macro_export]
macro_rules! slow {
    () => {
        if !$crate::layout::takes_slow_tests() {
            $crate::skip!("it takes minutes, and runs on 6.12; with REMIT_LONG=1 everywhere");
        }
    };
}

/// Leaves a test that this kernel or machine can't run, and says why.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        eprintln!("skipped: {}", format_args!($($reason)*));
        return;
    }};
}
