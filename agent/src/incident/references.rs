//! The entries of public lists of threats and duties that incidents relate to: one table.
//!
//! The lists, their versions, and how their ids are written here:
//!
//! | prefix | list |
//! | --- | --- |
//! | `owasp-agentic:` | OWASP Top 10 for Agentic Applications 2026 (December 2025), `ASI01` to `ASI10` |
//! | `owasp-nhi:` | OWASP Non-Human Identities Top 10, 2025, `NHI1` to `NHI10` |
//! | `maestro:` | CSA MAESTRO (February 2025), its seven layers, `L1` to `L7` |
//! | `nist-ai-rmf:` | NIST AI Risk Management Framework 1.0 (AI 100-1, January 2023), its functions |
//! | `mitre-attack:` | MITRE ATT&CK Enterprise v19.2 (v19: April 2026), techniques |
//! | `mitre-atlas:` | MITRE ATLAS 2026.09, techniques |
//!
//! ATT&CK v19 revoked T1562 (Impair Defenses) in favour of T1685 (Disable or Modify Tools), so that is
//! what incidents carry; [`matches()`] lets queries use the old ids.

use agent_common::{decision::Reason, event::Operation};

use super::decode::{Event, Object};

/// A condition of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// The reason is this one.
    Reason(Reason),
    /// The operation's name is this, or begins with it where it ends in a dot.
    Operation(&'static str),
    /// An explicit denial of an operation whose name begins with this.
    DeniedOperation(&'static str),
    /// A file that holds credentials, by its name or folder.
    CredentialFile,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// When it applies.
    pub when: When,
    /// The references that it adds.
    pub references: &'static [&'static str],
}

const fn row(when: When, references: &'static [&'static str]) -> Row {
    Row { when, references }
}

/// The table. Every row that applies adds its references.
pub const TABLE: &[Row] = &[
    row(
        When::Reason(Reason::NoTool),
        &["owasp-agentic:ASI02", "maestro:L3", "mitre-atlas:AML.T0053"],
    ),
    row(When::Reason(Reason::ExplicitDeny), &["owasp-agentic:ASI02", "maestro:L6"]),
    row(When::Reason(Reason::Revoked), &["owasp-agentic:ASI03", "owasp-nhi:NHI1", "maestro:L6"]),
    row(When::Reason(Reason::Expired), &["owasp-agentic:ASI03", "owasp-nhi:NHI7", "maestro:L6"]),
    row(When::Reason(Reason::Ancestor), &["owasp-agentic:ASI03", "owasp-nhi:NHI5", "maestro:L7"]),
    row(
        When::Reason(Reason::Conflict),
        &["owasp-agentic:ASI02", "maestro:L2", "mitre-atlas:AML.T0086"],
    ),
    row(
        When::Reason(Reason::Taint),
        &["owasp-agentic:ASI02", "maestro:L2", "mitre-atlas:AML.T0086"],
    ),
    row(When::Reason(Reason::Quarantined), &["owasp-agentic:ASI10", "maestro:L6"]),
    row(When::Reason(Reason::Guard), &["owasp-agentic:ASI10", "maestro:L6", "mitre-attack:T1685"]),
    row(When::Reason(Reason::Unresolved), &["owasp-agentic:ASI02", "maestro:L4"]),
    row(
        When::DeniedOperation("file."),
        &["owasp-agentic:ASI03", "owasp-nhi:NHI2", "mitre-attack:T1552"],
    ),
    row(When::CredentialFile, &["owasp-agentic:ASI03", "owasp-nhi:NHI2", "mitre-attack:T1552"]),
    row(When::Operation("file.exec"), &["owasp-agentic:ASI05", "mitre-attack:T1059"]),
    row(When::Operation("file.map"), &["owasp-agentic:ASI05", "mitre-attack:T1059"]),
    row(
        When::Operation("net."),
        &[
            "owasp-agentic:ASI02",
            "mitre-attack:T1041",
            "mitre-attack:T1048",
            "mitre-atlas:AML.T0086",
        ],
    ),
    row(When::Operation("unix.connect"), &["owasp-agentic:ASI02", "owasp-nhi:NHI8"]),
    row(When::Operation("process.trace"), &["owasp-agentic:ASI10", "mitre-attack:T1055"]),
    row(When::Operation("process.signal"), &["owasp-agentic:ASI10", "mitre-attack:T1685"]),
    row(When::Operation("process.control"), &["owasp-agentic:ASI10", "mitre-attack:T1685"]),
    row(When::Operation("process.ipc"), &["owasp-agentic:ASI10", "mitre-attack:T1559"]),
    row(When::Operation("process.key"), &["owasp-agentic:ASI03", "mitre-attack:T1552"]),
    row(
        When::Operation("priv."),
        &["owasp-agentic:ASI10", "maestro:L4", "mitre-attack:T1685", "mitre-attack:T1611"],
    ),
    row(When::Always, &["nist-ai-rmf:GOVERN"]),
];

/// Where credentials are kept: a path that contains one of these is a credential file.
pub const CREDENTIAL_PLACES: &[&str] = &[
    "/.ssh/",
    "/.aws/",
    "/.azure/",
    "/.config/gcloud/",
    "/.config/gh/",
    "/.docker/config.json",
    "/.git-credentials",
    "/.gnupg/",
    "/.kube/",
    "/.netrc",
    "/.npmrc",
    "/.pgpass",
    "/.pypirc",
    "/etc/gshadow",
    "/etc/shadow",
    "/etc/ssh/ssh_host_",
    "/etc/ssl/private/",
    "/run/secrets/",
    "/var/run/secrets/",
    "/.env",
];

/// Ids of earlier versions of the lists, and the present ones.
const FORMER: &[(&str, &str)] = &[
    ("A2", "owasp-agentic:ASI02"),
    ("T2", "owasp-agentic:ASI02"),
    ("T1562", "mitre-attack:T1685"),
];

impl When {
    /// Whether it applies to an incident with this reason, which may be another than the event's.
    fn applies(self, event: &Event, reason: Reason) -> bool {
        let operation = event.operation;
        match self {
            Self::Always => true,
            Self::Reason(wanted) => wanted == reason,
            Self::Operation(wanted) => is(operation, wanted),
            Self::DeniedOperation(wanted) => {
                reason == Reason::ExplicitDeny && is(operation, wanted)
            }
            Self::CredentialFile => is_credential(event),
        }
    }
}

fn is(operation: Operation, wanted: &str) -> bool {
    operation.name() == wanted || (wanted.ends_with('.') && operation.name().starts_with(wanted))
}

fn is_credential(event: &Event) -> bool {
    let holds = |path: &[u8]| {
        let path = String::from_utf8_lossy(path);
        CREDENTIAL_PLACES.iter().any(|place| path.contains(place))
    };
    let Object::Path(path) = &event.object else { return false };
    holds(path) || event.to.as_deref().is_some_and(holds)
}

/// The references of an event, each once, in the table's order. `reason` is the refined one.
pub fn references(event: &Event, reason: Reason) -> Vec<&'static str> {
    let mut found = Vec::new();
    for row in TABLE.iter().filter(|row| row.when.applies(event, reason)) {
        for reference in row.references {
            if !found.contains(reference) {
                found.push(*reference);
            }
        }
    }
    found
}

/// Whether a reference of an incident matches a query: the whole reference
/// (`owasp-agentic:ASI02`), its id alone (`ASI02`), its list alone (`owasp-agentic`), or an id of an
/// earlier version of the list (`A2`, `T1562`). Case does not matter.
pub fn matches(reference: &str, asked: &str) -> bool {
    let asked = FORMER
        .iter()
        .find(|(former, _)| former.eq_ignore_ascii_case(asked))
        .map_or(asked, |(_, now)| now);
    let (list, id) = reference.split_once(':').unwrap_or((reference, reference));
    [reference, list, id].iter().any(|part| part.eq_ignore_ascii_case(asked))
}

/// The table as Markdown, for the documentation.
pub fn markdown() -> String {
    let mut text = String::from("| when | references |\n| --- | --- |\n");
    for row in TABLE {
        let when = match row.when {
            When::Always => "always".to_owned(),
            When::Reason(reason) => format!("reason `{}`", reason.name()),
            When::Operation(name) if name.ends_with('.') => format!("operation `{name}*`"),
            When::Operation(name) => format!("operation `{name}`"),
            When::DeniedOperation(name) => format!("operation `{name}*`, reason `explicit_deny`"),
            When::CredentialFile => "a file that holds credentials".to_owned(),
        };
        let references: Vec<_> =
            row.references.iter().map(|reference| format!("`{reference}`")).collect();
        text.push_str(&format!("| {when} | {} |\n", references.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::testing::{event, file_event};

    #[test]
    fn connection_without_a_tool_refers_to_misuse_and_exfiltration() {
        assert_eq!(
            references(&event(1), Reason::NoTool),
            [
                "owasp-agentic:ASI02",
                "maestro:L3",
                "mitre-atlas:AML.T0053",
                "mitre-attack:T1041",
                "mitre-attack:T1048",
                "mitre-atlas:AML.T0086",
                "nist-ai-rmf:GOVERN",
            ]
        );
    }

    #[test]
    fn credential_file_refers_to_credentials_and_another_file_does_not() {
        let key = file_event(1, "/home/dev/.ssh/id_ed25519", Reason::NoTool);
        assert!(references(&key, Reason::NoTool).contains(&"mitre-attack:T1552"));
        let plain = file_event(1, "/srv/data", Reason::NoTool);
        assert!(!references(&plain, Reason::NoTool).contains(&"mitre-attack:T1552"));
    }

    #[test]
    fn references_follow_the_refined_reason() {
        let found = references(&event(1), Reason::Revoked);
        assert!(found.contains(&"owasp-nhi:NHI1") && !found.contains(&"maestro:L3"));
    }

    #[test]
    fn documentation_has_this_table() {
        let page = include_str!("../../../docs/incidents.md");
        assert!(page.contains(&markdown()), "put this into docs/incidents.md:\n{}", markdown());
    }

    #[test]
    fn every_operation_and_reason_has_a_layer_a_risk_and_a_duty() {
        let reasons = (1..=10).map(|number| Reason::try_from(number).unwrap());
        for reason in reasons {
            for operation in Operation::ALL {
                let event = Event { operation: *operation, reason, ..event(1) };
                let found = references(&event, reason);
                for list in ["owasp-agentic:", "maestro:", "nist-ai-rmf:"] {
                    assert!(found.iter().any(|one| one.starts_with(list)), "{operation:?} {list}");
                }
            }
        }
    }

    #[test]
    fn reference_matches_whole_id_list_or_former_id() {
        for asked in ["owasp-agentic:ASI02", "asi02", "OWASP-Agentic", "A2", "t2"] {
            assert!(matches("owasp-agentic:ASI02", asked), "{asked}");
        }
        assert!(matches("mitre-attack:T1685", "T1562"));
        assert!(!matches("owasp-agentic:ASI02", "ASI0"));
        assert!(!matches("mitre-attack:T1048", "T1562"));
    }
}
