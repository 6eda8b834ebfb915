//! Crates that tests plant.

use super::modules::{Crate, Sources};

/// A crate of these files, each given without its folder and ending. The first is the root.
pub(super) fn krate(package: &str, files: &[(&str, &str)]) -> Crate {
    let file = |name: &str| format!("{package}/src/{name}.rs");
    let texts = files.iter().map(|(name, text)| (file(name), (*text).to_owned()));
    let sources = Sources::from_iter(texts);
    let root = files.first().map(|(name, _)| file(name)).unwrap_or_default();
    Crate::read(&root, &sources)
}
