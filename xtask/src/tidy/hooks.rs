//! The list of the kernel's hooks that Remit does not use, against the hooks that it uses. It must not touch the
//! disk. (That the list is complete only a kernel can tell: `tests/tests/attached.rs`.)

use std::collections::BTreeSet;

/// Where the list is.
pub(super) const PAGE: &str = "docs/threat-model.md";
/// The folder of the sources of the hooks that are used.
pub(super) const FOLDER: &str = "agent-ebpf/src/hooks/";
/// The title above the list, and what ends it.
const TITLE: &str = "\n## Hooks of the kernel that Remit does not use\n";
const NEXT_TITLE: &str = "\n## ";
/// What names a program's hook.
const HOOK: &str = "#[lsm(hook = \"";

/// The hooks that a source file has programs for.
pub(super) fn used(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(HOOK)?.split('"').next())
}

/// The findings: hooks that are listed and used, or listed twice.
pub(super) fn check(page: &str, used: &BTreeSet<String>) -> Vec<String> {
    let Some((before, after)) = page.split_once(TITLE) else {
        return vec![format!("{PAGE}: no title `{}`", TITLE.trim())];
    };
    let section = after.split(NEXT_TITLE).next().unwrap_or(after);
    let first = before.matches('\n').count() + 3;
    let mut listed = BTreeSet::new();
    let mut findings = Vec::new();
    for (number, line) in (first..).zip(section.lines()) {
        let cell = line.strip_prefix("| ").and_then(|row| row.split(" | ").next());
        for hook in cell.unwrap_or_default().split('`').skip(1).step_by(2) {
            if used.contains(hook) {
                findings.push(format!("{PAGE}:{number}: `{hook}` is used"));
            }
            if !listed.insert(hook) {
                findings.push(format!("{PAGE}:{number}: `{hook}` is listed twice"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::project::root;

    const SAMPLE: &str = "# Threats\n\n## Hooks of the kernel that Remit does not use\n\n\
        | hooks | why |\n| --- | --- |\n| `settime`, `quotactl` | `capable` |\n\n## Next\n| `bpf` | |\n";

    fn set(hooks: &[&str]) -> BTreeSet<String> {
        hooks.iter().map(|hook| (*hook).to_owned()).collect()
    }

    #[test]
    fn check_hooks_that_are_not_listed_have_no_findings() {
        assert_eq!(check(SAMPLE, &set(&["bpf", "capable"])), Vec::<String>::new());
    }

    #[test]
    fn check_listed_hook_that_is_used_is_found_with_its_line() {
        let findings = check(SAMPLE, &set(&["quotactl"]));
        assert_eq!(findings, ["docs/threat-model.md:7: `quotactl` is used"]);
    }

    #[test]
    fn check_hook_that_is_listed_twice_is_found() {
        let page = SAMPLE.replace("`quotactl`", "`settime`");
        assert_eq!(check(&page, &set(&[])), ["docs/threat-model.md:7: `settime` is listed twice"]);
    }

    #[test]
    fn used_hooks_are_read_from_the_sources() {
        let text = fs::read_to_string(root().join(FOLDER).join("key.rs")).unwrap();
        assert_eq!(used(&text).collect::<Vec<_>>(), ["key_alloc", "key_permission"]);
    }
}
