//! No panic where input passes. Clippy, which knows types, finds what may panic; here it is held that the crates deny
//! its lints, and found what no lint of it knows. It must not touch the disk.

use syn::{Attribute, Meta};

use super::modules::{Crate, Sources};

/// Lints of what ends a program.
const PANICS: &[&str] = &[
    "clippy::expect_used",
    "clippy::panic",
    "clippy::todo",
    "clippy::unimplemented",
    "clippy::unreachable",
    "clippy::unwrap_used",
];
const INDEXING: &[&str] = &["clippy::indexing_slicing", "clippy::string_slice"];
/// An exception is an `expect` with its reason, which is found when it is none any more.
const EXCEPTIONS: &[&str] = &["clippy::allow_attributes"];

/// The roots of the crates that input passes through, and the lints that each denies.
///
/// Indexing in `agent-ebpf` needs no lint: where an index may be out of bounds the compiler calls the panic handler,
/// which is a loop without an end, and the verifier refuses it at each load.
const ROOTS: &[(&str, &[&[&str]])] = &[
    ("agent/src/lib.rs", &[PANICS, INDEXING, EXCEPTIONS]),
    ("agent-common/src/lib.rs", &[PANICS, INDEXING, EXCEPTIONS]),
    ("agent-ebpf/src/main.rs", &[PANICS, EXCEPTIONS]),
];

/// Macros that panic and that no lint finds.
const ASSERTIONS: &[&str] = &["assert", "assert_eq", "assert_ne"];

/// The findings in a crate, if it is one that input passes through.
pub(super) fn check(root: &str, krate: &Crate, sources: &Sources) -> Vec<String> {
    let Some((_, lints)) = ROOTS.iter().find(|(file, _)| *file == root) else { return Vec::new() };
    let denied = sources.get(root).map(|text| denied(text)).unwrap_or_default();
    let lints = lints.iter().copied().flatten();
    let missing = lints.filter(|lint| !denied.iter().any(|denied| denied == *lint));
    let mut findings = Vec::from_iter(missing.map(|lint| {
        format!(
            "{root}:1: the crate does not deny `{lint}`: add it to the attribute `deny` at its top"
        )
    }));
    for (file, line, name) in krate.macros().filter(|(_, _, name)| ASSERTIONS.contains(name)) {
        findings
            .push(format!("{file}:{line}: `{name}!` may panic: return an error, or use a `const`"));
    }
    findings
}

/// The lints that a crate denies by attributes at its top, in its tests or not.
fn denied(text: &str) -> Vec<String> {
    let Ok(file) = syn::parse_file(text) else { return Vec::new() };
    let lints = file.attrs.iter().filter_map(list).flat_map(|list| {
        let list = list.trim_end_matches(')').to_owned();
        Vec::from_iter(list.split(',').map(str::to_owned))
    });
    lints.collect()
}

/// What stands in the brackets of `deny(…)` or `cfg_attr(not(test), deny(…))`, without spaces.
fn list(attribute: &Attribute) -> Option<String> {
    let Meta::List(list) = &attribute.meta else { return None };
    let text = list.tokens.to_string().replace(char::is_whitespace, "");
    if list.path.is_ident("deny") {
        Some(text)
    } else if list.path.is_ident("cfg_attr") {
        text.strip_prefix("not(test),deny(").map(str::to_owned)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, process::Command, process::Stdio};

    use super::*;
    use crate::{
        project::{root, target},
        tidy::testing::krate,
    };

    const ROOT: &str = "agent/src/lib.rs";

    fn found(attributes: &str, text: &str) -> Vec<String> {
        let (root, file) = (format!("{attributes}\nmod a;"), "agent/src/a.rs".to_owned());
        let krate = krate("agent", &[("lib", &root), ("a", text)]);
        let sources = Sources::from([(ROOT.to_owned(), root), (file, text.to_owned())]);
        check(ROOT, &krate, &sources)
    }

    /// The attribute of the daemon's own crate.
    fn attribute() -> String {
        let text = fs::read_to_string(root().join(ROOT)).unwrap();
        let inner = text
            .lines()
            .skip_while(|line| !line.starts_with("#!["))
            .take_while(|line| !line.is_empty());
        Vec::from_iter(inner).join("\n")
    }

    #[test]
    fn check_root_that_denies_all_lints_is_no_finding_and_one_less_is_found() {
        let all = attribute();
        assert_eq!(found(&all, ""), [""; 0]);
        let findings = found(&all.replace("clippy::unwrap_used", "clippy::dbg_macro"), "");
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert!(finding.starts_with("agent/src/lib.rs:1: ") && finding.contains("unwrap_used"));
        assert!(found("", "").len() > PANICS.len());
    }

    #[test]
    fn check_assertion_is_found_where_it_runs() {
        let at_build = "const _: () = assert!(true);\nfn a() { const { assert!(true) } }\n\
            #[cfg(test)]\nmod tests { fn a() { assert_eq!(1, 1); } }";
        assert_eq!(found(&attribute(), at_build), [""; 0]);
        let made = "macro_rules! made { ($a:ty) => { const _: () = assert!(true); } }";
        assert_eq!(found(&attribute(), made), [""; 0]);
        let run = "macro_rules! made { ($a:expr) => { const fn a() {} assert!($a); } }";
        assert_eq!(found(&attribute(), run).len(), 1);
        let findings = found(&attribute(), "fn a(b: u8) {\n    assert_eq!(b, 1);\n}");
        assert_eq!(
            findings,
            ["agent/src/a.rs:2: `assert_eq!` may panic: return an error, or use a `const`"]
        );
    }

    /// What clippy says of code in a crate with the daemon's own attribute.
    fn clippy(code: impl Iterator<Item = String>) -> String {
        let mut clippy = Command::new("clippy-driver");
        clippy.args(["--crate-type=lib", "--emit=metadata", "--edition=2024", "--out-dir"]);
        // A folder of its own: the compiler renames its output to its place, and would so replace a device.
        clippy.arg(target().join("tidy")).arg("-");
        clippy.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = clippy.spawn().expect("clippy is part of the toolchain");
        let text = Vec::from_iter([attribute()].into_iter().chain(code)).join("\n");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
    }

    #[test]
    fn clippy_finds_each_way_to_panic_and_nothing_in_sound_code() {
        let broken = [
            ("indexing_slicing", "b: &[u8], n: usize", "u8", "b[n]"),
            ("indexing_slicing", "b: &[u8], n: usize", "&[u8]", "&b[n..]"),
            ("string_slice", "b: &str, n: usize", "&str", "&b[n..]"),
            ("unwrap_used", "b: Option<u8>", "u8", "b.unwrap()"),
            ("expect_used", "b: Option<u8>", "u8", "b.expect(\"b\")"),
            ("panic", "b: u8", "u8", "if b == 0 { panic!() } else { b }"),
            ("unreachable", "b: u8", "u8", "if b == 0 { unreachable!() } else { b }"),
            ("todo", "b: u8", "u8", "if b == 0 { todo!() } else { b }"),
            ("unimplemented", "b: u8", "u8", "if b == 0 { unimplemented!() } else { b }"),
        ];
        let said = clippy((0..).zip(&broken).map(|(number, (_, takes, gives, body))| {
            format!("pub fn a{number}({takes}) -> {gives} {{ {body} }}")
        }));
        let (first, mut places) = (attribute().lines().count() + 1, Vec::new());
        for (line, (lint, ..)) in (first..).zip(&broken) {
            places.push(said.contains(&format!(" --> <anon>:{line}:")) && said.contains(lint));
        }
        assert!(places.iter().all(|found| *found), "{places:?} {said}");
        let sound = [
            "pub fn a(b: &[u8], n: usize) -> u8 { b.get(n).copied().unwrap_or(0) }",
            "pub fn b(b: &[u8; 4]) -> u8 { b[3] }",
            "pub fn c(b: &str, n: usize) -> &str { b.get(n..).unwrap_or(b) }",
            "pub fn d(b: Option<u8>) -> Result<u8, ()> { b.ok_or(()) }",
        ];
        let said = clippy(sound.iter().map(|line| (*line).to_owned()));
        assert!(!said.contains("error"), "{said}");
    }
}
