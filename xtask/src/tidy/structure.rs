//! How the files of each crate use each other, against what is allowed.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{
    circles, layers,
    modules::{Crate, Sources},
    rules,
};
use crate::{
    process::capture,
    project::{cargo, root},
};

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
    for manifest in ["Cargo.toml", "agent-ebpf/Cargo.toml"] {
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
pub(super) fn check(sources: &Sources, roots: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    let mut reached = BTreeSet::new();
    for root in roots {
        let krate = Crate::read(root, sources);
        findings.extend(krate.errors.iter().cloned());
        reached.extend(krate.files().into_iter().map(str::to_owned));
        let (arrows, externals) = (krate.arrows(), krate.externals());
        findings.extend(circles::check(&arrows));
        if root.starts_with(KERNEL_CRATE) {
            findings.extend(rules::layers(&krate, &arrows, layers::KERNEL_LAYERS));
        }
        findings.extend(rules::bans(arrows.iter().chain(&externals), layers::BANS));
    }
    let lonely = sources.keys().filter(|name| !reached.contains(*name));
    findings.extend(lonely.map(|name| {
        format!("{name}:1: no crate has this file: add a `mod` for it, or remove it")
    }));
    findings
}
