//! What the daemon says: which refusals its log has, whether one was lost, and what it would decide.

use std::collections::BTreeSet;

use fastrand::Rng;
use tests::bed::bed;

use crate::{
    child::session_name,
    outside::Standing,
    world::{Class, ENDPOINTS, Family, OBJECTS, ROOT},
};

/// The page that lists operations and reasons.
const PAGE: &str = include_str!("../../../../docs/incidents.md");

/// Which operations and reasons the log has, crossed with each other, and which it never had.
pub(crate) fn met() -> String {
    let reasons: Vec<&str> = names("### Reasons").collect();
    let operations: Vec<&str> = names("### Operations").collect();
    let mut pairs = 0;
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for reason in &reasons {
        let path = format!("/v1/incidents/summary?reason={reason}");
        let summary = bed().ask("GET", &path, "").json();
        for count in summary["by_operation"].as_array().into_iter().flatten() {
            let operation =
                operations.iter().find(|operation| count["name"].as_str() == Some(operation));
            seen.extend(operation);
            seen.insert(reason);
            pairs += 1;
        }
    }
    let never: Vec<&str> =
        operations.iter().chain(&reasons).filter(|name| !seen.contains(*name)).copied().collect();
    format!("operations × reasons of refusals: {pairs}\nnever refused: {}\n", never.join(" "))
}

/// The names in the first column of a section's table, but for what is only reserved.
fn names(section: &str) -> impl Iterator<Item = &'static str> {
    let rest = PAGE.split_once(section).map_or("", |(_, rest)| rest);
    let table = rest.split("\n#").next().unwrap_or_default();
    table
        .lines()
        .filter(|line| !line.contains("| reserved:"))
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, _)| name)
        .filter(|name| !["operation", "reason"].contains(name))
}

/// What is lost or broken of the record since the daemon began.
pub(crate) fn faults() -> Option<String> {
    let metrics = bed().ask("GET", "/v1/metrics", "").body;
    let wrong = [
        "remit_lost_refusals_total",
        "remit_log_failures_total",
        "remit_log_dropped_acts_total",
        "remit_programs_skipped_total",
    ];
    metrics
        .lines()
        .find(|line| {
            let value = line.split_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
            wrong.iter().any(|name| line.starts_with(name)) && value.is_some_and(|value| value > 0.)
        })
        .map(str::to_owned)
}

/// Asks what would be decided of something in the world, at random; says where the answer is not what the session
/// holds.
pub(crate) fn ask(rng: &mut Rng, session: u32, standing: Standing) -> Option<String> {
    let (right, object, may) =
        if rng.bool() { about_a_file(rng, standing) } else { about_an_endpoint(rng, standing) };
    let question = serde_json::json!({
        "session": session_name(session),
        "operation": right,
        "object": object,
    });
    let answer = bed().ask("POST", "/v1/policy/explain", &question.to_string()).json();
    let verdict = answer["verdict"].as_str().unwrap_or_default();
    let wanted = if may { "allowed" } else { "denied" };
    (verdict != wanted).then(|| {
        format!(
            "`explain` says that {right} of {object} would be {verdict}, it is {wanted}: {answer}"
        )
    })
}

type Question = (&'static str, String, bool);

fn about_a_file(rng: &mut Rng, standing: Standing) -> Question {
    let all: Vec<_> = OBJECTS.iter().filter(|object| object.path.starts_with(ROOT)).collect();
    let object = all[rng.usize(..all.len())];
    let rights = ["read", "write", "create", "delete", "exec", "connect"];
    let right = rights[rng.usize(..rights.len())];
    let changes = ["read", "write", "create", "delete"];
    let covered: &[&str] = match object.class {
        Class::Held => &rights,
        Class::ReadOnly => &["read"],
        Class::WriteOnly => &["write"],
        Class::Spare => &changes,
        Class::Deadly => &["read", "write"],
        // One level of this folder is covered.
        Class::Never if object.name == "star/sub" => &changes,
        // The denial leaves this.
        Class::Never if object.name == "own/key" => &["connect"],
        Class::Never => &[],
    };
    let has = match object.class {
        Class::Never => standing.active,
        class => standing.has(class),
    };
    (right, object.path.to_owned(), has && covered.contains(&right))
}

fn about_an_endpoint(rng: &mut Rng, standing: Standing) -> Question {
    let endpoint = &ENDPOINTS[rng.usize(..ENDPOINTS.len())];
    let may = standing.has(endpoint.class);
    let protocol = if endpoint.kind == libc::SOCK_DGRAM { "udp" } else { "tcp" };
    let object = match endpoint.family {
        Family::V4 => format!("{protocol}/{}:{}", endpoint.host, endpoint.port),
        Family::V6 => format!("{protocol}/[{}]:{}", endpoint.host, endpoint.port),
        Family::Unix => return ("connect", endpoint.host.to_owned(), may),
        // No rule names these.
        Family::Abstract => return about_a_file(rng, standing),
    };
    (if endpoint.served { "connect" } else { "listen" }, object, may)
}
