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
    Macro,
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

/// One file uses an item of another file, or of another crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrow {
    pub(super) from: String,
    pub(super) line: usize,
    pub(super) to: String,
    /// The path as it stands in the code.
    pub(super) path: String,
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

    /// The files that are not for tests alone.
    pub(super) fn shipped_files(&self) -> BTreeSet<&str> {
        let shipped = self.modules.iter().filter(|module| !module.is_test);
        shipped.map(|module| module.file.as_str()).collect()
    }
}
