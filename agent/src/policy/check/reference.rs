//! Checks across all files: undefined names, and profiles that contradict conflicts.

use crate::policy::{
    diagnostic::{Diagnostic, Severity, nearest, quote, suggest},
    shipped::Shelf,
    syntax::File,
    value::Problem,
};

use super::document::{Draft, Kind};

/// Looks up every name.
pub(super) fn resolve(
    draft: &Draft,
    files: &[File<'_>],
    shelf: &Shelf,
    out: &mut Vec<(usize, Diagnostic)>,
) {
    let shipped: Vec<_> = draft.shipped.iter().map(String::as_str).collect();
    let tools: Vec<_> = draft.tools.keys().map(String::as_str).collect();
    let profiles: Vec<_> = draft.profiles.keys().map(String::as_str).collect();
    let mut sensitivities: Vec<_> =
        draft.data.iter().map(|data| data.sensitivity.as_str()).collect();
    sensitivities.sort_unstable();
    sensitivities.dedup();
    for reference in &draft.references {
        let (kind, known, code) = match reference.kind {
            Kind::Tool => ("tool", &tools, "policy::unknown-tool"),
            Kind::Profile => ("profile", &profiles, "policy::unknown-profile"),
            Kind::Sensitivity => ("sensitivity", &sensitivities, "policy::unknown-sensitivity"),
            Kind::Shipped => ("", &shipped, "policy::unknown-use"),
        };
        if known.contains(&reference.name.as_str()) {
            continue;
        }
        if reference.kind == Kind::Shipped {
            if let Some(file) = files.get(reference.file) {
                let problem = not_shipped(&reference.name, shelf);
                out.push(file.diagnostic(Severity::Error, code, reference.span.clone(), problem));
            }
            continue;
        }
        let all = match reference.kind {
            Kind::Tool => "the policy's tools are",
            Kind::Profile => "the policy's profiles are",
            Kind::Sensitivity | Kind::Shipped => "the policy's data has",
        };
        let help = suggest(&reference.name, known.iter().copied(), all).or_else(|| {
            Some(format!("no file of the policy defines {kind} {}", quote(&reference.name)))
        });
        let problem =
            Problem { message: format!("unknown {kind} {}", quote(&reference.name)), help };
        if let Some(file) = files.get(reference.file) {
            out.push(file.diagnostic(Severity::Error, code, reference.span.clone(), problem));
        }
    }
    conflicts(draft, files, out);
}

/// What is wrong with a name in `use`.
fn not_shipped(name: &str, shelf: &Shelf) -> Problem {
    let message = format!("nothing of the name {} ships", quote(name));
    let dir = shelf.dir.display();
    if shelf.names.is_empty() {
        let help = format!("there is nothing in `{dir}` (the setting `shipped_dir`)");
        return Problem::new(message).help(help);
    }
    let names = shelf.names.iter().map(String::as_str);
    if let Some(near) = nearest(name, names.clone()) {
        return Problem::new(message).help(format!("did you mean `{near}`?"));
    }
    let names: Vec<_> = names.map(quote).collect();
    Problem::new(message).help(format!("what ships, in `{dir}`: {}", names.join(", ")))
}

/// Reports profiles that hold conflicting tools from the start.
fn conflicts(draft: &Draft, files: &[File<'_>], out: &mut Vec<(usize, Diagnostic)>) {
    for (name, profile) in &draft.profiles {
        for conflict in &draft.conflicts {
            if conflict.tools.len() < 2
                || !conflict.tools.iter().all(|tool| profile.item.tools.contains(tool))
            {
                continue;
            }
            let tools: Vec<_> = conflict.tools.iter().map(|tool| quote(tool)).collect();
            let place = &conflict.place;
            let problem = Problem::new(format!(
                "profile {} holds {} from the start, which exclude each other",
                quote(name),
                tools.join(" and ")
            ))
            .help(format!(
                "the conflict is at {}:{}:{}",
                place.file.display(),
                place.line,
                place.column
            ));
            if let Some(file) = files.get(profile.file) {
                let span = profile.span.clone();
                out.push(file.diagnostic(Severity::Error, "policy::conflict", span, problem));
            }
        }
    }
}
