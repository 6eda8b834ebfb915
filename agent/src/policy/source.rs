//! Reads policy files: the only I/O in `policy`.

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// One policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it was read, as diagnostics name it.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// Why the policy's files can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such directory.
    #[error("policy directory `{}` does not exist", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// It is no directory.
    #[error("`{}` is not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// It can't be listed.
    #[error("can't list policy directory `{}`: {source}", path.display())]
    List {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file in it can't be read.
    #[error("can't read policy file `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file in it is not text.
    #[error("{}:{line}:{column}: not UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line with the first wrong byte, from 1.
        line: usize,
        /// The character in it, from 1.
        column: usize,
    },
}

/// Reads `*.toml` of a directory, in name order. Names that begin with a dot are left out: editors
/// keep their own files there.
///
/// # Errors
/// The first thing that can't be read.
pub fn read(dir: &Path) -> Result<Vec<Source>, ReadError> {
    let path = || dir.to_owned();
    let list = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ReadError::Missing { path: path() },
        io::ErrorKind::NotADirectory => ReadError::NotADirectory { path: path() },
        _ => ReadError::List { path: path(), source },
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(list)? {
        let name = entry.map_err(list)?.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.ends_with(b".toml") && !bytes.starts_with(b".") {
            paths.push(dir.join(name));
        }
    }
    paths.sort();
    paths.into_iter().map(read_file).collect()
}

/// Reads one policy file.
///
/// # Errors
/// It can't be read, or is not text.
pub fn read_file(path: PathBuf) -> Result<Source, ReadError> {
    match fs::read(&path) {
        Ok(bytes) => decode(path, bytes),
        Err(source) => Err(ReadError::Read { path, source }),
    }
}

/// A policy file from its bytes.
///
/// # Errors
/// They are not UTF-8.
pub fn decode(path: PathBuf, bytes: Vec<u8>) -> Result<Source, ReadError> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { path, text }),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let before = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or(&[]));
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
            Err(ReadError::NotUtf8 { path, line, column })
        }
    }
}

/// SHA-256 of names and texts, in hexadecimal.
pub fn digest<'a>(sources: impl IntoIterator<Item = &'a Source>) -> String {
    let mut hash = Sha256::new();
    for source in sources {
        let name = source.path.file_name().unwrap_or_default().as_encoded_bytes();
        for part in [name, source.text.as_bytes()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
    }
    hash.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_read_gives_toml_files_in_name_order() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in
            [("20-b.toml", "b"), ("10-a.toml", "a"), ("x.txt", ""), (".#a.toml", "")]
        {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let texts: Vec<_> = read(dir.path()).unwrap().into_iter().map(|s| s.text).collect();
        assert_eq!(texts, ["a", "b"]);
    }

    #[test]
    fn directory_missing_or_a_file_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("none");
        let message = read(&missing).unwrap_err().to_string();
        assert_eq!(message, format!("policy directory `{}` does not exist", missing.display()));
        let file = dir.path().join("f");
        fs::write(&file, "").unwrap();
        let message = read(&file).unwrap_err().to_string();
        assert_eq!(message, format!("`{}` is not a directory", file.display()));
    }

    #[test]
    fn file_not_utf8_names_line_and_column() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        fs::write(&file, b"schema = 1\n# \xff\n").unwrap();
        let message = read(dir.path()).unwrap_err().to_string();
        assert_eq!(message, format!("{}:2:3: not UTF-8", file.display()));
    }

    #[test]
    fn file_unreadable_names_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a.toml")).unwrap();
        let message = read(dir.path()).unwrap_err().to_string();
        assert!(message.starts_with("can't read policy file `"), "{message}");
    }

    #[test]
    fn digest_of_moved_text_differs() {
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
        let one = digest(&[source("a", "xy"), source("b", "")]);
        assert_eq!(one.len(), 64);
        assert_eq!(one, digest(&[source("/d/a", "xy"), source("/d/b", "")]));
        assert_ne!(one, digest(&[source("a", "x"), source("b", "y")]));
    }
}
