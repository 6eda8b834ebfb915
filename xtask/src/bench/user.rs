//! `cargo xtask bench --user`: what user space takes, as ratios to a yardstick in the same run. The
//! yardsticks are tests of the crate `agent` that an ordinary run leaves out.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{
    process::{capture_text, run},
    project::cargo,
    say,
};

/// What the names of all yardsticks contain.
const FILTER: &str = "yardstick";

/// Where files lie in memory.
const MEMORY: &str = "/dev/shm";

/// Runs each in a process of its own, since one looks at its memory, and tells whether all held.
///
/// # Errors
/// When they don't compile, or there are none.
pub(super) fn run_all() -> Result<bool> {
    say::step("building the yardsticks");
    let list = capture_text(tests().args(["--ignored", "--list", "--format=terse", FILTER]))?;
    let names: Vec<&str> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    if names.is_empty() {
        bail!("no test is named `{FILTER}`");
    }
    let mut passed = true;
    for name in names {
        let mut one = tests();
        one.args(["--ignored", "--exact", "--nocapture", name]);
        // What is measured is not the disk.
        if Path::new(MEMORY).is_dir() {
            one.env("TMPDIR", MEMORY);
        }
        passed &= run(&mut one).is_ok();
    }
    Ok(passed)
}

/// The tests of `agent`, optimized; what follows is for the executable.
fn tests() -> Command {
    let mut command = cargo();
    command.args(["test", "--quiet", "--release", "--package", "agent", "--lib", "--"]);
    command
}
