//! Remarks on files that define by themselves what ships: they stay as they are when what ships gets better.

use std::path::{Path, PathBuf};

use super::case::remark_at;
use crate::policy::{self, Diagnostic, Files, Place, Policy};

/// One remark for each file of the folder that defines tools or profiles which ship.
pub(super) fn remarks(policy: &Policy, files: &Files, shipped: &Path) -> Vec<Diagnostic> {
    let Some(ships) = all(shipped) else { return Vec::new() };
    let own = |place: &Place| files.own.iter().any(|source| source.path == **place.file);
    let tools = policy.tools.iter().filter(|(name, _)| ships.tools.contains_key(*name));
    let profiles = policy.profiles.iter().filter(|(name, _)| ships.profiles.contains_key(*name));
    let mut found: Vec<_> = tools
        .map(|(name, tool)| (&tool.place, format!("`{name}`"), tool_file(&ships, name)))
        .chain(profiles.map(|(name, profile)| {
            (&profile.place, format!("profile `{name}`"), profile_file(&ships, name))
        }))
        .filter(|(place, ..)| own(place))
        .collect();
    found.sort_by_key(|(place, ..)| (place.file.to_path_buf(), place.line));
    found.chunk_by(|(a, ..), (b, ..)| a.file == b.file).filter_map(|of| remark(of, files)).collect()
}

/// Everything that ships, if it can be read.
fn all(shipped: &Path) -> Option<Policy> {
    let files = policy::with_shipped(policy::read(shipped).ok()?, shipped).ok()?;
    policy::check_files(&files).ok()
}

fn tool_file(ships: &Policy, name: &str) -> Option<PathBuf> {
    ships.tools.get(name).map(|tool| tool.place.file.to_path_buf())
}

fn profile_file(ships: &Policy, name: &str) -> Option<PathBuf> {
    ships.profiles.get(name).map(|profile| profile.place.file.to_path_buf())
}

/// The remark on what one file defines, at the first.
fn remark(found: &[(&Place, String, Option<PathBuf>)], files: &Files) -> Option<Diagnostic> {
    let (place, ..) = found.first()?;
    let names: Vec<_> = found.iter().map(|(_, name, _)| name.as_str()).collect();
    let mut from: Vec<_> = found
        .iter()
        .filter_map(|(_, _, file)| Some(format!("{:?}", file.as_ref()?.file_stem()?)))
        .collect();
    from.sort();
    from.dedup();
    let message = format!("defined here, and ships too, maybe newer: {}", names.join(", "));
    let help = format!("`use = [{}]` takes them instead", from.join(", "));
    Some(remark_at(place, 1, files, "policy::ships", &message, &help))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::policy::Source;

    #[test]
    fn file_that_defines_what_ships_is_remarked_on_with_the_names() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in
            [("git", "[tool.git]\n[tool.github]\n"), ("agents", "[profile.coder]\n")]
        {
            let text = format!("schema = 1\n{text}");
            fs::write(dir.path().join(format!("{name}.toml")), text).unwrap();
        }
        let of = |text: &str| {
            let own = vec![Source { path: "/p/old.toml".into(), text: text.into() }];
            let files = policy::with_shipped(own, dir.path()).unwrap();
            let policy = policy::check_files(&files).unwrap();
            remarks(&policy, &files, dir.path())
        };
        let old = "schema = 1\n[tool.mine]\n[tool.github]\n[tool.git]\n[profile.coder]\n";
        let said: Vec<_> = of(old).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "/p/old.toml:3:7: warning: defined here, and ships too, maybe newer: `github`, `git`, \
              profile `coder`\n 3 | [tool.github]\n   |       ^\nhelp: `use = [\"agents\", \"git\"]` \
              takes them instead"
            ]
        );
        assert_eq!(of("schema = 1\nuse = [\"git\"]\n[tool.mine]\n"), []);
    }
}
