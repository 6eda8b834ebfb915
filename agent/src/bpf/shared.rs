//! The functions that the programs of the hooks share. Each program has a place for each that it calls, and one program
//! fills all places of a function (`freplace`): so the kernel checks a function's body once, and not once a hook.
//!
//! Owns the links that fill the places. They are pinned in a folder of each loading: what is in force keeps its own
//! until what replaces it is attached. A place that is not filled refuses.

use std::{collections::BTreeMap, fs, io, os::fd::AsFd, path::Path};

use aya::{
    Ebpf,
    programs::{Extension, ProgramError, ProgramFd},
};
use btf_rs::{Btf, Type};

use super::{
    load::{self, LoadError},
    offsets,
    pins::Pins,
    sys,
};

/// Begins the name of a program that fills the places of the function named after it.
const PREFIX: &str = "shared_";

/// Whether a program of the object fills places in others.
pub(super) fn is_shared(program: &str) -> bool {
    program.starts_with(PREFIX)
}

/// Whether all places in the pinned programs of the hooks are filled, by links that are pinned. `programs` are the names
/// of all programs of the object.
pub(super) fn is_complete(pins: &Pins, hooks: &[String], programs: &[String]) -> bool {
    let pinned = |hook: &str| sys::pinned(&pins.programs().join(hook));
    let targets = hooks.iter().map(|hook| Ok((hook.as_str(), pinned(hook)?)));
    let targets: io::Result<BTreeMap<_, _>> = targets.collect();
    let Ok(places) = targets.and_then(|targets| Places::find(programs, &targets)) else {
        return false;
    };
    let folder = pins.shared().join(&places.folder);
    places.functions.iter().all(|(function, place)| {
        place.hooks.iter().all(|hook| folder.join(link_name(hook, function)).exists())
    })
}

/// Has the kernel check the shared functions, fills their places in the loaded programs of the hooks, and pins that.
/// Gives the name of the folder with the pins.
///
/// # Errors
/// What the kernel refuses; then nothing that is attached has changed.
pub(super) fn fill(
    ebpf: &mut Ebpf,
    pins: &Pins,
    hooks: &[String],
    programs: &[String],
) -> Result<String, LoadError> {
    let targets = hooks.iter().map(|hook| {
        let target = load::descriptor(ebpf, hook)?.try_clone().map_err(unpinned(hook))?;
        Ok((hook.as_str(), target))
    });
    let targets: BTreeMap<_, _> = targets.collect::<Result<_, LoadError>>()?;
    let places = Places::find(programs, &targets).map_err(unpinned("shared functions"))?;
    check(ebpf, &places, &targets)?;
    let folder = pins.shared().join(&places.folder);
    fs::create_dir_all(&folder).map_err(unpinned(&places.folder))?;
    for (function, place) in &places.functions {
        let body = load::descriptor(ebpf, &format!("{PREFIX}{function}"))?;
        for hook in &place.hooks {
            let Some(target) = targets.get(hook) else { continue };
            let name = link_name(hook, function);
            sys::fill(body.as_fd(), target.as_fd(), place.number)
                .and_then(|link| sys::pin(link.as_fd(), &folder.join(&name)))
                .map_err(unpinned(&name))?;
        }
    }
    Ok(places.folder)
}

/// Has the kernel check the shared functions, each in the place of one program: all places are alike.
fn check(ebpf: &mut Ebpf, places: &Places<'_>, targets: &Targets<'_>) -> Result<(), LoadError> {
    let wanted = ebpf.programs_mut().filter_map(|(name, program)| {
        let function = name.strip_prefix(PREFIX)?;
        let target = targets.get(places.functions.get(function)?.hooks.first()?)?;
        Some((function, program, target))
    });
    load::side_by_side(wanted, |(function, program, target)| {
        let failed = |source| LoadError::Program {
            action: "load",
            program: function.to_owned(),
            source: Box::new(source),
        };
        let program: &mut Extension = program.try_into().map_err(failed)?;
        let target = target.try_clone().map_err(|error| failed(ProgramError::IOError(error)))?;
        program.load(target, function).map_err(failed)
    })
}

/// The error of what could not be pinned.
fn unpinned(name: &str) -> impl FnOnce(io::Error) -> LoadError {
    move |error| LoadError::Pin { name: name.to_owned(), reason: error.to_string() }
}

/// The name of the link that fills a function's place in a hook's program.
fn link_name(hook: &str, function: &str) -> String {
    format!("{hook}-{function}")
}

/// Removes the pins of all loadings but one.
pub(super) fn keep_only(pins: &Pins, folder: &str) {
    let Ok(folders) = fs::read_dir(pins.shared()) else { return };
    for other in folders.flatten().filter(|other| other.file_name() != folder) {
        if let Err(error) = remove(&other.path()) {
            tracing::warn!("can't remove `{}`: {error}", other.path().display());
        }
    }
}

/// Removes one loading's pins.
///
/// # Errors
/// What could not be removed.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    for link in fs::read_dir(folder)?.flatten() {
        fs::remove_file(link.path())?;
    }
    fs::remove_dir(folder)
}

/// The loaded programs, by their hooks.
type Targets<'a, D = ProgramFd> = BTreeMap<&'a str, D>;

/// Where the shared functions have places.
struct Places<'a> {
    /// By the function's name.
    functions: BTreeMap<&'a str, Place<'a>>,
    /// The name of the folder for the pins: the number of a program, so no two loadings have the same.
    folder: String,
}

/// Where one function has places.
struct Place<'a> {
    /// The function's number in the type information of the programs.
    number: u32,
    /// The hooks whose programs call it.
    hooks: Vec<&'a str>,
}

impl<'a> Places<'a> {
    /// By what the kernel says of the loaded programs, which all have the same type information; of the shared ones among
    /// all programs of the object.
    fn find(programs: &'a [String], targets: &Targets<'a, impl AsFd>) -> io::Result<Self> {
        let mut places = Self { functions: BTreeMap::new(), folder: String::new() };
        for (hook, target) in targets {
            let found = sys::functions(target.as_fd())?;
            if places.folder.is_empty() {
                places.folder = found.program.to_string();
                let types = Btf::from_bytes(&sys::types(found.types)?).map_err(io::Error::other)?;
                for name in programs.iter().filter_map(|name| name.strip_prefix(PREFIX)) {
                    let number =
                        offsets::number(&types, name, |kind| matches!(kind, Type::Func(_)))
                            .ok_or_else(|| io::Error::other(format!("no function `{name}`")))?;
                    places.functions.insert(name, Place { number, hooks: Vec::new() });
                }
            }
            for place in places.functions.values_mut() {
                if found.functions.contains(&place.number) {
                    place.hooks.push(hook);
                }
            }
        }
        Ok(places)
    }
}
