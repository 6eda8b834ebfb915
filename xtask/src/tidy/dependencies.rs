//! What is depended on: under which licences, from where, and how often. `deny.toml` says what may be; it is
//! cargo-deny's file, and the part of cargo-deny that needs no network is done here: to build cargo-deny itself would
//! take three and a half minutes of a processor in each run that begins with empty caches.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use spdx::{Expression, LicenseReq, Licensee, ParseMode};

/// The file that says what may be.
pub(super) const FILE: &str = "deny.toml";
/// How cargo names the registry that crates come from.
const REGISTRY: &str = "registry+";

/// What is read of `deny.toml`.
#[derive(Deserialize)]
struct Allowed {
    licenses: Licences,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    exceptions: Vec<Exception>,
}

/// Licences of one crate alone.
#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    skip: Vec<Skip>,
}

/// A crate that may be there in another version as well: `name@version`, of which the version may be only begun.
#[derive(Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

/// What cargo tells of a workspace with its dependencies.
#[derive(Deserialize)]
pub(super) struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

impl Metadata {
    /// The packages that are built for this host.
    fn used(&self) -> Vec<&Package> {
        let ids: BTreeSet<_> = self.resolve.nodes.iter().map(|node| &node.id).collect();
        self.packages.iter().filter(|package| ids.contains(&package.id)).collect()
    }

    /// Those of them that are not for tests alone.
    fn shipped(&self) -> Vec<&Package> {
        let nodes: BTreeMap<_, _> =
            self.resolve.nodes.iter().map(|node| (&node.id, node)).collect();
        let mut found: BTreeSet<&String> = self.workspace_members.iter().collect();
        let mut open: Vec<_> = found.iter().copied().collect();
        while let Some(node) = open.pop().and_then(|id| nodes.get(id)) {
            for dependency in &node.deps {
                let mut kinds = dependency.dep_kinds.iter();
                let is_shipped = kinds.any(|kind| kind.kind.as_deref() != Some("dev"));
                if is_shipped && found.insert(&dependency.pkg) {
                    open.push(&dependency.pkg);
                }
            }
        }
        self.packages.iter().filter(|package| found.contains(&package.id)).collect()
    }
}

/// The findings in the dependencies of some workspaces, given what `deny.toml` says.
pub(super) fn check(allowed: &str, workspaces: &[Metadata]) -> Vec<String> {
    let allowed: Allowed = match toml::from_str(allowed) {
        Ok(allowed) => allowed,
        Err(error) => return vec![format!("{FILE}: {error}")],
    };
    let mut findings = BTreeSet::new();
    let mut used = BTreeSet::new();
    for workspace in workspaces {
        for package in workspace.used() {
            findings.extend(licence(package, &allowed.licenses, &mut used));
            findings.extend(source(package, &allowed.sources));
        }
        findings.extend(duplicates(&workspace.shipped(), &allowed.bans.skip, &mut used));
    }
    let exceptions = allowed.licenses.exceptions.iter().map(|exception| &exception.name);
    let skips = allowed.bans.skip.iter().map(|skip| &skip.version);
    for name in exceptions.chain(skips).filter(|name| !used.contains(*name)) {
        findings.insert(format!("{FILE}: nothing needs the exception for `{name}`: remove it"));
    }
    findings.into_iter().collect()
}

fn licence(package: &Package, allowed: &Licences, used: &mut BTreeSet<String>) -> Option<String> {
    let Package { name, version, .. } = package;
    let Some(text) = &package.license else {
        return Some(format!("{name} {version}: it names no licence: depend on something else"));
    };
    let Ok(expression) = Expression::parse_mode(text, ParseMode::LAX) else {
        return Some(format!("{name} {version}: `{text}` is no expression of SPDX licences"));
    };
    let is_in = |allowed: &[String], licence: &LicenseReq| {
        let mut allowed = allowed.iter().filter_map(|text| Licensee::parse(text).ok());
        allowed.any(|allowed| allowed.satisfies(licence))
    };
    if expression.evaluate(|licence| is_in(&allowed.allow, licence)) {
        return None;
    }
    let mut exceptions = allowed.exceptions.iter().filter(|exception| exception.name == *name);
    let is_excepted = exceptions.any(|exception| {
        expression
            .evaluate(|licence| is_in(&allowed.allow, licence) || is_in(&exception.allow, licence))
    });
    if is_excepted {
        used.insert(name.clone());
        return None;
    }
    Some(format!(
        "{name} {version}: `{text}` is none of the licences that {FILE} allows: depend on something else, or give it \
         an exception with a reason"
    ))
}

fn source(package: &Package, allowed: &Sources) -> Option<String> {
    let source = package.source.as_deref()?;
    let registry = source.strip_prefix(REGISTRY);
    let is_allowed =
        registry.is_some_and(|name| allowed.allow_registry.iter().any(|known| known == name));
    (!is_allowed).then(|| {
        format!(
            "{} {}: it comes from `{source}`: take it from a registry that {FILE} allows",
            package.name, package.version
        )
    })
}

/// Crates that are there in more than one version.
fn duplicates(packages: &[&Package], skips: &[Skip], used: &mut BTreeSet<String>) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    let mut findings = Vec::new();
    for (name, versions) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        let left = versions.iter().filter(|version| {
            let whole = format!("{name}@{version}");
            let skip = skips.iter().find(|skip| {
                let rest = whole.strip_prefix(skip.version.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            used.extend(skip.map(|skip| skip.version.clone()));
            skip.is_none()
        });
        if left.count() > 1 {
            findings.push(format!(
                "{name}: versions {} are built: bring them to one, or add one to `skip` in {FILE} with a reason",
                versions.join(" and ")
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALLOWED: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0 WITH LLVM-exception"]
        exceptions = [{ crate = "reader", allow = ["LGPL-2.1-or-later"] }]
        [bans]
        skip = [{ crate = "twice@1", reason = "" }]
        [sources]
        allow-registry = ["https://index"]
    "#;

    /// A workspace of one package that depends on these: name, version, licence, source.
    fn workspace(packages: &[(&str, &str, &str, &str)]) -> Metadata {
        let id = |name: &str, version: &str| format!("{name} {version}");
        let mut list = vec![json!({
            "id": "own 1", "name": "own", "version": "1", "license": "MIT", "source": null,
        })];
        let mut nodes = Vec::new();
        let mut deps = Vec::new();
        for (name, version, license, source) in packages {
            let id = id(name, version);
            list.push(json!({
                "id": id, "name": name, "version": version, "license": license, "source": source,
            }));
            nodes.push(json!({ "id": id, "deps": [] }));
            let kind = if *name == "for-tests" { Some("dev") } else { None };
            deps.push(json!({ "pkg": id, "dep_kinds": [{ "kind": kind }] }));
        }
        nodes.push(json!({ "id": "own 1", "deps": deps }));
        let whole = json!({
            "packages": list, "resolve": { "nodes": nodes }, "workspace_members": ["own 1"],
        });
        serde_json::from_value(whole).unwrap()
    }

    /// The findings besides those that any project would have that uses both exceptions of `ALLOWED`.
    fn found(packages: &[(&str, &str, &str, &str)]) -> Vec<String> {
        let mut all = vec![
            ("reader", "1.0", "LGPL-2.1-or-later", "registry+https://index"),
            ("twice", "1.4", "MIT", "registry+https://index"),
            ("twice", "2.0", "MIT/Apache-2.0", "registry+https://index"),
        ];
        all.extend_from_slice(packages);
        check(ALLOWED, &[workspace(&all)])
    }

    fn assert_found(package: (&str, &str, &str, &str), begin: &str) {
        let findings = found(&[package]);
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert!(finding.starts_with(begin), "{finding}");
    }

    const REGISTRY: &str = "registry+https://index";

    #[test]
    fn check_what_is_allowed_is_no_finding() {
        assert_eq!(found(&[]), [""; 0]);
        let both = "(MIT OR GPL-3.0-only) AND Apache-2.0 WITH LLVM-exception";
        assert_eq!(found(&[("both", "1.0", both, REGISTRY)]), [""; 0]);
    }

    #[test]
    fn check_licence_that_is_not_allowed_is_found() {
        assert_found(("a", "1.0", "GPL-3.0-only", REGISTRY), "a 1.0: `GPL-3.0-only` is none");
        assert_found(("a", "1.0", "MIT AND GPL-3.0-only", REGISTRY), "a 1.0: `MIT AND");
        assert_found(("a", "1.0", "LGPL-2.1-or-later", REGISTRY), "a 1.0: `LGPL-2.1-or-later`");
        assert_found(
            ("a", "1.0", "as you like", REGISTRY),
            "a 1.0: `as you like` is no expression",
        );
    }

    #[test]
    fn check_crate_from_elsewhere_is_found() {
        assert_found(
            ("a", "1.0", "MIT", "git+https://example.com/a"),
            "a 1.0: it comes from `git+",
        );
    }

    #[test]
    fn check_second_version_is_found_unless_it_is_for_tests() {
        let version = |name: &'static str, version: &'static str| (name, version, "MIT", REGISTRY);
        assert_eq!(found(&[version("a", "1.0"), version("a", "2.0")]).len(), 1);
        assert_eq!(found(&[version("twice", "3.0")]).len(), 1);
        assert_eq!(found(&[version("for-tests", "1.0"), version("for-tests", "2.0")]), [""; 0]);
    }

    #[test]
    fn check_exceptions_that_nothing_needs_are_found() {
        let findings = check(ALLOWED, &[workspace(&[])]);
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings[0].contains("`reader`") && findings[1].contains("`twice@1`"));
    }
}
