//! Which programs an operation runs, how often, and what each run takes.
//! The kernel counts the runs itself (`kernel.bpf_stats_enabled`); its clock is read twice for each, and
//! that is a part of what is shown.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    bpf::{self, Program},
    column::Confinement,
    kernel,
    remit::Remit,
    rows::{POLICY, SCENES},
};

/// Everything that one boot has shown.
#[derive(Serialize)]
pub(crate) struct Profile {
    /// As `uname -r` says it.
    kernel: String,
    rows: Vec<Runs>,
}

/// The runs of one program while one loop ran, with those of other tasks at that time.
#[derive(Serialize)]
struct Runs {
    operation: &'static str,
    column: &'static str,
    program: String,
    runs: u64,
    /// Instructions of one run, on average.
    instructions: u64,
}

/// Measures everything.
///
/// # Errors
/// When the kernel counts no runs, or a loop fails.
pub(crate) fn measure() -> Result<Profile> {
    let remit = Remit::start(POLICY)?;
    let counting = fs::write("/proc/sys/kernel/bpf_stats_enabled", "1");
    counting.context("the kernel can't count the runs of programs")?;
    let mut rows = Vec::new();
    for scene in SCENES {
        let _idle = remit.idle(scene.profile)?;
        for (column, confinement) in [
            ("untagged", Confinement::None),
            ("tagged", Confinement::Session(&remit, scene.profile)),
        ] {
            // What runs for the loops' start and for our own questions.
            let beside = delta(&remit, || confinement.measure("the start", &[]).map(drop))?;
            for row in scene.rows {
                if confinement.is_none() && row.refused {
                    continue;
                }
                let measure = || confinement.measure(row.operation, &[*row]).map(drop);
                for (program, mut spent) in delta(&remit, measure)? {
                    if let Some(beside) = beside.get(&program) {
                        spent.runs = spent.runs.saturating_sub(beside.runs);
                        spent.nanoseconds = spent.nanoseconds.saturating_sub(beside.nanoseconds);
                    }
                    if spent.runs >= LEAST {
                        let (operation, runs) = (row.operation, spent.runs);
                        let instructions = spent.nanoseconds / runs;
                        rows.push(Runs { operation, column, program, runs, instructions });
                    }
                }
            }
        }
    }
    remit.end()?;
    Ok(Profile { kernel: kernel()?, rows })
}

/// How many runs are the operation's, not those of something that happened at the same time.
const LEAST: u64 = 100;

/// The runs of each program while `action` took place.
fn delta(remit: &Remit, action: impl FnOnce() -> Result<()>) -> Result<BTreeMap<String, Program>> {
    let before = programs(remit)?;
    action()?;
    let mut delta = programs(remit)?;
    for (name, program) in &mut delta {
        if let Some(before) = before.get(name) {
            program.runs -= before.runs;
            program.nanoseconds -= before.nanoseconds;
        }
    }
    Ok(delta)
}

fn programs(remit: &Remit) -> Result<BTreeMap<String, Program>> {
    let links = remit.links()?;
    links.into_iter().map(|(hook, link)| Ok((hook, bpf::program(&link)?))).collect()
}
