//! `remitd-hole`, the daemon with hooks left out, for `cargo xtask test --without`: never installed.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::daemon::main()
}
