//! Says of a policy's paths which of them have a symbolic link of this host on their way.

use super::case::remark;
use crate::policy::{
    Diagnostic, Files, Policy,
    links::{Led, of_pattern},
    pattern::PathPattern,
};

/// What is said of a policy on this host. Not of a path that reaches nothing where the same rule has a path for where
/// it leads.
pub(super) fn remarks(policy: &Policy, files: &Files) -> Vec<Diagnostic> {
    let denials =
        policy.denials.iter().flat_map(|denial| denial.paths.iter().chain(&*denial.except));
    let denied = denials.filter_map(|path| {
        let Led { link, to } = of_pattern(path.text())?;
        let message = format!("`{link}` is a symbolic link: this counts for `{to}` too");
        Some(remark(path, files, &message, "the link is followed when the policy is loaded"))
    });
    let of_tools = policy.tools.values().flat_map(|tool| &tool.files);
    let rules = of_tools.flat_map(|rule| [&rule.paths, &rule.except]);
    let rules = rules.chain(policy.data.iter().flat_map(|data| [&data.paths, &data.except]));
    let reaching_nothing = rules.flat_map(|paths| {
        paths.iter().filter_map(move |path| {
            let Led { link, to } = of_pattern(path.text())?;
            if paths.iter().any(|other| covers(other, &to)) {
                return None;
            }
            let message =
                format!("`{link}` is a symbolic link: no file is reached by `{}`", path.text());
            Some(remark(path, files, &message, &format!("it leads to `{to}`")))
        })
    });
    denied.chain(reaching_nothing).collect()
}

/// Whether a pattern is another one, or for everything in a folder that the other begins with.
fn covers(path: &PathPattern, other: &str) -> bool {
    let folder = path.text().strip_suffix("/**");
    let below = folder.and_then(|folder| other.strip_prefix(folder));
    path.text() == other || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
