//! Symbolic links on the way of paths, as they are on this host now.
//!
//! The kernel decides by the path that was reached. So a rule on a path with a link in it means nothing that exists: a
//! denial is made to hold for the place where the link leads, too.

use std::{collections::VecDeque, fs, path::Path, sync::Arc};

use super::{
    model::Policy,
    pattern::{PathPattern, Patterns},
};

/// The most links on one path, as in the kernel (`MAXSYMLINKS`, include/linux/namei.h).
const LINKS: usize = 40;

/// A path on whose way there is a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Led {
    /// The first link.
    pub link: String,
    /// The path or pattern without links.
    pub to: String,
}

/// Where an absolute path leads, if there is a link on its way. Its last name is followed too, unless `is_name`: for
/// what is done to a name itself.
pub fn of_path(path: &str, is_name: bool) -> Option<Led> {
    match path.rsplit_once('/').filter(|_| is_name) {
        Some((folder, name)) => {
            let Led { link, to } = follow(folder)?;
            Some(Led { link, to: below(&to, name) })
        }
        None => follow(path),
    }
}

/// Where a pattern leads, if there is a link on its way before its first variable or `*`. None if what is there can't
/// be written as a pattern.
pub fn of_pattern(pattern: &str) -> Option<Led> {
    let literal = match pattern.find(['*', '{']) {
        Some(at) => pattern.get(..at)?.rsplit_once('/')?.0,
        None => pattern,
    };
    let Led { link, to } = follow(literal)?;
    let rest = pattern.strip_prefix(literal)?.trim_start_matches('/');
    let to = if to.contains(['*', '{', '}']) { return None } else { below(&to, rest) };
    Some(Led { link, to })
}

/// Makes each denial hold for where its paths lead, too.
pub fn widen(policy: &mut Policy) {
    for denial in &mut policy.denials {
        for paths in [&mut denial.paths, &mut denial.except] {
            if let Some(widened) = with_ends(paths) {
                *paths = widened;
            }
        }
    }
}

/// Patterns, and where they lead; `None` if there are no links on their way.
fn with_ends(paths: &[PathPattern]) -> Option<Arc<[PathPattern]>> {
    let led: Vec<_> =
        paths.iter().filter_map(|path| Some((path, of_pattern(path.text())?))).collect();
    let file = led.first()?.0.place().file;
    let mut all = Patterns::new(file, 0);
    let ends = led.iter().map(|(path, led)| (*path, led.to.as_str()));
    for (path, text) in paths.iter().map(|path| (path, path.text())).chain(ends) {
        let place = path.place();
        // What is no valid pattern (too long) is left as it was.
        let _ = all.push(text, place.line, place.column);
    }
    Some(all.finish())
}

fn follow(path: &str) -> Option<Led> {
    // Links of procfs lead each process to something else.
    if !path.starts_with('/') || path == "/proc" || path.starts_with("/proc/") {
        return None;
    }
    let mut rest: VecDeque<String> = names(path).collect();
    let (mut done, mut first, mut links) = (String::new(), None, 0);
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            done.truncate(done.rfind('/').unwrap_or(0));
            continue;
        }
        let next = format!("{done}/{name}");
        let target = fs::read_link(Path::new(&next)).ok().filter(|_| links < LINKS);
        let Some(target) = target.as_ref().and_then(|target| target.to_str()) else {
            done = next;
            continue;
        };
        links += 1;
        first.get_or_insert(next);
        if target.starts_with('/') {
            done.clear();
        }
        for name in names(target).collect::<Vec<_>>().into_iter().rev() {
            rest.push_front(name);
        }
    }
    let to = if done.is_empty() { "/".to_owned() } else { done };
    Some(Led { link: first?, to })
}

fn names(path: &str) -> impl Iterator<Item = String> {
    path.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned)
}

fn below(folder: &str, rest: &str) -> String {
    let folder = folder.trim_end_matches('/');
    if rest.is_empty() { folder.to_owned() } else { format!("{folder}/{rest}") }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::policy::{check, source::Source};

    #[test]
    fn denial_holds_for_where_its_links_lead_too() {
        let folder = std::env::temp_dir().join(format!("remit-links-{}", std::process::id()));
        fs::create_dir_all(folder.join("real/inner")).unwrap();
        let root = fs::canonicalize(&folder).unwrap().display().to_string();
        symlink("real", format!("{root}/link")).unwrap();
        symlink(format!("{root}/link/inner/../nothing"), format!("{root}/real/dangling")).unwrap();
        let led = |link: &str, to: &str| {
            Some(Led { link: format!("{root}/{link}"), to: format!("{root}/{to}") })
        };
        for (pattern, expected) in [
            ("link", led("link", "real")),
            ("link/**", led("link", "real/**")),
            ("link/in*/x", led("link", "real/in*/x")),
            ("link/new/**/.env", led("link", "real/new/**/.env")),
            ("lin*/inner", None),
            ("real/inner", None),
            ("link/dangling", led("link", "real/nothing")),
            ("real/dangling/**", led("real/dangling", "real/nothing/**")),
        ] {
            assert_eq!(of_pattern(&format!("{root}/{pattern}")), expected, "{pattern}");
        }
        assert_eq!(of_pattern("{workdir}/link"), None);
        assert_eq!(of_pattern("/proc/self/exe"), None);
        assert_eq!(of_path(&format!("{root}/link"), true), None);
        assert_eq!(of_path(&format!("{root}/link/a"), true), led("link", "real/a"));
        let text = format!(
            "schema = 1\n[[deny]]\npaths = [\"{root}/link/**\"]\nexcept = [\"{root}/link/x\"]\naccess = [\"read\"]\n"
        );
        let mut policy = check(&[Source { path: "p.toml".into(), text }]).unwrap();
        widen(&mut policy);
        let texts = |paths: &[PathPattern]| -> Vec<String> {
            paths.iter().map(|path| path.text().replace(&root, "@")).collect()
        };
        assert_eq!(texts(&policy.denials[0].paths), ["@/link/**", "@/real/**"]);
        assert_eq!(texts(&policy.denials[0].except), ["@/link/x", "@/real/x"]);
        assert_eq!(policy.denials[0].paths[1].place().line, 3);
        fs::remove_dir_all(folder).unwrap();
    }
}
