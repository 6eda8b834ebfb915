//! `cargo xtask tidy`: what must hold for every file of the project and for what it depends on, then rustfmt and
//! clippy.
//! Reads what git tracks; changes nothing.

mod checks;
mod circles;
mod dependencies;
mod hooks;
mod layers;
mod modules;
mod panics;
mod rules;
mod structure;
#[cfg(test)]
mod testing;

use std::{collections::BTreeSet, env, fs, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    build::{self, bpf_cargo},
    process::{capture, run},
    project::{cargo, root},
    say,
};

use modules::Sources;

/// Checks the files' form, how they use each other, the dependencies, the formatting and clippy's lints.
#[derive(clap::Args)]
pub(crate) struct Tidy {
    /// Check the files only: their form, and how they use each other.
    #[arg(long)]
    files_only: bool,
}

impl Tidy {
    /// Checks everything, prints all findings, and tells whether there were none.
    ///
    /// # Errors
    /// When git or cargo can't be run.
    pub(crate) fn run(&self) -> Result<bool> {
        say::step("checking the files");
        let mut findings = files()?;
        if !self.files_only {
            findings.extend(dependencies()?);
            findings.extend(tools()?);
        }
        for finding in &findings {
            say::warn(finding);
        }
        if findings.is_empty() {
            say::step("tidy");
        }
        Ok(findings.is_empty())
    }
}

/// The findings in all files that git knows or would add.
fn files() -> Result<Vec<String>> {
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let names = capture(list.current_dir(root()))?;
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    let mut sources = Sources::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name);
        // A file that was removed but not yet from the index, or that is no text, has no form.
        if let Ok(text) = fs::read_to_string(root().join(&*name)) {
            findings.extend(checks::check(&name, &text));
            if name.starts_with(hooks::FOLDER) {
                used.extend(hooks::used(&text).map(str::to_owned));
            }
            if name.ends_with(".rs") {
                sources.insert(name.into_owned(), text);
            }
        }
    }
    let page = fs::read_to_string(root().join(hooks::PAGE)).unwrap_or_default();
    findings.extend(hooks::check(&page, &used));
    findings.extend(structure::check(&sources, &structure::roots()?));
    Ok(findings)
}

/// The findings in what is depended on.
fn dependencies() -> Result<Vec<String>> {
    say::step("checking the dependencies");
    let host = format!("{}-unknown-linux-gnu", env::consts::ARCH);
    let mut workspaces = Vec::new();
    for manifest in structure::MANIFESTS {
        let mut command = cargo();
        command.args(["metadata", "--locked", "--format-version=1", "--filter-platform", &host]);
        let told = capture(command.args(["--manifest-path", manifest]))?;
        workspaces.push(serde_json::from_slice(&told).context("cannot read what cargo tells")?);
    }
    let allowed = fs::read_to_string(root().join(dependencies::FILE)).unwrap_or_default();
    Ok(dependencies::check(&allowed, &workspaces))
}

/// The names of the tools that found something; what they found they print themselves.
fn tools() -> Result<Vec<String>> {
    let mut commands = vec![
        ("rustfmt", cargo_with(&["fmt", "--check"])),
        ("clippy", cargo_with(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
    ];
    if root().join("agent-ebpf/src/main.rs").exists() {
        let mut format = cargo_with(&["fmt", "--check"]);
        format.current_dir(root().join("agent-ebpf"));
        commands.push(("rustfmt in agent-ebpf", format));
        // Clippy on the host embeds the object.
        build::object()?;
        let mut clippy = bpf_cargo("clippy")?;
        clippy.args(["--release", "--", "-D", "warnings"]);
        commands.push(("clippy in agent-ebpf", clippy));
    }
    let mut findings = Vec::new();
    for (name, mut command) in commands {
        say::step(format!("running {name}"));
        if run(&mut command).is_err() {
            findings.push(format!("{name} has findings"));
        }
    }
    Ok(findings)
}

fn cargo_with(words: &[&str]) -> Command {
    let mut command = cargo();
    command.args(words);
    command.env(build::OBJECT_VARIABLE, build::object_path());
    command
}
