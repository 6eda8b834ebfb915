//! What ships with Remit, and a policy takes by `use`: finds the files. What they say is checked like the rest.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    source::{self, ReadError, Source},
    syntax,
    value::name,
};

/// The files of a policy: its folder's, and those that they take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// What `use` took.
    pub shipped: Vec<Source>,
    /// The files of the policy's folder.
    pub own: Vec<Source>,
    /// What `use` could take.
    pub shelf: Shelf,
}

/// The folder of what ships.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    /// The folder; empty where it was not looked at.
    pub dir: PathBuf,
    /// The names in it.
    pub names: Vec<String>,
}

impl From<Vec<Source>> for Files {
    /// Files that take nothing.
    fn from(own: Vec<Source>) -> Self {
        Self { own, ..Self::default() }
    }
}

impl Files {
    /// All files.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.shipped.iter().chain(&self.own)
    }
}

/// Adds what files take by `use`, and what that takes in turn: each file once, so that a circle ends. A name that is not
/// there is left to the check, which knows its place.
///
/// # Errors
/// The folder is there and can't be listed, or a file that is taken can't be read.
pub fn with_shipped(own: Vec<Source>, dir: &Path) -> Result<Files, ReadError> {
    // Files of the folder itself, which somebody checks: they are what ships, and not a second definition of it.
    let (mut shipped, own): (Vec<_>, Vec<_>) =
        own.into_iter().partition(|source| source.path.parent() == Some(dir));
    let mut wanted: Vec<String> = shipped.iter().chain(&own).flat_map(uses).collect();
    if wanted.is_empty() && shipped.is_empty() {
        return Ok(own.into());
    }
    let names = list(dir)?;
    let mut taken: BTreeSet<String> = shipped.iter().map(stem).collect();
    while let Some(name) = wanted.pop() {
        if names.contains(&name) && taken.insert(name.clone()) {
            let source = source::read_file(dir.join(format!("{name}.toml")))?;
            wanted.extend(uses(&source));
            shipped.push(source);
        }
    }
    shipped.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Files { shipped, own, shelf: Shelf { dir: dir.to_owned(), names } })
}

/// The name by which a file is taken.
pub(super) fn stem(source: &Source) -> String {
    source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn uses(source: &Source) -> Vec<String> {
    syntax::uses(&source.text)
}

/// The names in the folder; none if there is no folder.
fn list(dir: &Path) -> Result<Vec<String>, ReadError> {
    let failed = |source| ReadError::List { path: dir.to_owned(), source };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.map_err(failed)?.file_name();
        let stem = file.to_str().and_then(|file| file.strip_suffix(".toml"));
        names.extend(stem.filter(|stem| name(stem).is_ok()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{check_files, diagnostic::Diagnostic};

    /// A folder with shipped files.
    fn shelf(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(format!("{name}.toml")), format!("schema = 1\n{text}"))
                .unwrap();
        }
        dir
    }

    fn own(text: &str) -> Vec<Source> {
        vec![Source { path: "p.toml".into(), text: format!("schema = 1\n{text}") }]
    }

    fn taken(files: &Files) -> Vec<String> {
        files.shipped.iter().map(stem).collect()
    }

    /// The errors: file's name, place, message and help.
    fn errors(text: &str, dir: &Path) -> Vec<String> {
        let shown = |error: &Diagnostic| {
            let file = error.file.file_name().unwrap().to_string_lossy();
            let Diagnostic { line, column, message, .. } = error;
            format!("{file}:{line}:{column} {message} | {}", error.help.as_deref().unwrap_or("-"))
        };
        let files = with_shipped(own(text), dir).unwrap();
        check_files(&files).unwrap_err().iter().map(shown).collect()
    }

    #[test]
    fn files_are_taken_once_with_what_they_take_and_circles_end() {
        let dir = shelf(&[
            ("a", "use = [\"b\"]\n[tool.a]\n"),
            ("b", "use = [\n  \"a\",\n  \"c\",\n]\n[tool.b]\n"),
            ("c", "[tool.c]\n"),
            ("d", "[tool.d]\n"),
        ]);
        let mut sources = own("use = [\"a\", \"a\"]\n[profile.p]\ntools = [\"b\", \"c\"]\n");
        sources.push(Source { path: "q.toml".into(), text: "schema = 1\nuse = [\"a\"]\n".into() });
        let files = with_shipped(sources, dir.path()).unwrap();
        assert_eq!(taken(&files), ["a", "b", "c"]);
        let policy = check_files(&files).unwrap();
        assert!(policy.tools.keys().eq(["a", "b", "c"]));
        assert_eq!(*policy.tools["b"].place.file, dir.path().join("b.toml"));
        assert_eq!(policy.tools["b"].place.line, 6);
        // Kept, it needs no folder.
        let kept = Files { shelf: Shelf::default(), ..files.clone() };
        assert_eq!(check_files(&kept).unwrap(), policy);
        // What ships counts in the digest.
        fs::write(dir.path().join("c.toml"), "schema = 1\n[tool.c]\nsetid = true\n").unwrap();
        let changed = with_shipped(files.own, dir.path()).unwrap();
        assert_ne!(check_files(&changed).unwrap().digest, policy.digest);
    }

    #[test]
    fn folder_of_what_ships_is_checked_as_such() {
        let dir = shelf(&[("a", "use = [\"b\"]\n[tool.a]\n"), ("b", "[tool.b]\n")]);
        let files = with_shipped(source::read(dir.path()).unwrap(), dir.path()).unwrap();
        assert_eq!((taken(&files), files.own.len()), (vec!["a".into(), "b".into()], 0));
        check_files(&files).unwrap();
    }

    #[test]
    fn unknown_name_is_refused_with_the_nearest() {
        let dir = shelf(&[("git", "[tool.git]\n"), ("npm", "")]);
        assert_eq!(
            errors("use = [\"gti\"]\n", dir.path()),
            ["p.toml:2:8 nothing of the name `gti` ships | did you mean `git`?"]
        );
        let all = format!("what ships, in `{}`: `git`, `npm`", dir.path().display());
        assert_eq!(
            errors("use = [\"database\", \"git\"]\n", dir.path()),
            [format!("p.toml:2:8 nothing of the name `database` ships | {all}")]
        );
        assert_eq!(
            errors("use = [\"git\"]\n", Path::new("/nowhere")),
            [
                "p.toml:2:8 nothing of the name `git` ships | there is nothing in `/nowhere` (the setting `shipped_dir`)"
            ]
        );
        let bad = errors("use = [\"../git\", 7]\n", dir.path());
        assert!(bad[0].starts_with("p.toml:2:8 `../git`"), "{bad:?}");
        assert!(bad[1].contains("must be an array of strings"), "{bad:?}");
    }

    #[test]
    fn name_that_was_taken_is_not_defined_again() {
        let dir = shelf(&[("git", "[tool.git]\n[profile.g]\n")]);
        let at = dir.path().join("git.toml").display().to_string();
        assert_eq!(
            errors("use = [\"git\"]\n[profile.g]\n[tool.git]\n", dir.path()),
            [
                format!(
                    "p.toml:3:10 profile `g` is taken by `use` and can't be defined here | \
                     it is at {at}:3:10; choose another name, or leave out that `use`"
                ),
                format!(
                    "p.toml:4:7 tool `git` is taken by `use` and can't be defined here | \
                     it is at {at}:2:7; choose another name, or leave out that `use`"
                ),
            ]
        );
    }

    #[test]
    fn error_in_a_shipped_file_has_its_place_there() {
        let dir = shelf(&[("a", "[tool.a]\nfile = []\n"), ("b", "[tool.\n")]);
        let wrong = errors("use = [\"a\"]\n[profile.p]\ntools = [\"x\"]\n", dir.path());
        assert_eq!(wrong[0], "a.toml:3:1 unknown key `file` in a tool | did you mean `files`?");
        assert!(wrong[1].starts_with("p.toml:4:10 unknown tool `x`"), "{wrong:?}");
        assert!(errors("use = [\"b\"]\n", dir.path())[0].starts_with("b.toml:2:"));
    }
}
