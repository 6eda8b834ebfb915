//! `remitd`, the daemon.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::daemon::main()
}
