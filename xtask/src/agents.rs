//! `cargo xtask agents`: real agents against a scripted model, outside of a session and in one, and the page of what
//! came of it. Knows how agents are had and how results become a page; must not know how an agent is started.

mod install;
mod page;

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use crate::{
    build::Build,
    process::run,
    project::{cargo, root, target, write},
    say,
    vm::{Guest, kept::Kept, kernel::Series},
};
use install::AGENTS;

/// Installs agents from their registries into the cache, runs each against a scripted model in a guest, as root and
/// as a user, outside of a session and in one, and writes docs/agents.md.
#[derive(clap::Args)]
pub(crate) struct Agents {
    /// Only these agents; the page is left as it is.
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// The kernel's series.
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Series,

    /// Take the binaries as they are.
    #[arg(long)]
    no_build: bool,
}

/// How long one agent's runs may take where the processors are emulated.
const LONGEST: Duration = Duration::from_secs(1800);

/// What came of one run, as the guest printed it.
pub(crate) struct Record(Value);

impl Record {
    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    fn list(&self, key: &str) -> Vec<&str> {
        self.0[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }
}

impl Agents {
    /// Runs the agents, and tells whether all worked.
    ///
    /// # Errors
    /// When one can't be installed, or the guest can't be booted.
    pub(crate) fn run(&self) -> Result<bool> {
        let names: Vec<&str> = match self.names.as_slice() {
            [] => AGENTS.iter().map(|agent| agent.name).collect(),
            names => names.iter().map(String::as_str).collect(),
        };
        if !self.no_build {
            Build::default().run()?;
        }
        let (passed, records) = try_out(&names, self.kernel)?;
        if self.names.is_empty() {
            write(&root().join("docs/agents.md"), page::page(&records, self.kernel))?;
            say::step("docs/agents.md has the results");
        }
        Ok(passed)
    }
}

/// Runs agents in a guest.
fn try_out(names: &[&str], kernel: Series) -> Result<(bool, Vec<Record>)> {
    say::step("building what runs the agents");
    let mut command = cargo();
    command.args(["build", "--release", "--package", "tests"]);
    run(command.args(["--bin", "agents", "--bin", "model", "--bin", "probe"]))?;
    for name in names {
        let Some(agent) = AGENTS.iter().find(|agent| agent.name == *name) else {
            let known: Vec<&str> = AGENTS.iter().map(|agent| agent.name).collect();
            bail!("no such agent as `{name}`: {}", known.join(", "));
        };
        agent.install()?;
    }
    let folder = install::folder()?;
    let mut command = vec![target().join("release/agents").into_os_string(), folder.into()];
    command.extend(names.iter().map(Into::into));
    let mut guest = Guest::new(&Build::default().folder(), command)?;
    guest.memory = "4G".to_owned();
    guest.timeout = LONGEST * names.len() as u32;
    let kept = Kept::default();
    guest.stdout = Box::new(kept.clone());
    guest.environment.push(("REMIT_GUEST".into(), "1".into()));
    guest.environment.push(("REMIT_KERNEL".into(), kernel.name().into()));
    let status = guest.run(kernel)?;
    let text = kept.text();
    let lines = text.lines().filter_map(|line| line.trim_end().strip_prefix("AGENT "));
    let records: Vec<Record> =
        lines.filter_map(|line| serde_json::from_str(line).ok()).map(Record).collect();
    if records.is_empty() {
        bail!("the guest tried no agent");
    }
    Ok((status == 0, records))
}
