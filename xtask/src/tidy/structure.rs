//! How the files of each crate use each other, against what is allowed.

use std::{
    collections::BTreeSet,
    panic::resume_unwind,
    thread::{self, ScopedJoinHandle},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{
    circles, layers,
    modules::{Crate, Sources},
    panics, rules,
};
use crate::{
    process::capture,
    project::{cargo, root},
};

/// The two workspaces: the kernel programs are built for another target.
pub(super) const MANIFESTS: [&str; 2] = ["Cargo.toml", "agent-ebpf/Cargo.toml"];
/// The crate whose modules have layers.
const KERNEL_CRATE: &str = "agent-ebpf/";

/// What cargo tells of the packages of a workspace.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    src_path: String,
}

/// The root files of all crates of the project, as git names them.
///
/// # Errors
/// When cargo can't be run.
pub(super) fn roots() -> Result<BTreeSet<String>> {
    let mut roots = BTreeSet::new();
    for manifest in MANIFESTS {
        let mut command = cargo();
        command.args(["metadata", "--no-deps", "--format-version=1", "--manifest-path", manifest]);
        let metadata: Metadata = serde_json::from_slice(&capture(&mut command)?)
            .context("cannot read what cargo tells of the packages")?;
        let targets = metadata.packages.into_iter().flat_map(|package| package.targets);
        let folder = format!("{}/", root().display());
        roots.extend(targets.map(|target| match target.src_path.strip_prefix(&folder) {
            Some(name) => name.to_owned(),
            None => target.src_path,
        }));
    }
    Ok(roots)
}

/// The findings in all crates of those root files.
pub(super) fn check<'a>(sources: &'a Sources, roots: &'a BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut reached = BTreeSet::new();
    // A thread for each crate: reading them is what takes the time.
    let crates = thread::scope(|scope| {
        let check = |root: &'a String| scope.spawn(move || check_crate(root, sources));
        let threads: Vec<_> = roots.iter().map(check).collect();
        let join = |thread: ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        };
        Vec::from_iter(threads.into_iter().map(join))
    });
    for (found, files) in crates {
        findings.extend(found);
        reached.extend(files);
    }
    let lonely = sources.keys().filter(|name| !reached.contains(*name));
    findings.extend(
        lonely.map(|name| {
            format!("{name}:1: no crate has this file: add a `mod` for it, or remove it")
        }),
    );
    findings
}

/// The findings in one crate, and its files.
fn check_crate(root: &str, sources: &Sources) -> (Vec<String>, BTreeSet<String>) {
    let krate = Crate::read(root, sources);
    let mut findings = krate.errors.clone();
    let (arrows, externals) = (krate.arrows(), krate.externals());
    let has_layers = root.starts_with(KERNEL_CRATE);
    findings.extend(circles::check(&arrows, !has_layers));
    if has_layers {
        findings.extend(rules::layers(&krate, &arrows, layers::KERNEL_LAYERS));
    }
    if root.starts_with("agent/src/") {
        findings.extend(rules::uses(&krate, &arrows, layers::USES));
    }
    findings.extend(panics::check(root, &krate, sources));
    findings.extend(rules::bans(arrows.iter().chain(&externals), layers::BANS));
    (findings, krate.files().into_iter().map(str::to_owned).collect())
}
