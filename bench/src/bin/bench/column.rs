//! One column: the loops under one confinement.

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use bench::Line;

use crate::{
    layout,
    process::{capture, say},
    remit::{self, Remit},
    rows::{APPARMOR, REPEATS, Row},
};

/// Under what the loops run.
#[derive(Clone, Copy)]
pub(crate) enum Confinement<'a> {
    /// Under nothing.
    None,
    /// In a session of a profile's.
    Session(&'a Remit, &'a str),
    /// Under Landlock.
    Landlock,
    /// Under AppArmor, whose profile is loaded.
    AppArmor,
}

/// Instructions of one round, by the row's operation.
pub(crate) type Column = BTreeMap<&'static str, u64>;

impl Confinement<'_> {
    /// Whether nothing is confined.
    pub(crate) fn is_none(self) -> bool {
        matches!(self, Self::None)
    }

    /// Measures rows.
    ///
    /// # Errors
    /// When a loop fails, or something was refused that should not be or the other way round.
    pub(crate) fn measure(self, name: &str, rows: &[Row]) -> Result<Column> {
        say(format!("measuring {name}"));
        layout::refresh()?;
        remit::rest();
        let mut column = Column::new();
        let (fresh, plain): (Vec<Row>, Vec<Row>) = rows.iter().partition(|row| row.fresh);
        for (row, instructions) in plain.iter().zip(self.run(&plain)?) {
            column.insert(row.operation, instructions);
        }
        for row in fresh {
            let mut least = u64::MAX;
            for _ in 0..REPEATS {
                layout::deep_files()?;
                // The session before ends too.
                remit::rest();
                least = self.run(&[row])?.into_iter().fold(least, u64::min);
            }
            column.insert(row.operation, least);
        }
        Ok(column)
    }

    /// Runs the rows' loops in one process.
    fn run(self, rows: &[Row]) -> Result<Vec<u64>> {
        let mut command = self.command();
        command.args(rows.iter().map(|row| row.of));
        let mut lines = Vec::new();
        for line in capture(&mut command)?.lines() {
            lines.push(serde_json::from_str::<Line>(line).context("a loop wrote no JSON")?);
        }
        ensure!(lines.len() == rows.len(), "{command:?} measured {} operations", lines.len());
        for (row, line) in rows.iter().zip(&lines) {
            if (line.refused > 0) != (row.refused && !self.is_none()) {
                bail!("{command:?}: `{}`: {} rounds were refused", row.operation, line.refused);
            }
            if line.daemon > 0 {
                say(format!(
                    "{}: {} of {} are the daemon's",
                    row.operation, line.daemon, line.instructions
                ));
            }
        }
        Ok(lines.iter().map(|line| line.instructions).collect())
    }

    fn command(self) -> Command {
        let loops = layout::loops();
        let mut command = match self {
            Self::Session(_, profile) => {
                let mut command = remit::run(profile);
                command.arg("--").arg(loops);
                command
            }
            _ => Command::new(loops),
        };
        match self {
            Self::None => {}
            Self::Session(remit, _) => {
                command.args(["--daemon", &remit.pid().to_string()]);
            }
            Self::Landlock => {
                command.arg("--landlock");
            }
            Self::AppArmor => {
                command.arg("--apparmor");
            }
        }
        command.stderr(Stdio::inherit());
        command
    }
}

/// Loads the profile for AppArmor.
///
/// # Errors
/// When there is no parser, or the kernel has no AppArmor.
pub(crate) fn load_apparmor_profile() -> Result<()> {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    ensure!(enabled.is_ok_and(|text| text.trim() == "Y"), "this kernel runs without AppArmor");
    let file = format!("{}/apparmor", layout::HOME);
    fs::write(&file, APPARMOR).context("cannot write the profile")?;
    capture(Command::new("apparmor_parser").args(["--add", "--skip-cache", &file])).map(drop)
}
