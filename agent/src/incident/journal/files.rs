//! The files of the log: `incidents.jsonl`, the current one, and `incidents.jsonl.1`, `.2` and so on, the rotated ones,
//! the oldest with the highest number.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The name of the current file.
pub const NAME: &str = "incidents.jsonl";

/// A file of the log, open for reading.
#[derive(Debug)]
pub struct LogFile {
    /// Its name within the folder, when it was opened.
    pub name: String,
    /// Its number; zero is the current file.
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

/// The path of the current file.
pub fn current(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// The path of a rotated file.
fn rotated(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{NAME}.{number}"))
}

/// The numbers of the rotated files, the lowest first; none if the folder does not exist.
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

/// Opens all files, and returns them oldest first. A rotation meanwhile does no harm: files are opened newest first,
/// and a rotation moves a file to a number that is opened later.
///
/// # Errors
/// When the folder or a file can't be read. Files that were removed meanwhile are left out.
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
    // One more than the highest: a rotation may just make it.
    let numbers = numbers(dir)?;
    let beyond = numbers.last().map_or(1, |last| last.saturating_add(1));
    for number in numbers.into_iter().chain([beyond]) {
        open(rotated(dir, number), number)?;
    }
    files.reverse();
    Ok(files)
}

/// Renames the current file to number one, and each rotated file to the next number. If there are more than `keep`, the
/// oldest is removed. A rotation that a crash interrupted is completed by the next one.
///
/// # Errors
/// When a file can't be renamed.
pub fn rotate(dir: &Path, keep: u32) -> io::Result<()> {
    let numbers: HashSet<u32> = numbers(dir)?.into_iter().collect();
    // Files behind a free number need not be renamed.
    let free = (1..=keep.max(1)).find(|number| !numbers.contains(number)).unwrap_or(keep.max(1));
    for number in (1..free).rev() {
        fs::rename(rotated(dir, number), rotated(dir, number + 1))?;
    }
    fs::rename(current(dir), rotated(dir, 1))?;
    for number in numbers.into_iter().filter(|number| *number > keep.max(1)) {
        fs::remove_file(rotated(dir, number))?;
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
    fn rotation_renames_each_file_and_removes_the_oldest() {
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
    fn rotation_after_an_interrupted_one_loses_no_file() {
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
    fn rotation_with_a_smaller_number_to_keep_removes_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["incidents.jsonl", "incidents.jsonl.1", "incidents.jsonl.7"] {
            write(dir.path(), name);
        }
        rotate(dir.path(), 1).unwrap();
        assert_eq!(contents(dir.path()), [("incidents.jsonl.1".into(), "incidents.jsonl".into())]);
    }

    #[test]
    fn missing_folder_has_no_files() {
        assert!(open_all(Path::new("/nonexistent/remit")).unwrap().is_empty());
    }
}
