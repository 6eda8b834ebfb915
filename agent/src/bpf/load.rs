//! Loading and pinning the programs, or taking over those that are pinned already.
//!
//! Everything is pinned in `PIN_DIR/v1/{maps,programs,shared,links}`. A start that finds the programs of the same
//! object takes them over. Programs of another object are replaced; where they are attached, link by link, so that no
//! operation goes undecided. The maps stay.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    path::Path,
};

use agent_common::offsets::Offsets;
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, Map},
    programs::{Lsm, Program, RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    attachment,
    error::LoadError,
    host, iterators,
    offsets::KernelTypes,
    packets,
    patch::{self, Functions},
    pins::{self, Pins},
    programs::{self, EGRESS, OBJECT, PROBE, in_parallel},
    shared, sys, tables,
};

/// What a start found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Start {
    /// Nothing was pinned: everything is new, and no session is live.
    Fresh,
    /// The same programs were pinned, and stay in force.
    Adopted,
    /// Programs of another object were pinned, and were replaced; the maps stay.
    Replaced,
}

/// Identifies a loading: a hash of the object and of the offsets that were written into it. Kept beside the sessions'
/// state, since the pins can hold no text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Fingerprint(pub String);

/// Loads and pins the programs, or takes over the pinned ones. `known` is the fingerprint that the last start kept.
///
/// # Errors
/// Something is missing or refused; then nothing new is attached.
pub fn start(pins: &Pins, known: Option<&Fingerprint>) -> Result<(Start, Fingerprint), LoadError> {
    if OBJECT.is_empty() {
        return Err(LoadError::NoObject);
    }
    let modules = host::security_modules();
    if !host::has_bpf(&modules) {
        return Err(LoadError::NoBpfLsm(modules));
    }
    let kernel = KernelTypes::read()?;
    let offsets = kernel.offsets()?;
    pins.prepare()?;
    let mut hash = Sha256::new();
    hash.update(OBJECT);
    hash.update(format!("{offsets:?}"));
    let fingerprint = Fingerprint(format!("{:x}", hash.finalize()));
    let object = programs::names()?;
    let hooks = programs::hooks_among(&object, &kernel)?;
    let attached = pins::names(&pins.links());
    let pinned = pins::names(&pins.programs());
    let functions = kernel.functions();
    let iterators = iterators::on_demand(functions);
    let not_hooks = || iterators.iter().map(|(name, _)| *name).chain([EGRESS]);
    let wanted = || hooks.iter().map(String::as_str).chain(not_hooks());
    let is_pinned = |name: &str| pinned.iter().any(|pinned| pinned == name);
    if known == Some(&fingerprint)
        && wanted().all(is_pinned)
        && shared::is_complete(pins, &hooks, &object)
    {
        return Ok((Start::Adopted, fingerprint));
    }
    tables::pin_outer(&pins.maps())?;
    let mut ebpf = load(pins, &offsets, functions)?;
    probe(&mut ebpf)?;
    let btf = Btf::from_sys_fs().map_err(|error| LoadError::Object(Box::new(error.into())))?;
    load_programs(&mut ebpf, &hooks, &btf)?;
    if offsets.storage_is_lost != 0 {
        iterators::pin_processes(&mut ebpf, pins, &btf)?;
    }
    iterators::load(&mut ebpf, &iterators, &btf)?;
    packets::load(&mut ebpf)?;
    let links = shared::replace_stubs(&mut ebpf, pins, &hooks, &object)?;
    for name in wanted() {
        pin_program(&ebpf, pins, name)?;
    }
    // Hooks that were attached stay attached. The old programs decided until here; the new ones read the same maps,
    // which this start did not change.
    for hook in hooks.iter().filter(|hook| attached.contains(hook)) {
        attachment::attach(pins, hook)
            .map_err(|error| LoadError::Pin { name: hook.clone(), reason: error.to_string() })?;
    }
    for stale in attached.iter().filter(|name| !hooks.contains(name)) {
        let _ = fs::remove_file(pins.links().join(stale));
    }
    for stale in pinned.iter().filter(|name| wanted().all(|wanted| wanted != name.as_str())) {
        let _ = fs::remove_file(pins.programs().join(stale));
    }
    shared::keep_only(pins, &links);
    let start = if pinned.is_empty() { Start::Fresh } else { Start::Replaced };
    Ok((start, fingerprint))
}

/// Gives the object to aya, adapted to the running kernel. Maps that are pinned are used, the others made.
fn load(pins: &Pins, offsets: &Offsets, functions: Functions) -> Result<Ebpf, LoadError> {
    // A fresh vector is aligned as the ELF reader needs it.
    let mut bytes = OBJECT.to_vec();
    patch::object(&mut bytes, offsets, functions).map_err(LoadError::Patch)?;
    let object = aya_obj::Object::parse(&bytes)
        .map_err(|error| LoadError::Object(Box::new(error.into())))?;
    let mut loader = EbpfLoader::new();
    loader.allow_unsupported_maps();
    // Maps that are a section of the object are always made; `keep_section` below deals with the pinned ones.
    for name in object.maps.keys().filter(|name| !name.starts_with(SECTION)) {
        loader.map_pin_path(name, pins.maps().join(name));
    }
    let ebpf = loader.load(&bytes).map_err(|error| LoadError::Object(Box::new(error)))?;
    for (name, map) in ebpf.maps() {
        let Some(name) = name.strip_prefix(SECTION) else { continue };
        let failed = |reason: String| LoadError::Pin { name: name.to_owned(), reason };
        let Map::Array(made) = map else { return Err(failed("it is no array".to_owned())) };
        keep_section(&pins.maps().join(name.to_uppercase()), made.fd().as_fd())
            .map_err(|error| failed(error.to_string()))?;
    }
    Ok(ebpf)
}

/// The beginning of the name of a map that is a section of the object.
const SECTION: &str = ".bss.";

/// Pins a map that the loader made of a section, or makes the programs use the one that is pinned. The loader writes
/// zeroes into such a map, and would do so into a pinned one, by which programs in force decide (the generation of the
/// policy, the owners of sockets). So it gets a map of its own to write to, and afterwards the number of that map's
/// descriptor, which the programs refer to when they are loaded, is made the pinned map's.
fn keep_section(pin: &Path, made: BorrowedFd<'_>) -> io::Result<()> {
    if !pin.exists() {
        return sys::pin(made, pin);
    }
    let kept = sys::pinned(pin)?;
    // SAFETY: both descriptors are open, and the loader needs its map for nothing but programs that refer to it.
    match unsafe { libc::dup3(kept.as_raw_fd(), made.as_raw_fd(), libc::O_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Runs the probe program in this process, and compares what it read through the offsets with the truth.
fn probe(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    let failed = |action, source| LoadError::Program {
        action,
        program: PROBE.to_owned(),
        source: Box::new(source),
    };
    let program: &mut RawTracePoint = programs::find(ebpf, PROBE)?;
    program.load().map_err(|error| failed("load", error))?;
    program.test_run(RawTracePointRunOptions::new()).map_err(|error| failed("run", error))?;
    let map = ebpf.map("HOST_ROOT").ok_or(LoadError::Probe)?;
    let seen: Array<_, u64> = map.try_into().map_err(|_| LoadError::Probe)?;
    match seen.get(&1, 0) {
        Ok(process) if process == u64::from(std::process::id()) => Ok(()),
        _ => Err(LoadError::Probe),
    }
}

/// Loads the programs of the hooks, all before the first is attached. In parallel: their verification by the kernel is
/// nearly all of the time that a start takes.
fn load_programs(ebpf: &mut Ebpf, hooks: &[String], btf: &Btf) -> Result<(), LoadError> {
    for hook in hooks {
        let _: &mut Lsm = programs::find(ebpf, hook)?;
    }
    let wanted = ebpf.programs_mut().filter(|(name, _)| hooks.iter().any(|hook| hook == name));
    in_parallel(wanted, |(hook, program)| load_program(hook, program, btf))
}

/// Loads a hook's program.
fn load_program(hook: &str, program: &mut Program, btf: &Btf) -> Result<(), LoadError> {
    let failed = |source| LoadError::Program {
        action: "load",
        program: hook.to_owned(),
        source: Box::new(source),
    };
    let program: &mut Lsm = program.try_into().map_err(failed)?;
    program.load(hook, btf).map_err(failed)?;
    let cost = program.info().ok().and_then(|info| info.verified_instruction_count());
    tracing::debug!(hook, ?cost, "loaded");
    Ok(())
}

/// Pins a loaded program, in place of an older one.
fn pin_program(ebpf: &Ebpf, pins: &Pins, name: &str) -> Result<(), LoadError> {
    let failed = |reason: String| LoadError::Pin { name: name.to_owned(), reason };
    let program = programs::descriptor(ebpf, name)?;
    pins::replace(program.as_fd(), &pins.programs(), name)
        .map_err(|error| failed(error.to_string()))
}

/// How often the kernel skipped a program of a hook because the same program was running on that processor already. The
/// operation passed undecided.
///
/// # Errors
/// What the kernel says.
pub fn skipped(pin_dir: &Path) -> io::Result<u64> {
    let pins = Pins::new(pin_dir);
    let misses = |hook: String| sys::misses(sys::pinned(&pins.programs().join(hook))?.as_fd());
    programs::pinned_hooks(&pins).into_iter().map(misses).sum()
}

/// Removes everything from the host: links first, then maps.
///
/// # Errors
/// What could not be removed.
pub fn teardown(pin_dir: &Path) -> Result<(), LoadError> {
    let pins = Pins::new(pin_dir);
    for folder in [pins.links(), pins.shared(), pins.programs(), pins.maps(), pins.root()] {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(LoadError::Pins { path: folder, source }),
        };
        for path in entries.flatten().map(|entry| entry.path()) {
            let removed =
                if path.is_dir() { shared::remove(&path) } else { fs::remove_file(&path) };
            removed.map_err(|source| LoadError::Pins { path, source })?;
        }
        fs::remove_dir(&folder).map_err(|source| LoadError::Pins { path: folder, source })?;
    }
    Ok(())
}
