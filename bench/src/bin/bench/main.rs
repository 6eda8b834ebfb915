//! Measures, in a guest whose clock counts instructions, what Remit costs, and prints it as JSON.
//! It takes over the host that it runs on: `cargo xtask bench` runs it.

mod bpf;
mod column;
mod flat;
mod layout;
mod process;
mod profile;
mod real;
mod remit;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;

use bpf::Floor;
use column::{Column, Confinement};
use process::say;
use remit::Remit;
use rows::{NO_SESSION, POLICY, Row, SCENES, Scene};

fn main() -> Result<()> {
    ensure!(
        env::var_os("REMIT_GUEST").is_some(),
        "the measurement takes over the host that it runs on: run it by `cargo xtask bench`"
    );
    let words: Vec<String> = env::args().skip(1).collect();
    layout::make()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let text = match words.as_slice() {
        [] => serde_json::to_string(&table()?)?,
        ["--flat"] => serde_json::to_string(&flat::measure()?)?,
        ["--profile"] => serde_json::to_string(&profile::measure()?)?,
        ["--real"] => serde_json::to_string(&real::measure()?)?,
        other => bail!("no such options: {other:?}"),
    };
    println!("{text}");
    Ok(())
}

/// Everything that one boot has shown.
#[derive(Serialize)]
struct Table {
    /// As `uname -r` says it.
    kernel: String,
    rows: Vec<Cells>,
    verifier: Verifier,
}

/// A row's cells; none where the operation was not measured.
#[derive(Serialize)]
struct Cells {
    operation: &'static str,
    bare: Option<u64>,
    floor: Option<u64>,
    untagged: Option<u64>,
    tagged: Option<u64>,
    landlock: Option<u64>,
    apparmor: Option<u64>,
}

/// What putting the programs in force cost.
#[derive(Serialize)]
struct Verifier {
    /// Instructions of the guest, those of every process, from the daemon's start until it answered.
    start: u64,
    /// Instructions that the verifier went through, by program.
    programs: BTreeMap<String, u32>,
}

/// The cells of one scene.
struct Measured {
    scene: &'static Scene,
    hooks: BTreeSet<String>,
    untagged: Column,
    tagged: Column,
}

fn table() -> Result<Table> {
    let all: Vec<Row> = SCENES.iter().flat_map(|scene| scene.rows).copied().collect();
    let bare = Confinement::None.measure("bare", &all)?;
    let remit = Remit::start(POLICY)?;
    let alone = Confinement::None.measure("no session", &[NO_SESSION])?;
    let mut scenes = Vec::new();
    let mut programs = BTreeMap::new();
    for scene in SCENES {
        scenes.push(measure_scene(&remit, scene, &mut programs)?);
    }
    let start = u64::try_from(remit.started_in.as_nanos())?;
    remit.end()?;
    let mut floor = Column::new();
    for measured in &scenes {
        let _empty = Floor::attach(measured.hooks.iter().map(String::as_str))?;
        remit::rest();
        floor.extend(Confinement::None.measure("floor", measured.scene.rows)?);
    }
    remit::rest();
    let landlock = Confinement::Landlock.measure("Landlock", &all)?;
    let apparmor = match column::load_apparmor_profile() {
        Ok(()) => Confinement::AppArmor.measure("AppArmor", &all)?,
        Err(error) => {
            say(format!("no column for AppArmor: {error:#}"));
            Column::new()
        }
    };
    let mut rows = Vec::new();
    for measured in &scenes {
        for row in measured.scene.rows {
            let cell = |column: &Column| column.get(row.operation).copied();
            rows.push(Cells {
                operation: row.operation,
                bare: cell(&bare),
                floor: cell(&floor),
                untagged: cell(&measured.untagged),
                tagged: cell(&measured.tagged),
                landlock: cell(&landlock),
                apparmor: cell(&apparmor),
            });
        }
    }
    rows.push(Cells {
        operation: NO_SESSION.operation,
        bare: bare.get(NO_SESSION.of).copied(),
        floor: floor.get(NO_SESSION.of).copied(),
        untagged: alone.get(NO_SESSION.operation).copied(),
        tagged: None,
        landlock: None,
        apparmor: None,
    });
    Ok(Table { kernel: kernel()?, rows, verifier: Verifier { start, programs } })
}

/// Measures a scene, while an idle session of its profile is live.
fn measure_scene(
    remit: &Remit,
    scene: &'static Scene,
    programs: &mut BTreeMap<String, u32>,
) -> Result<Measured> {
    let _idle = remit.idle(scene.profile)?;
    let mut hooks = BTreeSet::new();
    for (hook, link) in remit.links()? {
        programs.insert(hook.clone(), bpf::program(&link)?.verified);
        hooks.insert(hook);
    }
    for (name, link) in remit.shared()? {
        programs.insert(name, bpf::program(&link)?.verified);
    }
    let name = format!("untagged, beside a session of `{}`", scene.profile);
    let untagged = Confinement::None.measure(&name, scene.rows)?;
    let name = format!("tagged, in a session of `{}`", scene.profile);
    let tagged = Confinement::Session(remit, scene.profile).measure(&name, scene.rows)?;
    Ok(Measured { scene, hooks, untagged, tagged })
}

fn kernel() -> Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    Ok(release.context("the kernel doesn't say its version")?.trim().to_owned())
}
