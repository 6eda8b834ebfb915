//! What must hold for one file. It must not touch the disk.

/// The most lines a source file may have.
const MOST_LINES: usize = 500;

/// The findings in a file of this name and content, each with its place.
pub(super) fn check(name: &str, text: &str) -> Vec<String> {
    let is_rust = name.ends_with(".rs");
    let mut findings = Vec::new();
    if is_rust {
        findings.extend(too_long(name, text));
        findings.extend(no_opening(name, text));
    }
    if !name.ends_with(".lock") {
        findings.extend(lines(name, text));
    }
    findings
}

fn too_long(name: &str, text: &str) -> Option<String> {
    let count = text.lines().count();
    (count > MOST_LINES).then(|| format!("{name}: {count} lines, at most {MOST_LINES}"))
}

/// A module says first what it is for.
fn no_opening(name: &str, text: &str) -> Option<String> {
    let opens = text.starts_with("//!");
    (!opens).then(|| format!("{name}: the first line does not begin with `//!`"))
}

fn lines(name: &str, text: &str) -> Vec<String> {
    // Put together here, so that this file is none of those found. Two spaces that end a line
    // break it in Markdown.
    let machine = concat!("/wo", "rk/");
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.ends_with([' ', '\t']) && !name.ends_with(".md") {
            findings.push(format!("{name}:{number}: a space at the end"));
        }
        if line.contains(machine) {
            findings.push(format!("{name}:{number}: a path of one machine, `{machine}`"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_sound_file_has_no_findings() {
        let text = "//! It counts.\n\nfn count() {}\n";
        assert_eq!(check("agent/src/count.rs", text), Vec::<String>::new());
    }

    #[test]
    fn check_each_fault_is_found_with_its_line() {
        let text = concat!("fn count() {}\nfn next() {} \nconst A: &str = \"/wo", "rk/\";\n");
        let findings = check("agent/src/count.rs", text);
        assert_eq!(findings.len(), 3, "{findings:?}");
        for line in ["", "2:", "3:"] {
            let place = format!("agent/src/count.rs:{line}");
            assert!(findings.iter().any(|finding| finding.starts_with(&place)), "{findings:?}");
        }
    }

    #[test]
    fn check_long_file_is_found() {
        let text = "//! Long.\n".to_owned() + &"\n".repeat(MOST_LINES);
        assert_eq!(check("xtask/src/long.rs", &text).len(), 1);
    }
}
