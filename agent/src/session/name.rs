//! Names of sessions.

use super::{Error, Id};

/// The most characters of a name.
const LONGEST: usize = 64;

/// Checks a name that a user chose.
pub(super) fn check(name: &str) -> Result<(), Error> {
    let fits = (1..=LONGEST).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if !fits {
        return Err(Error::BadName {
            name: name.to_owned(),
            help: "1 to 64 letters, digits, `.`, `_` and `-`",
        });
    }
    let in_urls =
        "not `.` or `..`, and no `-` at its start: it stands in addresses and after options";
    if matches!(name, "." | "..") || name.starts_with('-') {
        return Err(Error::BadName { name: name.to_owned(), help: in_urls });
    }
    if Id::looks_like(name) {
        return Err(Error::BadName {
            name: name.to_owned(),
            help: "16 hexadecimal digits would be taken for a session's id",
        });
    }
    Ok(())
}

/// The next name `<profile>-<n>`, with a number above all known ones, so that a name in the log is not soon used again.
pub(super) fn next<'a>(profile: &str, known: impl Iterator<Item = &'a str>) -> String {
    let stem: String = profile.chars().take(LONGEST - 12).collect();
    let highest = known
        .filter_map(|name| name.strip_prefix(&stem)?.strip_prefix('-')?.parse::<u64>().ok())
        .max()
        .unwrap_or(0);
    format!("{stem}-{}", highest.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_that_breaks_the_rule_is_refused() {
        for good in ["a", "fix-42", "A.b_c", "...", ".a", "_", &"x".repeat(64)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a b",
            "ä",
            "a/b",
            &"x".repeat(65),
            "0123456789abcdef",
            ".",
            "..",
            "-x",
            "--",
            "a%2fb",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn next_name_follows_the_highest_number() {
        assert_eq!(next("coder", [].into_iter()), "coder-1");
        assert_eq!(next("coder", ["coder-7", "coder-x", "other-9"].into_iter()), "coder-8");
    }
}
