//! Functions that several hook programs share. Each hook program contains a stub of every shared function that it
//! calls. A program of its own has the function's body and replaces the stub in each of them (`freplace`). So the
//! kernel verifies the body once, and not once for each hook.
//!
//! Owns the links that replace the stubs. Each loading pins its links in a folder of its own, so that the programs in
//! force keep theirs until the new programs are attached. A stub that is not replaced refuses.

use std::{collections::BTreeMap, fs, io, os::fd::AsFd, path::Path};

use aya::{
    Ebpf,
    programs::{Extension, ProgramError, ProgramFd},
};
use btf_rs::{Btf, Type};

use super::{
    error::LoadError,
    offsets,
    pins::Pins,
    programs::{self, SHARED, in_parallel},
    sys,
};

/// Whether pinned links replace every stub in the pinned hook programs. `programs` are the names of all programs of the
/// object.
pub(super) fn is_complete(pins: &Pins, hooks: &[String], programs: &[String]) -> bool {
    let pinned = |hook: &str| sys::pinned(&pins.programs().join(hook));
    let targets = hooks.iter().map(|hook| Ok((hook.as_str(), pinned(hook)?)));
    let targets: io::Result<BTreeMap<_, _>> = targets.collect();
    let Ok(stubs) = targets.and_then(|targets| Stubs::find(programs, &targets)) else {
        return false;
    };
    let folder = pins.shared().join(&stubs.folder);
    stubs.functions.iter().all(|(function, stub)| {
        stub.hooks.iter().all(|hook| folder.join(link_name(hook, function)).exists())
    })
}

/// Loads the shared functions, replaces their stubs in the loaded hook programs, and pins the links. Returns the name
/// of the folder with the links.
///
/// # Errors
/// What the kernel refuses; then nothing that is attached has changed.
pub(super) fn replace_stubs(
    ebpf: &mut Ebpf,
    pins: &Pins,
    hooks: &[String],
    programs: &[String],
) -> Result<String, LoadError> {
    let targets = hooks.iter().map(|hook| {
        let target = programs::descriptor(ebpf, hook)?.try_clone().map_err(unpinned(hook))?;
        Ok((hook.as_str(), target))
    });
    let targets: BTreeMap<_, _> = targets.collect::<Result<_, LoadError>>()?;
    let stubs = Stubs::find(programs, &targets).map_err(unpinned("shared functions"))?;
    load(ebpf, &stubs, &targets)?;
    let folder = pins.shared().join(&stubs.folder);
    fs::create_dir_all(&folder).map_err(unpinned(&stubs.folder))?;
    for (function, stub) in &stubs.functions {
        let body = programs::descriptor(ebpf, &format!("{SHARED}{function}"))?;
        for hook in &stub.hooks {
            let Some(target) = targets.get(hook) else { continue };
            let name = link_name(hook, function);
            sys::replace_function(body.as_fd(), target.as_fd(), stub.number)
                .and_then(|link| sys::pin(link.as_fd(), &folder.join(&name)))
                .map_err(unpinned(&name))?;
        }
    }
    Ok(stubs.folder)
}

/// Loads the shared functions. The kernel verifies each against the stub of one hook program: the stubs of a function
/// are all alike.
fn load(ebpf: &mut Ebpf, stubs: &Stubs<'_>, targets: &Targets<'_>) -> Result<(), LoadError> {
    let wanted = ebpf.programs_mut().filter_map(|(name, program)| {
        let function = name.strip_prefix(SHARED)?;
        let target = targets.get(stubs.functions.get(function)?.hooks.first()?)?;
        Some((function, program, target))
    });
    in_parallel(wanted, |(function, program, target)| {
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

/// The error for a link that could not be made or pinned.
fn unpinned(name: &str) -> impl FnOnce(io::Error) -> LoadError {
    move |error| LoadError::Pin { name: name.to_owned(), reason: error.to_string() }
}

/// The name of the link that replaces a function's stub in a hook program.
fn link_name(hook: &str, function: &str) -> String {
    format!("{hook}-{function}")
}

/// Removes the links of all loadings except one.
pub(super) fn keep_only(pins: &Pins, folder: &str) {
    let Ok(folders) = fs::read_dir(pins.shared()) else { return };
    for other in folders.flatten().filter(|other| other.file_name() != folder) {
        if let Err(error) = remove(&other.path()) {
            tracing::warn!("can't remove `{}`: {error}", other.path().display());
        }
    }
}

/// Removes the links of one loading.
///
/// # Errors
/// What could not be removed.
pub(super) fn remove(folder: &Path) -> io::Result<()> {
    for link in fs::read_dir(folder)?.flatten() {
        fs::remove_file(link.path())?;
    }
    fs::remove_dir(folder)
}

/// Loaded hook programs, by hook.
type Targets<'a, D = ProgramFd> = BTreeMap<&'a str, D>;

/// The stubs in the hook programs.
struct Stubs<'a> {
    /// By the function's name.
    functions: BTreeMap<&'a str, Stub<'a>>,
    /// The name of the folder for the links: the id of a program, so that no two loadings share one.
    folder: String,
}

/// The stubs of one function.
struct Stub<'a> {
    /// The function's type number in the programs' type information, which is the same for all.
    number: u32,
    /// The hooks whose programs call it.
    hooks: Vec<&'a str>,
}

impl<'a> Stubs<'a> {
    /// Reads from the kernel which shared functions each loaded hook program contains. `programs` are the names of all
    /// programs of the object.
    fn find(programs: &'a [String], targets: &Targets<'a, impl AsFd>) -> io::Result<Self> {
        let mut stubs = Self { functions: BTreeMap::new(), folder: String::new() };
        for (hook, target) in targets {
            let found = sys::functions(target.as_fd())?;
            if stubs.folder.is_empty() {
                stubs.folder = found.program.to_string();
                let types = Btf::from_bytes(&sys::types(found.types)?).map_err(io::Error::other)?;
                for name in programs.iter().filter_map(|name| name.strip_prefix(SHARED)) {
                    let number =
                        offsets::number(&types, name, |kind| matches!(kind, Type::Func(_)))
                            .ok_or_else(|| io::Error::other(format!("no function `{name}`")))?;
                    stubs.functions.insert(name, Stub { number, hooks: Vec::new() });
                }
            }
            for stub in stubs.functions.values_mut() {
                if found.functions.contains(&stub.number) {
                    stub.hooks.push(hook);
                }
            }
        }
        Ok(stubs)
    }
}
