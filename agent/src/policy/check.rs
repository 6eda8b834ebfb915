//! Checks policy files: the result is a policy, or everything that is wrong with them.
//!
//! Each file is read by itself; names are looked up when all files have been read. If a file is malformed, the names
//! that it defines are not known, so then no names are looked up.

mod document;
mod hazard;
mod profile;
mod reference;
mod tool;

use std::collections::BTreeMap;

use super::{
    diagnostic::{Diagnostic, Severity},
    model::Policy,
    shipped::{Files, Shelf, stem},
    source::{self, Source},
    syntax::File,
};

/// Checks a policy that takes nothing of what ships.
///
/// # Errors
/// Everything that is wrong, in the order of the files.
pub fn check(sources: &[Source]) -> Result<Policy, Vec<Diagnostic>> {
    check_parts(&[], sources, &Shelf::default())
}

/// Checks all files of a policy.
///
/// # Errors
/// Everything that is wrong, in the order of the files; those that ship come first.
pub fn check_files(files: &Files) -> Result<Policy, Vec<Diagnostic>> {
    check_parts(&files.shipped, &files.own, &files.shelf)
}

fn check_parts(
    shipped: &[Source],
    own: &[Source],
    shelf: &Shelf,
) -> Result<Policy, Vec<Diagnostic>> {
    let mut out = Vec::new();
    let files: Vec<_> = shipped
        .iter()
        .chain(own)
        .enumerate()
        .map(|(number, source)| File::new(number, source))
        .collect();
    let mut draft =
        document::Draft { shipped: shipped.iter().map(stem).collect(), ..Default::default() };
    let mut malformed = false;
    for file in &files {
        // One document at a time, since it needs more memory than its result.
        match file.parse(&mut out) {
            Some(table) => draft.read(file, &table, &mut out),
            None => malformed = true,
        }
    }
    if !malformed {
        reference::resolve(&draft, &files, shelf, &mut out);
    }
    out.sort_by_key(|(file, diagnostic)| (*file, diagnostic.span.start, diagnostic.span.end));
    let (errors, warnings): (Vec<_>, Vec<_>) = out
        .into_iter()
        .map(|(_, diagnostic)| diagnostic)
        .partition(|diagnostic| diagnostic.severity == Severity::Error);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(finish(draft, warnings, source::digest(shipped.iter().chain(own))))
}

/// Makes the policy, with the values that need all files.
fn finish(draft: document::Draft, warnings: Vec<Diagnostic>, digest: String) -> Policy {
    let document::Draft { tools, mut profiles, denials, data, conflicts, .. } = draft;
    let always = denials.iter().flat_map(|denial| denial.paths.iter().chain(&*denial.except));
    let of_data = data.iter().flat_map(|data| data.paths.iter().chain(&*data.except));
    let always: Vec<_> = always.chain(of_data).collect();
    let tools: BTreeMap<_, _> = tools.into_iter().map(|(name, entry)| (name, entry.item)).collect();
    let paths_of = |tool: &String| {
        let files = tools.get(tool).into_iter().flat_map(|tool| &tool.files);
        files.flat_map(|rule| rule.paths.iter().chain(&*rule.except))
    };
    for entry in profiles.values_mut() {
        let profile = &mut entry.item;
        let held = profile.tools.iter().chain(profile.requests.keys()).flat_map(paths_of);
        let used = held.chain(always.iter().copied()).filter(|path| path.has_variables());
        let set = profile.environment.set.values().flat_map(|value| value.variables());
        let needed = used.flat_map(|path| path.needed_variables()).chain(set);
        profile.variables = needed.map(str::to_owned).collect();
    }
    let mut sensitivities: Vec<_> = data.iter().map(|data| data.sensitivity.clone()).collect();
    sensitivities.sort();
    sensitivities.dedup();
    Policy {
        profiles: profiles.into_iter().map(|(name, entry)| (name, entry.item)).collect(),
        tools,
        denials,
        data,
        conflicts,
        sensitivities,
        warnings,
        digest,
    }
}

#[cfg(test)]
mod tests;
