//! Why something was refused, and what an operator can do about it.

use super::text::quote;
use crate::incident::{object::Object, record::Incident};

/// Why something was refused, and what can be done about it. Control characters are escaped only in the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Why, in half a sentence.
    pub why: String,
    /// What would allow it, or that nothing can, in a sentence.
    pub remedy: String,
    /// The command that does it, ready for a shell.
    pub command: Option<String>,
}

/// The advice on an incident.
pub fn advice(incident: &Incident) -> Advice {
    let (why, remedy, command) = match incident.reason.as_str() {
        "no_tool" => no_tool(incident),
        "revoked" => again(incident, "a tool that covers it was taken back"),
        "expired" => again(incident, "the tool that covers it, or the session itself, ran out"),
        "explicit_deny" => (
            "the policy denies it to everybody",
            "No grant can allow it: a denial beats every tool. Only a change of the rule could."
                .to_owned(),
            None,
        ),
        "ancestor" => ancestor(incident),
        "conflict" => (
            "the tools that cover it are never held together with one that the session holds",
            "No grant can allow it while the session holds the other tool: take that back first."
                .to_owned(),
            None,
        ),
        "taint" => (
            "what the session has touched forbids it from now on",
            "No grant can allow it in this session. A new session has touched nothing.".to_owned(),
            None,
        ),
        "quarantined" => (
            "the session is quarantined: everything is refused to it",
            "No grant can allow it until an operator lets the session out:".to_owned(),
            Some(format!("remit session resume {}", session(incident))),
        ),
        "guard" => (
            "no session may do it: it would undo the confinement",
            "No grant can allow it, whatever the policy says.".to_owned(),
            None,
        ),
        "unresolved" if matches!(incident.object, Object::Socket { .. }) => (
            "it could not be established what the address reaches, so no rule can cover it",
            "No grant can allow it. The address may be too short or of an unknown family, or the source of what is \
             sent laid down in another way."
                .to_owned(),
            None,
        ),
        "unresolved" => (
            "the object's path could not be established, so no rule can cover it",
            "No grant can allow it. It may be a deleted file, or one outside every mount."
                .to_owned(),
            None,
        ),
        _ => ("the log gives a reason that this version does not know", again_text(incident), None),
    };
    Advice { why: why.to_owned(), remedy, command }
}

type Parts = (&'static str, String, Option<String>);

fn no_tool(incident: &Incident) -> Parts {
    if matches!(incident.object, Object::Path { set_id: true, .. }) {
        return set_id(incident);
    }
    let why = "no tool that the session holds covers it";
    if incident.would_allow.is_empty() {
        let remedy =
            "No tool of the policy covers it, so no grant can allow it. A rule of a tool would.";
        return (why, remedy.to_owned(), None);
    }
    again(incident, why)
}

fn set_id(incident: &Incident) -> Parts {
    let why =
        "no tool that the session holds lets the program keep the privilege that it has of itself";
    if incident.would_allow.is_empty() {
        let remedy = "`setid = true` on a tool that covers it would; `setpriv --no-new-privs` runs it \
                      without that privilege.";
        return (why, remedy.to_owned(), None);
    }
    again(incident, why)
}

/// Advice to grant a tool, or to grant it again.
fn again(incident: &Incident, why: &'static str) -> Parts {
    if incident.would_allow.is_empty() {
        let remedy =
            "No grant is known that would allow it; if the session ran out, start another.";
        return (why, remedy.to_owned(), None);
    }
    (why, again_text(incident), grant(incident, &session(incident)))
}

fn again_text(incident: &Incident) -> String {
    match incident.would_allow.as_slice() {
        [] => "No tool is known that would allow it.".to_owned(),
        [only] => format!("The tool `{only}` would allow it:"),
        [first, others @ ..] => {
            format!("One of the tools `{first}`, `{}` would allow it:", others.join("`, `"))
        }
    }
}

fn ancestor(incident: &Incident) -> Parts {
    let why =
        "an ancestor session does not hold a tool that covers it, and a child never holds more";
    let parent = incident.session.lineage.first();
    (
        why,
        "A grant to this session can't allow it; one to the ancestor that lacks the tool can:"
            .to_owned(),
        parent.and_then(|parent| grant(incident, &quote(parent))),
    )
}

fn grant(incident: &Incident, session: &str) -> Option<String> {
    let tool = incident.would_allow.first()?;
    Some(format!("remit grant {session} {} --ttl 10m --reason \"…\"", quote(tool)))
}

fn session(incident: &Incident) -> String {
    let session = &incident.session;
    quote(if session.name.is_empty() { &session.id } else { &session.name })
}
