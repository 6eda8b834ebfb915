//! Applies the tables of `layers` to the arrows between a crate's files. It must not touch the disk.

use super::{
    layers::Ban,
    modules::{Arrow, Crate},
};

/// The findings in a crate whose modules have layers: uses of a higher layer, and files that are in none.
pub(super) fn layers(krate: &Crate, arrows: &[Arrow], layers: &[&[&str]]) -> Vec<String> {
    let layer = |file: &str| {
        let name = module(file);
        layers.iter().position(|layer| layer.iter().any(|pattern| matches(pattern, name)))
    };
    let mut findings = Vec::new();
    for file in krate.shipped_files() {
        if layer(file).is_none() {
            findings.push(format!(
                "{file}:1: `{}` is in no layer: give it one in xtask/src/tidy/layers.rs",
                module(file)
            ));
        }
    }
    for arrow in arrows {
        let (Some(from), Some(to)) = (layer(&arrow.from), layer(&arrow.to)) else { continue };
        if from < to {
            findings.push(format!(
                "{}:{}: `{}` (layer {}) uses `{}` of `{}` (layer {}), which is above it: move what it takes into a \
                 layer that both may use",
                arrow.from,
                arrow.line,
                module(&arrow.from),
                from + 1,
                arrow.item(),
                module(&arrow.to),
                to + 1,
            ));
        }
    }
    findings
}

/// The uses that bans forbid, among uses of files and of other crates.
pub(super) fn bans<'a>(
    arrows: impl IntoIterator<Item = &'a Arrow>,
    bans: impl IntoIterator<Item = &'a Ban>,
) -> Vec<String> {
    let bans = Vec::from_iter(bans);
    let mut findings = Vec::new();
    for arrow in arrows {
        let (from, to) = (module(&arrow.from), module(&arrow.to));
        let is_banned = |ban: &&&Ban| {
            arrow.from.starts_with(&format!("{}/", ban.krate))
                && one_matches(ban.of, from)
                && !one_matches(ban.but, from)
                && one_matches(ban.not, to)
        };
        if let Some(ban) = bans.iter().find(is_banned) {
            findings.push(format!(
                "{}:{}: `{from}` may not use `{to}` (`{}`): {}",
                arrow.from, arrow.line, arrow.path, ban.instead
            ));
        }
    }
    findings
}

fn one_matches(patterns: &[&str], module: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, module))
}

/// Whether a pattern of the tables stands for a module.
fn matches(pattern: &str, module: &str) -> bool {
    if let Some(folder) = pattern.strip_suffix("/**") {
        module == folder || below(folder, module)
    } else if let Some(folder) = pattern.strip_suffix("/*") {
        below(folder, module)
    } else {
        pattern == module
    }
}

fn below(folder: &str, module: &str) -> bool {
    module.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// The module of a file: `cache/folder` of `agent-ebpf/src/cache/folder.rs`. A crate's name stays as it is.
pub(super) fn module(file: &str) -> &str {
    let name = file.split_once("/src/").map_or(file, |(_, name)| name);
    name.strip_suffix("/mod.rs").or(name.strip_suffix(".rs")).unwrap_or(name)
}
