//! The files of the log: `incidents.jsonl`, which grows, and `incidents.jsonl.1`, `.2` and so on, put
//! aside, the oldest with the highest number.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The name of the file that grows.
pub const NAME: &str = "incidents.jsonl";

/// A file of the log, open for reading.
#[derive(Debug)]
pub struct LogFile {
    /// Its name within the folder, when it was opened.
    pub name: String,
    /// Its number; zero is the file that grows.
    pub number: u32,
    /// Its inode, which a rotation does not change.
    pub inode: u64,
    /// Its length when it was opened.
    pub length: u64,
    /// When it was last written.
    pub modified: SystemTime,
    /// The file.
    pub file: File,
}

/// The path of the file that grows.
pub fn current(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// The path of a file put aside.
fn aside(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{NAME}.{number}"))
}

/// The numbers of the files put aside, lowest first. No folder means none.
fn numbers(dir: &Path) -> io::Result<Vec<u32>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let suffix = name.to_str().and_then(|name| name.strip_prefix(NAME)?.strip_prefix('.'));
        numbers.extend(suffix.and_then(|suffix| suffix.parse::<u32>().ok()).filter(|n| *n > 0));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Opens all files, oldest first. Safe against a rotation meanwhile: files are opened newest first, and
/// a rotation moves a file only to where it is met again.
///
/// # Errors
/// When the folder or a file can't be read. Files that are gone meanwhile are left out.
pub fn open_all(dir: &Path) -> io::Result<Vec<LogFile>> {
    let mut files = Vec::new();
    let mut inodes = HashSet::new();
    let mut open = |path: PathBuf, number: u32| -> io::Result<()> {
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if inodes.insert((metadata.dev(), metadata.ino())) {
            files.push(LogFile {
                name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                number,
                inode: metadata.ino(),
                length: metadata.len(),
                modified: metadata.modified()?,
                file,
            });
        }
        Ok(())
    };
    open(current(dir), 0)?;
    // One past the highest: a rotation may be about to make it.
    let numbers = numbers(dir)?;
    let beyond = numbers.last().map_or(1, |last| last.saturating_add(1));
    for number in numbers.into_iter().chain([beyond]) {
        open(aside(dir, number), number)?;
    }
    files.reverse();
    Ok(files)
}

/// Puts the file that grows aside as number one, the others one further; of more than `keep` the oldest
/// goes. After a crash half-way the next rotation goes on.
///
/// # Errors
/// When a file can't be renamed.
pub fn rotate(dir: &Path, keep: u32) -> io::Result<()> {
    let numbers: HashSet<u32> = numbers(dir)?.into_iter().collect();
    // Where a number is free the files behind it can stay.
    let free = (1..=keep.max(1)).find(|number| !numbers.contains(number)).unwrap_or(keep.max(1));
    for number in (1..free).rev() {
        fs::rename(aside(dir, number), aside(dir, number + 1))?;
    }
    fs::rename(current(dir), aside(dir, 1))?;
    for number in numbers.into_iter().filter(|number| *number > keep.max(1)) {
        fs::remove_file(aside(dir, number))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str) {
        fs::write(dir.join(name), name).unwrap();
    }

    fn contents(dir: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = open_all(dir)
            .unwrap()
            .into_iter()
            .map(|file| (file.name.clone(), fs::read_to_string(dir.join(file.name)).unwrap()))
            .collect();
        files.reverse();
        files
    }

    #[test]
    fn rotation_moves_each_file_one_further_and_drops_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["incidents.jsonl", "incidents.jsonl.1", "incidents.jsonl.2", "other.jsonl.9"] {
            write(dir.path(), name);
        }
        rotate(dir.path(), 2).unwrap();
        assert_eq!(
            contents(dir.path()),
            [
                ("incidents.jsonl.1".into(), "incidents.jsonl".into()),
                ("incidents.jsonl.2".into(), "incidents.jsonl.1".into()),
            ]
        );
    }

    #[test]
    fn rotation_after_one_that_stopped_half_way_loses_no_file() {
        let dir = tempfile::tempdir().unwrap();
        // Number one was moved to two, and the crash came before the current file was moved.
        for name in ["incidents.jsonl", "incidents.jsonl.2", "incidents.jsonl.3"] {
            write(dir.path(), name);
        }
        rotate(dir.path(), 3).unwrap();
        assert_eq!(
            contents(dir.path()),
            [
                ("incidents.jsonl.1".into(), "incidents.jsonl".into()),
                ("incidents.jsonl.2".into(), "incidents.jsonl.2".into()),
                ("incidents.jsonl.3".into(), "incidents.jsonl.3".into()),
            ]
        );
    }

    #[test]
    fn rotation_with_fewer_kept_than_there_are_drops_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["incidents.jsonl", "incidents.jsonl.1", "incidents.jsonl.7"] {
            write(dir.path(), name);
        }
        rotate(dir.path(), 1).unwrap();
        assert_eq!(contents(dir.path()), [("incidents.jsonl.1".into(), "incidents.jsonl".into())]);
    }

    #[test]
    fn folder_that_is_not_there_has_no_files() {
        assert!(open_all(Path::new("/nonexistent/remit")).unwrap().is_empty());
    }
}
