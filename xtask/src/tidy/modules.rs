//! A crate's modules, read from its sources: which names each has, and which paths its code uses.
//! It must not touch the disk, nor know what is allowed.

mod reader;
mod resolve;

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The text of each file of the project, by its name.
pub(super) type Sources = BTreeMap<String, String>;

/// A path in code or in a `use`.
struct Reference {
    segments: Vec<String>,
    line: usize,
    kind: Kind,
    in_constant: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// In code.
    Path,
    /// A single name in code, which may be a variable as well.
    Name,
    /// The name of a macro that is called.
    Macro,
    /// What a `use` imports.
    Import,
    /// What a `use` with a visibility passes on; its user depends on it, the module that passes it on does not.
    ReExport,
    /// The module of a `use …::*`.
    Glob,
}

/// What a name means in a module.
enum Definition {
    Item,
    /// A macro, and the number of the module that defines it.
    Macro(usize),
    /// The number of a module in `Crate::modules`.
    Module(usize),
    Import {
        path: Vec<String>,
        is_passed_on: bool,
    },
}

struct Module {
    parent: Option<usize>,
    file: String,
    is_test: bool,
    names: HashMap<String, Vec<Definition>>,
    globs: Vec<Vec<String>>,
    references: Vec<Reference>,
}

/// The modules of one crate; the first is its root.
pub(super) struct Crate {
    modules: Vec<Module>,
    /// Files that can't be parsed, as findings.
    pub(super) errors: Vec<String>,
}

/// One file uses an item of another file. For an item of another crate, `to` is the item's path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrow {
    pub(super) from: String,
    pub(super) line: usize,
    pub(super) to: String,
    /// The path as it stands in the code.
    pub(super) path: String,
    /// Whether the item is in a module below the one that uses it: a part of it.
    pub(super) is_part: bool,
}

impl Arrow {
    /// The last part of the path: the item's name.
    pub(super) fn item(&self) -> &str {
        self.path.rsplit("::").next().unwrap_or(&self.path)
    }
}

impl Crate {
    /// Reads the crate of that root file.
    pub(super) fn read(root: &str, sources: &Sources) -> Self {
        reader::read(root, sources)
    }

    /// All files of the crate, those of its tests too.
    pub(super) fn files(&self) -> BTreeSet<&str> {
        self.modules.iter().map(|module| module.file.as_str()).collect()
    }

    /// The macros that code calls when it runs, tests left out: file, line, name.
    pub(super) fn macros(&self) -> impl Iterator<Item = (&str, usize, &str)> {
        let shipped = self.modules.iter().filter(|module| !module.is_test);
        shipped.flat_map(|module| {
            let calls = module
                .references
                .iter()
                .filter(|reference| reference.kind == Kind::Macro && !reference.in_constant);
            calls.filter_map(|call| {
                Some((module.file.as_str(), call.line, call.segments.last()?.as_str()))
            })
        })
    }

    /// The files that are not for tests alone.
    pub(super) fn shipped_files(&self) -> BTreeSet<&str> {
        let shipped = self.modules.iter().filter(|module| !module.is_test);
        shipped.map(|module| module.file.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::testing::krate;

    /// The arrows from `a` as `line: file item`, in a crate with some modules more.
    fn from_a(text: &str) -> Vec<String> {
        let krate = krate(
            "agent",
            &[
                ("lib", "mod a;\nmod b;\nmod c;\nmod all;\npub use c::deep::D;"),
                ("a", text),
                ("a/part", "pub fn part() {}"),
                ("b", "pub struct B;\npub enum Kind { One }\npub fn b() {}"),
                (
                    "c",
                    "mod deep;\npub use deep::{D, d as other};\npub(crate) use deep::deep;\npub struct C;",
                ),
                (
                    "c/deep",
                    "pub struct D;\npub fn d() {}\npub fn deep() {}\n#[macro_export]\nmacro_rules! made { () => {} }",
                ),
                ("all", "pub use crate::b::*;"),
            ],
        );
        assert_eq!(krate.errors, [""; 0]);
        let told = |arrow: Arrow| {
            let to = arrow.to.trim_start_matches("agent/src/").trim_end_matches(".rs");
            format!("{}: {to} {}", arrow.line, arrow.item())
        };
        let arrows = krate.arrows().into_iter().filter(|arrow| arrow.from == "agent/src/a.rs");
        arrows.map(told).collect()
    }

    #[test]
    fn arrows_nested_uses_go_to_each_file_with_their_lines() {
        let text = "use crate::{\n    b::{self, B},\n    c::C as Other,\n};";
        assert_eq!(from_a(text), ["2: b B", "3: c C"]);
    }

    #[test]
    fn arrows_what_a_module_passes_on_goes_to_the_file_that_defines_it() {
        assert_eq!(from_a("use crate::c::{D, other, deep};").len(), 3);
        assert_eq!(
            from_a("use crate::c::D;\nuse crate::D as Same;"),
            ["1: c/deep D", "2: c/deep D"]
        );
        assert_eq!(from_a("use crate::c::deep;"), ["1: c/deep deep"]);
        assert_eq!(from_a("use crate::all::B;"), ["1: b B"]);
    }

    #[test]
    fn arrows_paths_in_code_and_in_macros_are_seen() {
        assert_eq!(from_a("fn a() { crate::b::b() }"), ["1: b b"]);
        assert_eq!(from_a("use crate::b;\nfn a() { b::Kind::One; }"), ["2: b One"]);
        assert_eq!(from_a("fn a() {\n    println!(\"{}\", super::b::b());\n}"), ["2: b b"]);
        assert_eq!(from_a("macro_rules! x { () => { $crate::b::b() } }"), ["1: b b"]);
        assert_eq!(from_a("use crate::made;\nfn a() { made!() }"), ["1: c/deep made"]);
    }

    #[test]
    fn arrows_macros_of_a_module_with_macro_use_go_to_its_file() {
        let files = [
            ("lib", "#[macro_use]\nmod made;\nmod a;"),
            ("made", "macro_rules! made { () => {} }"),
            ("a", "made!();\nother!();"),
        ];
        let arrows = krate("agent", &files).arrows();
        let [arrow] = arrows.as_slice() else { panic!("{arrows:?}") };
        assert_eq!((arrow.to.as_str(), arrow.line), ("agent/src/made.rs", 1));
    }

    #[test]
    fn arrows_super_in_a_module_within_the_file_is_the_file_itself() {
        let text = "struct A;\nmod inner {\n    use super::A;\n    use super::super::b::B;\n}";
        assert_eq!(from_a(text), ["4: b B"]);
    }

    #[test]
    fn arrows_parts_are_seen_and_what_is_passed_on_is_none() {
        assert_eq!(from_a("mod part;\npub use part::part;"), [""; 0]);
        assert_eq!(from_a("mod part;\npub use part::part;\nfn a() { part() }"), ["3: a/part part"]);
        assert_eq!(
            from_a("mod part;\npub use part::part;\nfn a(part: u8) -> u8 { part }"),
            [""; 0]
        );
        assert_eq!(from_a("mod part;\nfn a() { part::part() }"), ["2: a/part part"]);
    }

    #[test]
    fn arrows_comments_strings_and_tests_are_none() {
        let text = "//! [`crate::b::B`]\n/// See [`super::c::C`].\nconst A: &str = \"crate::b::B\";\n\
            #[cfg(test)]\nmod tests { use crate::b::B; }\n#[cfg(test)]\nuse crate::c::C;";
        assert_eq!(from_a(text), [""; 0]);
    }

    #[test]
    fn externals_are_named_by_their_whole_path() {
        let krate =
            krate("agent", &[("lib", "use aya::{maps as m, Ebpf};\nfn a() { m::Array::new(); }")]);
        let paths = Vec::from_iter(krate.externals().into_iter().map(|arrow| arrow.to));
        assert_eq!(paths, ["aya::Ebpf", "aya::maps", "aya::maps::Array::new"]);
    }
}
