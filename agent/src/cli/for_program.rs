//! Finds the profile that is for a program, when `remit run` names none.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use super::context::{CliError, Context};
use crate::api::{WhoAmI, client::typed};

/// The one profile, of those that the caller may start, that is for this command: `name` as it was typed, `program` as
/// it was found.
///
/// # Errors
/// There is none, or there are several.
pub(super) fn profile(context: &Context, name: &OsStr, program: &Path) -> Result<String, CliError> {
    let me: WhoAmI = typed(&context.client.get("/v1/whoami")?)?;
    let mut found = matching(&me.programs, name, program);
    let shown = Path::new(name).display();
    let list = |names: &[String]| {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    match (found.pop(), found.is_empty()) {
        (Some(profile), true) => Ok(profile),
        (Some(last), false) => {
            found.push(last);
            let message = format!("several profiles are for `{shown}`: {}", list(&found));
            Err(CliError::usage(message, "name one: `--profile NAME`"))
        }
        (None, _) => {
            let message = format!("no profile that you may start is for `{shown}`");
            let help = match me.may_start.as_slice() {
                [] => "`--profile NAME`; but there is none that you may start".to_owned(),
                names => format!("name one, `--profile NAME`: {}", list(names)),
            };
            Err(CliError::usage(message, help))
        }
    }
}

/// The profiles one of whose programs this is: by the file's name, or by its path, links resolved or not.
fn matching(programs: &BTreeMap<String, Vec<String>>, name: &OsStr, program: &Path) -> Vec<String> {
    let names = [Path::new(name).file_name(), program.file_name()];
    let paths: Vec<PathBuf> =
        std::path::absolute(program).into_iter().chain(fs::canonicalize(program)).collect();
    let is_meant = |text: &String| {
        if text.contains('/') {
            paths.iter().any(|path| path == Path::new(text))
        } else {
            names.contains(&Some(OsStr::new(text)))
        }
    };
    let of = programs.iter().filter(|(_, programs)| programs.iter().any(is_meant));
    of.map(|(profile, _)| profile.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn program_is_matched_by_its_name_or_by_where_it_leads() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("cli.js"), dir.path().join("claude"));
        fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let real = fs::canonicalize(real).unwrap().display().to_string();
        let of = |programs: &[(&str, &[&str])], name: &str| {
            let programs = programs.iter().map(|(profile, programs)| {
                ((*profile).to_owned(), programs.iter().map(|p| (*p).to_owned()).collect())
            });
            matching(&programs.collect(), OsStr::new(name), &link)
        };
        assert_eq!(of(&[("c", &["claude"]), ("x", &["codex"])], "claude"), ["c"]);
        assert_eq!(of(&[("c", &["claude"])], "/opt/bin/claude"), ["c"]);
        assert_eq!(of(&[("c", &["/usr/bin/other", &real])], "claude"), ["c"]);
        assert_eq!(of(&[("a", &["claude"]), ("b", &["x", "claude"])], "claude"), ["a", "b"]);
        assert_eq!(of(&[("c", &["laude", "/usr/bin/claude", "cli.js"])], "claude"), [""; 0]);
    }
}
