//! Lines of `sources.list` for other suites, on the servers that the machine already uses.
//! Reads the machine's own package sources; must not write them.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// Where Debian's keys lie, by the release of the package `debian-archive-keyring`.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// One line of `sources.list` for each of `suites`.
///
/// # Errors
/// When the machine has no Debian archive among its sources, or no keys of Debian's.
pub(super) fn lines(suites: &[&str]) -> Result<String> {
    let keyring = KEYRINGS
        .into_iter()
        .find(|path| fs::exists(path).unwrap_or(false))
        .context("the keys of Debian's archive are missing: install `debian-archive-keyring`")?;
    let known = machine_uris();
    let mut lines = String::new();
    for suite in suites {
        let uri = uri_for(suite, &known)?;
        lines +=
            &format!("deb [signed-by={keyring} arch=amd64 target=Packages] {uri} {suite} main\n");
    }
    Ok(lines)
}

/// The archive that holds `suite`: security has one of its own.
fn uri_for(suite: &str, known: &[String]) -> Result<String> {
    let is_security = |uri: &str| uri.contains("security");
    let wanted = suite.ends_with("-security");
    let variable = if wanted { "REMIT_DEBIAN_SECURITY" } else { "REMIT_DEBIAN" };
    if let Ok(uri) = env::var(variable) {
        return Ok(uri);
    }
    let found = known.iter().find(|uri| is_security(uri) == wanted);
    found.cloned().with_context(|| {
        format!(
            "no Debian archive among this machine's package sources: give its URI in `{variable}`"
        )
    })
}

/// The URIs of Debian archives that the machine's own sources name.
fn machine_uris() -> Vec<String> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let parts = fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten();
    files.extend(parts.flatten().map(|entry| entry.path()));
    files.sort();
    let mut uris = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => uris.extend(text.lines().filter_map(one_line_uri)),
            Some("sources") => uris.extend(text.lines().flat_map(deb822_uris)),
            _ => {}
        }
    }
    uris.retain(|uri| is_debian(uri));
    uris
}

/// The URI of a line `deb [options] URI suite component…`.
fn one_line_uri(line: &str) -> Option<String> {
    let rest = line.trim().strip_prefix("deb ")?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    rest.split_whitespace().next().map(str::to_owned)
}

/// The URIs of a field `URIs: …`.
fn deb822_uris(line: &str) -> Vec<String> {
    let value = line.strip_prefix("URIs:").unwrap_or_default();
    value.split_whitespace().map(str::to_owned).collect()
}

/// Whether a URI is that of Debian's archive or security archive, or of a list of its mirrors.
fn is_debian(uri: &str) -> bool {
    let last = uri.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    matches!(last, "debian" | "debian-security" | "debian.list" | "debian-security.list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_uri_options_are_skipped() {
        let uri = one_line_uri("deb [signed-by=/k arch=amd64] http://mirror/debian trixie main");
        assert_eq!(uri.as_deref(), Some("http://mirror/debian"));
        assert_eq!(one_line_uri("# deb http://mirror/debian trixie main"), None);
    }

    #[test]
    fn uri_for_security_suite_is_the_security_archive() {
        let known = ["http://m/debian", "http://m/debian-security"].map(str::to_owned);
        assert_eq!(uri_for("bookworm-security", &known).ok(), Some(known[1].clone()));
        assert_eq!(uri_for("trixie", &known).ok(), Some(known[0].clone()));
        assert!(uri_for("trixie", &[]).is_err());
    }

    #[test]
    fn is_debian_other_vendor_is_not() {
        assert!(is_debian("http://m/debian/"));
        assert!(!is_debian("https://m/node_20.x"));
    }
}
