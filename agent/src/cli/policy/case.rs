//! Warns of denials by name on file systems that don't compare names exactly: those for which `KEY` and `key` are the
//! same name, and those that don't tell the kernel how they compare.

use std::path::{Path, PathBuf};

use crate::policy::{Diagnostic, Files, Place, Policy, Severity, pattern::PathPattern};

/// File systems, by their magic numbers (include/uapi/linux/magic.h, fs/hfs/hfs.h, fs/hfsplus/hfsplus_raw.h,
/// fs/smb/client/cifsfs.h): those that take names for one that differ in case alone.
const FOLDING: [(u64, &str); 7] = [
    (0x4d44, "vfat"),
    (0x2011_bab0, "exfat"),
    (0x4244, "hfs"),
    (0x482b, "hfsplus"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb3"),
    (0xf995_e849, "hpfs"),
];
/// File systems on which the server compares names.
const SERVED: [(u64, &str); 2] = [(0x6573_5546, "fuse"), (0x0102_1997, "9p")];

/// The warnings on a policy's denials on this host.
pub(super) fn remarks(policy: &Policy, files: &Files) -> Vec<Diagnostic> {
    let paths = policy.denials.iter().flat_map(|denial| denial.paths.iter());
    let help = "deny the whole folder, with `/**`, where that will do";
    paths.filter_map(|path| Some(remark(path, files, &problem(path.text())?, help))).collect()
}

/// What is wrong with a denial's path, if anything.
fn problem(text: &str) -> Option<String> {
    let folder = existing(text)?;
    // A folder that is denied with everything in it: no name in it matters.
    if folder.join("**") == Path::new(text) {
        return None;
    }
    let number = u64::try_from(rustix::fs::statfs(&folder).ok()?.f_type).ok()?;
    let named = |kinds: &[(u64, &'static str)]| {
        kinds.iter().find(|(magic, _)| *magic == number).map(|(_, name)| *name)
    };
    let shown = folder.display();
    if let Some(name) = named(&FOLDING) {
        return Some(format!(
            "`{shown}` is on {name}, which ignores case: the denial holds in any case, and names that can't be compared \
             that way are refused there"
        ));
    }
    named(&SERVED).map(|name| {
        format!("`{shown}` is on {name}, and its server may compare names in another way: only the exact name is denied")
    })
}

/// The deepest existing folder on the way to a path, up to its first variable or `*`.
fn existing(text: &str) -> Option<PathBuf> {
    let plain = text.split(['*', '{']).next()?;
    let whole = plain.len() == text.len();
    let last =
        if whole { Path::new(plain).parent()? } else { Path::new(plain.rsplit_once('/')?.0) };
    last.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)
}

/// A warning on a path.
pub(super) fn remark(path: &PathPattern, files: &Files, message: &str, help: &str) -> Diagnostic {
    let width = path.text().chars().count() + 2;
    remark_at(&path.place(), width, files, "policy::path-remark", message, help)
}

/// A warning on what stands at a place of a policy's files, so many characters wide.
pub(super) fn remark_at(
    place: &Place,
    width: usize,
    files: &Files,
    code: &str,
    message: &str,
    help: &str,
) -> Diagnostic {
    let text = files.iter().find(|source| source.path == **place.file).map(|source| &source.text);
    let line = text.and_then(|text| text.lines().nth((place.line as usize).saturating_sub(1)));
    Diagnostic {
        code: code.to_owned(),
        severity: Severity::Warning,
        file: place.file.to_path_buf(),
        line: place.line as usize,
        column: place.column as usize,
        span: Default::default(),
        source: line.unwrap_or_default().to_owned(),
        width,
        message: message.to_owned(),
        help: Some(help.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_of_a_pattern_is_the_deepest_existing_one() {
        for (text, folder) in [
            ("/usr/nowhere/else/x", "/usr"),
            ("/usr/**", "/usr"),
            ("/usr/bin*", "/usr"),
            ("/usr/{name}/x", "/usr"),
            ("/nowhere", "/"),
        ] {
            assert_eq!(existing(text).as_deref(), Some(Path::new(folder)), "{text}");
        }
        assert_eq!(existing("{workdir}/x"), None);
        assert_eq!(problem("/proc/**"), None);
    }
}
