//! Loading and pinning, or taking over what is pinned already.
//!
//! Everything lives in `PIN_DIR/v1/{maps,programs,shared,links}`. A start that finds the programs of the very same object
//! takes them over as they are. Another object's are replaced, and where they are attached their links one by one,
//! so that no operation passes unseen; the maps stay.

use std::{
    fs, io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
};

use agent_common::offsets::Offsets;
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Array, Map},
    programs::{
        Iter, Lsm, Program, ProgramError, ProgramFd, RawTracePoint, RawTracePointRunOptions,
        TestRun as _, links::FdLink,
    },
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    attachment::{self, NEW},
    offsets::{KernelTypes, OffsetsError},
    packets::{self, EGRESS},
    patch::{self, Functions},
    pins::Pins,
    shared, sys,
};

/// The object, as `cargo xtask build` made it; empty in a build without it.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/remit-ebpf.o"));

/// The program that is run once and never attached.
const PROBE: &str = "probe";
/// The program that goes over all processes where it is read.
const PROCESSES: &str = "processes";
/// The program that goes over the open files of a process.
const GIVEN: &str = "given";
/// The program that goes over the TCP connections of a network namespace; not on every kernel.
const CONNECTIONS: &str = "connections";
/// The program that tells of all tagged tasks.
const TASKS: &str = "tasks";
/// The programs that no hook runs.
const OTHERS: [&str; 6] = [PROBE, PROCESSES, GIVEN, CONNECTIONS, EGRESS, TASKS];

/// Why the programs are not in force.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The binary was built without the object.
    #[error("this build has no kernel programs in it\nhelp: build it with `cargo xtask build`")]
    NoObject,
    /// The kernel lacks something that the programs read.
    #[error(transparent)]
    Offsets(#[from] OffsetsError),
    /// The object is not the one that this build knows.
    #[error("can't adapt the kernel programs to this kernel: {0}")]
    Patch(String),
    /// The kernel has no BPF LSM in force.
    #[error(
        "this kernel does not run BPF programs as a security module: `bpf` is not in \
         `/sys/kernel/security/lsm` ({0})\n\
         help: add `bpf` to the list of the kernel's boot option `lsm=`, or boot a kernel with \
         CONFIG_BPF_LSM"
    )]
    NoBpfLsm(String),
    /// The pin directory can't be used.
    #[error("can't use the pin directory `{}`: {source}", path.display())]
    Pins {
        /// The directory, or a pin in it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The object could not be read or its maps could not be made.
    #[error("can't load the kernel programs: {0}")]
    Object(#[source] Box<aya::EbpfError>),
    /// A program was refused.
    #[error("can't {action} the kernel program `{program}`: {source}")]
    Program {
        /// What was tried.
        action: &'static str,
        /// The program: its hook's name.
        program: String,
        /// Why.
        #[source]
        source: Box<ProgramError>,
    },
    /// A link or map could not be pinned.
    #[error("can't pin `{name}`: {reason}")]
    Pin {
        /// What.
        name: String,
        /// Why.
        reason: String,
    },
    /// A hook is to be left out that the object does not have.
    #[cfg(feature = "hole")]
    #[error("no hook `{0}` that could be left out")]
    NoSuchHook(String),
    /// The probe read another task than the one that ran it.
    #[error("the kernel's structures are not where its type information says")]
    Probe,
}

/// What a start found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Start {
    /// Nothing was pinned: everything was loaded anew, and no session is live.
    Fresh,
    /// The same programs were in force and stay.
    Adopted,
    /// Other programs were in force and were replaced; the maps stay.
    Replaced,
}

/// What tells one loading from another: the object and what it was told of the kernel. Kept beside the
/// sessions' state, since the pins can hold no text.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Fingerprint(pub String);

/// The names of the hooks that the object attaches to, in the order of its programs.
///
/// # Errors
/// When the object can't be read.
pub(super) fn hooks(kernel: &KernelTypes) -> Result<Vec<String>, LoadError> {
    hooks_of(&object_programs()?, kernel)
}

/// As [`hooks`], by the names of all programs of the object.
fn hooks_of(programs: &[String], kernel: &KernelTypes) -> Result<Vec<String>, LoadError> {
    let there = |hook: &str| !YOUNG.contains(&hook) || kernel.has_hook(hook);
    let hooks = programs.iter().filter(|name| is_hook(name) && there(name));
    let hooks: Vec<String> = hooks.cloned().collect();
    #[cfg(feature = "hole")]
    let hooks = super::hole::leave_out(hooks)?;
    Ok(hooks)
}

/// Whether a program of the object is one that a hook runs.
fn is_hook(program: &str) -> bool {
    !OTHERS.contains(&program) && !shared::is_shared(program)
}

/// Hooks that not every kernel has; one without asks another hook of ours for the same.
const YOUNG: &[&str] = &[
    "file_ioctl_compat",
    "file_truncate",
    "inode_file_setattr",
    "inode_remove_acl",
    "inode_set_acl",
];

/// The names of all programs of the object, in their order.
fn object_programs() -> Result<Vec<String>, LoadError> {
    if OBJECT.is_empty() {
        return Err(LoadError::NoObject);
    }
    let object = aya_obj::Object::parse(OBJECT)
        .map_err(|error| LoadError::Object(Box::new(error.into())))?;
    let mut names: Vec<String> = object.programs.keys().cloned().collect();
    names.sort();
    Ok(names)
}

/// Puts the programs in force, or takes over those that are. `known` is the fingerprint that the last
/// start kept.
///
/// # Errors
/// What is missing; then nothing new is attached.
pub fn start(pins: &Pins, known: Option<&Fingerprint>) -> Result<(Start, Fingerprint), LoadError> {
    if OBJECT.is_empty() {
        return Err(LoadError::NoObject);
    }
    let modules = super::doctor::security_modules();
    if !modules.split(',').any(|module| module == "bpf") {
        return Err(LoadError::NoBpfLsm(modules));
    }
    let kernel = KernelTypes::read()?;
    let offsets = kernel.offsets()?;
    pins.prepare()?;
    let mut hash = Sha256::new();
    hash.update(OBJECT);
    hash.update(format!("{offsets:?}"));
    let fingerprint = Fingerprint(format!("{:x}", hash.finalize()));
    let object = object_programs()?;
    let hooks = hooks_of(&object, &kernel)?;
    let pinned = names(&pins.links());
    let programs = names(&pins.programs());
    let functions = kernel.functions();
    let iterators = iterators(functions);
    let others = || iterators.iter().map(|(name, _)| *name).chain([EGRESS]);
    let wanted = || hooks.iter().map(String::as_str).chain(others());
    let is_pinned = |name: &str| programs.iter().any(|pinned| pinned == name);
    if known == Some(&fingerprint)
        && wanted().all(is_pinned)
        && shared::is_complete(pins, &hooks, &object)
    {
        return Ok((Start::Adopted, fingerprint));
    }
    super::generation::pin_tables(&pins.maps())?;
    let mut ebpf = load(pins, &offsets, functions)?;
    probe(&mut ebpf)?;
    let btf = Btf::from_sys_fs().map_err(|error| LoadError::Object(Box::new(error.into())))?;
    load_programs(&mut ebpf, &hooks, &btf)?;
    if offsets.storage_is_lost != 0 {
        pin_processes(&mut ebpf, pins, &btf)?;
    }
    load_iterators(&mut ebpf, &iterators, &btf)?;
    packets::load(&mut ebpf)?;
    let filled = shared::fill(&mut ebpf, pins, &hooks, &object)?;
    for name in wanted() {
        pin_program(&ebpf, pins, name)?;
    }
    // What was attached stays so: until here the old programs decided, by tables and sessions that nobody touched, and
    // the new ones go by the same.
    for hook in hooks.iter().filter(|hook| pinned.contains(hook)) {
        attachment::attach(pins, hook)
            .map_err(|error| LoadError::Pin { name: hook.clone(), reason: error.to_string() })?;
    }
    for stale in pinned.iter().filter(|name| !hooks.contains(name)) {
        let _ = fs::remove_file(pins.links().join(stale));
    }
    for stale in programs.iter().filter(|name| wanted().all(|wanted| wanted != name.as_str())) {
        let _ = fs::remove_file(pins.programs().join(stale));
    }
    shared::keep_only(pins, &filled);
    let start = if programs.is_empty() { Start::Fresh } else { Start::Replaced };
    Ok((start, fingerprint))
}

/// The names of what is pinned in a folder.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.ends_with(NEW))
        .collect()
}

/// Makes the maps, or takes the pinned ones, and prepares the programs.
fn load(pins: &Pins, offsets: &Offsets, functions: Functions) -> Result<Ebpf, LoadError> {
    // What the allocator gives is aligned for the ELF reader.
    let mut bytes = OBJECT.to_vec();
    patch::object(&mut bytes, offsets, functions).map_err(LoadError::Patch)?;
    let object = aya_obj::Object::parse(&bytes)
        .map_err(|error| LoadError::Object(Box::new(error.into())))?;
    let mut loader = EbpfLoader::new();
    loader.allow_unsupported_maps();
    // Those that are a section of their own are made anew, and put in their places below.
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

/// Begins the name of a map that is a section of its own.
const SECTION: &str = ".bss.";

/// Pins a map that the loader made of a section, or has the pinned one take its place. The loader writes zeroes into
/// such a map, also into one that was pinned before, and programs that are in force go by what is there: the generation
/// of the policy, what each socket is used for. So it gets one of its own to write to, and what the programs refer to
/// when they are loaded, the number of the descriptor, becomes the pinned one's.
fn keep_section(pin: &Path, made: BorrowedFd<'_>) -> io::Result<()> {
    if !pin.exists() {
        return sys::pin(made, pin);
    }
    let kept = sys::pinned(pin)?;
    // SAFETY: both descriptors are open, and the loader has no other use for its map than to have programs refer to it.
    match unsafe { libc::dup3(kept.as_raw_fd(), made.as_raw_fd(), libc::O_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Runs the probe in this process.
fn probe(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    let failed = |action, source| LoadError::Program {
        action,
        program: PROBE.to_owned(),
        source: Box::new(source),
    };
    let program: &mut RawTracePoint = program(ebpf, PROBE)?;
    program.load().map_err(|error| failed("load", error))?;
    program.test_run(RawTracePointRunOptions::new()).map_err(|error| failed("run", error))?;
    let map = ebpf.map("HOST_ROOT").ok_or(LoadError::Probe)?;
    let seen: Array<_, u64> = map.try_into().map_err(|_| LoadError::Probe)?;
    match seen.get(&1, 0) {
        Ok(process) if process == u64::from(std::process::id()) => Ok(()),
        _ => Err(LoadError::Probe),
    }
}

/// Pins the program that goes over all processes, in the place of an older one.
fn pin_processes(ebpf: &mut Ebpf, pins: &Pins, btf: &Btf) -> Result<(), LoadError> {
    let failed = |action| {
        move |source| LoadError::Program {
            action,
            program: PROCESSES.to_owned(),
            source: Box::new(source),
        }
    };
    let program: &mut Iter = program(ebpf, PROCESSES)?;
    program.load("task", btf).map_err(failed("load"))?;
    let id = program.attach().map_err(failed("attach"))?;
    let link = program.take_link(id).map_err(failed("attach"))?;
    let pin_failed = |reason: String| LoadError::Pin { name: PROCESSES.to_owned(), reason };
    let link = FdLink::try_from(link).map_err(|error| pin_failed(error.to_string()))?;
    let place = pins.processes();
    let _ = fs::remove_file(&place);
    link.pin(&place).map(drop).map_err(|error| pin_failed(error.to_string()))
}

/// A program of the object, by name and type.
pub(super) fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, LoadError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    let found = ebpf.program_mut(name).ok_or_else(|| LoadError::Pin {
        name: name.to_owned(),
        reason: "the object has no such program".to_owned(),
    })?;
    found.try_into().map_err(|source| LoadError::Program {
        action: "find",
        program: name.to_owned(),
        source: Box::new(source),
    })
}

/// Has the kernel check every program, before the first is attached. As many at once as there are processors:
/// checking them is nearly all that a start takes.
fn load_programs(ebpf: &mut Ebpf, hooks: &[String], btf: &Btf) -> Result<(), LoadError> {
    for hook in hooks {
        let _: &mut Lsm = program(ebpf, hook)?;
    }
    let wanted = ebpf.programs_mut().filter(|(name, _)| hooks.iter().any(|hook| hook == name));
    side_by_side(wanted, |(hook, program)| load_program(hook, program, btf))
}

/// Does something with each, as many at once as there are processors.
pub(super) fn side_by_side<T>(
    all: impl Iterator<Item = T> + Send,
    each: impl Fn(T) -> Result<(), LoadError> + Sync,
) -> Result<(), LoadError> {
    let waiting = Mutex::new(all);
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(one) = next() {
            each(one)?;
        }
        Ok(())
    };
    let processors = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

/// Has the kernel check a hook's program.
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

/// The programs that are run when they are needed, each with what it goes over.
fn iterators(functions: Functions) -> Vec<(&'static str, &'static str)> {
    let mut iterators = vec![(GIVEN, "task_file"), (TASKS, "task")];
    iterators.extend(functions.reset.map(|_| (CONNECTIONS, "tcp")));
    iterators
}

/// Has the kernel check the programs that are run when they are needed.
fn load_iterators(
    ebpf: &mut Ebpf,
    iterators: &[(&'static str, &str)],
    btf: &Btf,
) -> Result<(), LoadError> {
    for (name, kind) in iterators {
        let program: &mut Iter = program(ebpf, name)?;
        program.load(kind, btf).map_err(|source| LoadError::Program {
            action: "load",
            program: (*name).to_owned(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// Pins a loaded program, in the place of an older one.
fn pin_program(ebpf: &Ebpf, pins: &Pins, name: &str) -> Result<(), LoadError> {
    let failed = |reason: String| LoadError::Pin { name: name.to_owned(), reason };
    let program = descriptor(ebpf, name)?;
    let new = pins.programs().join(format!("{name}{NEW}"));
    let _ = fs::remove_file(&new);
    sys::pin(program.as_fd(), &new).map_err(|error| failed(error.to_string()))?;
    fs::rename(&new, pins.programs().join(name)).map_err(|error| failed(error.to_string()))
}

/// The descriptor of a loaded program.
pub(super) fn descriptor<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a ProgramFd, LoadError> {
    let failed = |reason: String| LoadError::Pin { name: name.to_owned(), reason };
    let program = ebpf.program(name).ok_or_else(|| failed("it is missing".to_owned()))?;
    program.fd().map_err(|error| failed(error.to_string()))
}

/// The hooks whose programs are pinned.
pub(super) fn pinned_hooks(pins: &Pins) -> Vec<String> {
    let mut names = names(&pins.programs());
    names.retain(|name| is_hook(name));
    names
}

/// How often the kernel left out a program that is in force, because it was running on the same processor already: what
/// it should have decided then was let pass.
///
/// # Errors
/// What the kernel says.
pub fn skipped(pin_dir: &Path) -> io::Result<u64> {
    let pins = Pins::new(pin_dir);
    let misses = |hook: String| sys::misses(sys::pinned(&pins.programs().join(hook))?.as_fd());
    pinned_hooks(&pins).into_iter().map(misses).sum()
}

/// Runs the program that writes down what a session is given.
///
/// # Errors
/// What the kernel says.
pub(super) fn go_over_files(pins: &Pins, process: u32) -> io::Result<()> {
    let program = sys::pinned(&pins.programs().join(GIVEN))?;
    sys::go_over_files(program.as_fd(), process)
}

/// Runs the program that tells of all tagged tasks, and gives what it wrote.
///
/// # Errors
/// What the kernel says.
pub(super) fn go_over_tasks(pins: &Pins) -> io::Result<Vec<u8>> {
    sys::go_over_tasks(sys::pinned(&pins.programs().join(TASKS))?.as_fd())
}

/// Runs the program that resets lost connections, where this kernel has it.
///
/// # Errors
/// What the kernel says.
pub(super) fn go_over_connections(pins: &Pins) -> io::Result<()> {
    let place = pins.programs().join(CONNECTIONS);
    if place.exists() { sys::go_over_connections(sys::pinned(&place)?.as_fd()) } else { Ok(()) }
}

/// Takes everything off the host: links first, then maps.
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
