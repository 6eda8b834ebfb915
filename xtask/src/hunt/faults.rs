//! Whether the hunt would have found what was mended since: in the build of an earlier commit, from fixed seeds.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::{MARGIN, before, build, hunt_with, words};
use crate::{
    project::root,
    say,
    vm::{kept::Kept, kernel::Series},
};

/// Where the faults are listed: `COMMIT SEED KIND: FAULT`, one a line.
const LIST: &str = "tests/hunt/faults.txt";

/// How long a fault may take to be found, in seconds.
const LONGEST: u64 = 20 * 60;

/// A fault of an earlier commit.
pub(crate) struct Fault {
    pub(crate) commit: String,
    pub(crate) seed: String,
    /// The kind of find that it is.
    pub(crate) kind: String,
    pub(crate) text: String,
}

impl Fault {
    fn read(line: &str) -> Option<Self> {
        let (head, text) = line.split_once(": ")?;
        let mut words = head.splitn(3, ' ');
        let mut word = || words.next().map(str::to_owned);
        Some(Self { commit: word()?, seed: word()?, kind: word()?, text: text.to_owned() })
    }
}

/// The faults of the list.
///
/// # Errors
/// When it can't be read, or has none.
pub(crate) fn list() -> Result<Vec<Fault>> {
    let path = root().join(LIST);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let faults =
        lines.map(|line| Fault::read(line).with_context(|| format!("{LIST}: no fault: `{line}`")));
    let faults: Vec<Fault> = faults.collect::<Result<_>>()?;
    if faults.is_empty() {
        bail!("{LIST} has no fault");
    }
    Ok(faults)
}

/// Hunts for all faults of the list, and tells whether each was found in time.
///
/// # Errors
/// When the list can't be read, or something can't be built or booted.
pub(super) fn find_again(kernel: Series) -> Result<bool> {
    let mut faults = list()?;
    build()?;
    let mut all_found = true;
    while let Some(first) = faults.first() {
        let (commit, seed) = (first.commit.clone(), first.seed.clone());
        let (now, later): (Vec<Fault>, Vec<Fault>) =
            faults.into_iter().partition(|fault| fault.commit == commit && fault.seed == seed);
        faults = later;
        say::step(format!("hunting for {} faults of {commit}, seed {seed}", now.len()));
        let mut options = words(["--seconds", &LONGEST.to_string(), "--seed", &seed]);
        for fault in &now {
            options.extend(words(["--until", &fault.kind]));
        }
        let kept = Kept::default();
        let limit = Duration::from_secs(LONGEST) + MARGIN;
        hunt_with(&before::build(&commit)?, kernel, &options, limit, Box::new(kept.clone()))?;
        let printed = kept.text();
        for fault in &now {
            let found = printed.lines().find_map(|line| {
                let (after, kind) = line.strip_prefix("FIND after ")?.split_once(" s: ")?;
                kind.starts_with(&format!("{}: ", fault.kind)).then(|| after.to_owned())
            });
            let end = found
                .as_ref()
                .map_or("not found".to_owned(), |after| format!("found after {after} s"));
            println!("{}: {end}", fault.text);
            all_found &= found.is_some();
        }
    }
    Ok(all_found)
}
