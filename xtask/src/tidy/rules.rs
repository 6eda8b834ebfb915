//! Applies the tables of `layers` to the arrows between a crate's files. It must not touch the disk.

use std::collections::BTreeMap;

use super::{
    layers::{Ban, Uses},
    modules::{Arrow, Crate},
};

/// The findings in a crate whose modules have layers: uses of a higher layer, and files that are in none.
pub(super) fn layers(krate: &Crate, arrows: &[Arrow], layers: &[&[&str]]) -> Vec<String> {
    let layer = |module: &str| layers.iter().position(|layer| one_matches(layer, module));
    let mut findings = Vec::new();
    for file in krate.shipped_files().into_iter().filter(|file| layer(module(file)).is_none()) {
        let name = module(file);
        findings.push(format!(
            "{file}:1: `{name}` is in no layer: give it one in xtask/src/tidy/layers.rs"
        ));
    }
    findings.extend(told(arrows, |from, to| {
        let (below, above) = (layer(from)?, layer(to)?);
        (below < above).then(|| {
            format!(
                "layer {} may not use layer {}: move what is taken to a layer that both may use",
                below + 1,
                above + 1
            )
        })
    }));
    findings
}

/// The findings in a crate in which it is said who may use whom: what is not said, and files that are in no line.
pub(super) fn uses(krate: &Crate, arrows: &[Arrow], uses: &[Uses]) -> Vec<String> {
    let line = |module: &str| uses.iter().find(|line| one_matches(line.of, module));
    let mut findings = Vec::new();
    for file in krate.shipped_files().into_iter().filter(|file| line(module(file)).is_none()) {
        let name = module(file);
        findings.push(format!(
            "{file}:1: nothing says what `{name}` may use: add it to xtask/src/tidy/layers.rs"
        ));
    }
    findings.extend(told(arrows, |from, to| {
        let line = line(from).filter(|line| !one_matches(line.may, to))?;
        let others = Vec::from_iter(line.may.iter().filter(|name| !one_matches(line.of, name)));
        Some(match others.as_slice() {
            [] => "it may use no other module".to_owned(),
            others => format!("of other modules it may use {others:?} alone"),
        })
    }));
    findings
}

/// The findings of uses that bans forbid, of files or of other crates' items.
pub(super) fn bans<'a>(arrows: impl IntoIterator<Item = &'a Arrow>, bans: &[Ban]) -> Vec<String> {
    let arrows = Vec::from_iter(arrows);
    let in_crate = |arrow: &Arrow, ban: &Ban| arrow.from.split('/').next() == Some(ban.krate);
    let findings = bans.iter().flat_map(|ban| {
        told(arrows.iter().copied().filter(|arrow| in_crate(arrow, ban)), |from, to| {
            let is_banned = one_matches(ban.of, from)
                && !one_matches(ban.but, from)
                && one_matches(ban.not, to);
            is_banned.then(|| ban.instead.to_owned())
        })
    });
    findings.collect()
}

/// One finding for each file and what it may not use, with all items that it takes; `why` gets both modules.
fn told<'a>(
    arrows: impl IntoIterator<Item = &'a Arrow>,
    why: impl Fn(&str, &str) -> Option<String>,
) -> Vec<String> {
    let mut pairs: BTreeMap<(&str, &str), Vec<&Arrow>> = BTreeMap::new();
    for arrow in arrows {
        pairs.entry((&arrow.from, &arrow.to)).or_default().push(arrow);
    }
    let findings = pairs.into_values().filter_map(|arrows| {
        let first = arrows.first()?;
        let (from, to) = (module(&first.from), module(&first.to));
        let why = why(from, to)?;
        let items = Vec::from_iter(arrows.iter().map(|arrow| format!("`{}`", arrow.item())));
        let (items, place) = (items.join(", "), format!("{}:{}", first.from, first.line));
        Some(format!("{place}: `{from}` takes {items} from `{to}`: {why}"))
    });
    findings.collect()
}

fn one_matches(patterns: &[&str], module: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, module))
}

/// Whether a pattern of the tables stands for a module or an item.
fn matches(pattern: &str, module: &str) -> bool {
    if let Some(folder) = pattern.strip_suffix("/**") {
        module.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    } else if let Some(beginning) = pattern.strip_suffix('*') {
        module.starts_with(beginning)
    } else {
        pattern == module
    }
}

/// The module of a file: `cache/folder` of `agent-ebpf/src/cache/folder.rs`. An item's path stays as it is.
fn module(file: &str) -> &str {
    let name = file.split_once("/src/").map_or(file, |(_, name)| name);
    name.strip_suffix("/mod.rs").or(name.strip_suffix(".rs")).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::{layers::BANS, testing::krate};

    const LAYERS: &[&[&str]] = &[&["lib", "low"], &["high", "high/*"]];
    const LINES: &[Uses] = &[
        Uses { of: &["high/**"], may: &["high/**", "low"] },
        Uses { of: &["low", "lib"], may: &[] },
    ];

    fn in_layers(low: &str, high: &str) -> Vec<String> {
        let krate = krate("agent", &[("lib", "mod low;\nmod high;"), ("low", low), ("high", high)]);
        layers(&krate, &krate.arrows(), LAYERS)
    }

    #[test]
    fn layers_use_of_a_lower_layer_is_no_finding() {
        assert_eq!(in_layers("pub struct A;", "use crate::low::A;"), [""; 0]);
    }

    #[test]
    fn layers_use_of_a_higher_layer_is_found_with_its_line() {
        let findings = in_layers("\nuse crate::high::{A, b};", "pub struct A;\npub fn b() {}");
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert!(
            finding.starts_with("agent/src/low.rs:2: `low` takes `A`, `b` from `high`: layer 1")
        );
    }

    #[test]
    fn layers_file_in_no_layer_is_found() {
        let krate = krate("agent", &[("lib", "mod low;\nmod other;"), ("low", ""), ("other", "")]);
        let findings = layers(&krate, &krate.arrows(), LAYERS);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].starts_with("agent/src/other.rs:1: `other` is in no layer"));
    }

    #[test]
    fn uses_what_is_said_is_no_finding_and_what_is_not_is_found() {
        let files = |low| {
            krate(
                "agent",
                &[
                    ("lib", "mod high;\nmod low;"),
                    ("low", low),
                    ("high", "mod a;\npub struct A(crate::low::B);"),
                    ("high/a", "use super::A;"),
                ],
            )
        };
        let sound = files("pub struct B;");
        assert_eq!(uses(&sound, &sound.arrows(), LINES), [""; 0]);
        let broken = files("pub struct B;\nfn a() -> crate::high::A { loop {} }");
        assert_eq!(
            uses(&broken, &broken.arrows(), LINES),
            ["agent/src/low.rs:2: `low` takes `A` from `high`: it may use no other module"]
        );
    }

    #[test]
    fn uses_file_in_no_line_is_found() {
        let krate = krate("agent", &[("lib", "mod other;"), ("other", "")]);
        let findings = uses(&krate, &krate.arrows(), LINES);
        assert_eq!(findings.len(), 1);
        assert!(findings[0].starts_with("agent/src/other.rs:1: nothing says what `other` may use"));
    }

    /// What the project's own bans find in two files, the second of which is that module.
    fn banned(package: &str, module: &str, text: &str) -> Vec<String> {
        let (mut files, mut above) = (Vec::new(), String::new());
        let root = if package == "agent" { "lib" } else { "main" };
        let parts = Vec::from_iter(module.split('/'));
        files.push((root.to_owned(), format!("mod maps;\nmod {};", parts[0])));
        for (at, part) in parts.iter().enumerate() {
            above = if at == 0 { (*part).to_owned() } else { format!("{above}/{part}") };
            let text = match parts.get(at + 1) {
                Some(next) => format!("mod {next};\nmod other;"),
                None => text.to_owned(),
            };
            files.push((above.clone(), text));
        }
        files.push(("maps".to_owned(), "pub static FILES: u8 = 0;".to_owned()));
        let folder = parts[..parts.len() - 1].join("/");
        files.push((format!("{folder}/other"), "pub fn about() {}".to_owned()));
        let files = Vec::from_iter(files.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        let krate = krate(package, &files);
        let (arrows, externals) = (krate.arrows(), krate.externals());
        bans(arrows.iter().chain(&externals), BANS)
    }

    fn assert_banned(package: &str, module: &str, text: &str, why: &str) {
        let findings = banned(package, module, text);
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert!(finding.starts_with(&format!("{package}/src/{module}.rs:1: ")), "{finding}");
        assert!(finding.contains(why), "{finding}");
    }

    #[test]
    fn bans_hook_that_uses_a_hook_or_a_map_is_found() {
        assert_banned(
            "agent-ebpf",
            "hooks/file",
            "use super::other::about;",
            "no hook uses another",
        );
        assert_banned(
            "agent-ebpf",
            "hooks/file",
            "fn a() { crate::maps::FILES; }",
            "touches a map",
        );
        assert_eq!(banned("agent-ebpf", "check/file", "use super::other::about;"), [""; 0]);
        assert_eq!(banned("agent-ebpf", "cache/file", "use crate::maps::FILES;"), [""; 0]);
    }

    #[test]
    fn bans_second_caller_of_the_decision_is_found() {
        let call = "use agent_common::decision; fn a() { decision::decide(); }";
        assert_banned("agent-ebpf", "check/file", call, "alone calls the decision");
        assert_banned(
            "agent-ebpf",
            "walk",
            "use agent_common::decision::{Reason, decide};",
            "alone",
        );
        assert_eq!(banned("agent-ebpf", "check/judge", call), [""; 0]);
    }

    #[test]
    fn bans_reading_of_kernel_memory_outside_of_kernel_is_found() {
        let copy = "use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_kernel};";
        let load = "fn a() { unsafe { core::arch::asm!(\"nop\") } }";
        for text in [copy, load, "use agent_common::offsets::Offsets;"] {
            assert_banned("agent-ebpf", "walk", text, "`kernel` alone reads kernel structures");
            assert_eq!(banned("agent-ebpf", "kernel", text), [""; 0]);
            assert_eq!(banned("agent-ebpf", "kernel/mounts", text), [""; 0]);
        }
    }

    #[test]
    fn bans_map_outside_of_maps_is_found() {
        let text = "use aya_ebpf::{macros::btf_map, programs::LsmContext};";
        assert_banned("agent-ebpf", "given", text, "`maps` alone defines maps");
    }

    #[test]
    fn bans_what_crates_a_part_of_the_daemon_may_use_is_held() {
        assert_banned("agent", "session/entry", "use aya::maps::Array;", "`bpf` alone uses aya");
        assert_eq!(banned("agent", "bpf/load", "use aya::maps::Array;"), [""; 0]);
        assert_banned(
            "agent",
            "policy/source",
            "use std::fs; fn a() { fs::write(); }",
            "reads files",
        );
        assert_eq!(
            banned("agent", "policy/source", "use std::fs; fn a() { fs::read(); }"),
            [""; 0]
        );
        assert_banned("agent", "api/policy", "use agent_common::id::Tag;", "the kernel's side");
        assert_banned(
            "agent",
            "daemon/lock",
            "fn a() { libc::ptrace(); }",
            "nothing in user space",
        );
    }
}
