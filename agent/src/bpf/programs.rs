//! The programs of the embedded object: which there are, by name, and how to get at them once aya has the object.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{
    Ebpf,
    programs::{Program, ProgramError, ProgramFd},
};

use super::{
    error::LoadError,
    offsets::KernelTypes,
    pins::{self, Pins},
};

/// The object, as `cargo xtask build` made it; empty in a build without it.
pub(super) static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/remit-ebpf.o"));

/// The program that is run once, to check the offsets, and never attached.
pub(super) const PROBE: &str = "probe";
/// The iterator over all processes, on kernels where the daemon can't read a task's tag itself.
pub(super) const PROCESSES: &str = "processes";
/// The iterator over the open files of a process.
pub(super) const GIVEN: &str = "given";
/// The iterator over the TCP connections of a network namespace; not on every kernel.
pub(super) const CONNECTIONS: &str = "connections";
/// The iterator over all tasks, which writes those with a tag.
pub(super) const TASKS: &str = "tasks";
/// The program on the packets that sessions' sockets send.
pub(super) const EGRESS: &str = "egress";
/// The programs that are attached to no hook.
const NOT_HOOKS: [&str; 6] = [PROBE, PROCESSES, GIVEN, CONNECTIONS, EGRESS, TASKS];

/// The beginning of the name of a program that replaces the shared function named after it.
pub(super) const SHARED: &str = "shared_";

/// Hooks that not every kernel has. A kernel without one calls another hook of ours for the same operation.
const NEWER_HOOKS: &[&str] = &[
    "file_ioctl_compat",
    "file_truncate",
    "inode_file_setattr",
    "inode_remove_acl",
    "inode_set_acl",
];

/// The names of all programs of the object, in alphabetical order.
pub(super) fn names() -> Result<Vec<String>, LoadError> {
    if OBJECT.is_empty() {
        return Err(LoadError::NoObject);
    }
    let object = aya_obj::Object::parse(OBJECT)
        .map_err(|error| LoadError::Object(Box::new(error.into())))?;
    let mut names: Vec<String> = object.programs.keys().cloned().collect();
    names.sort();
    Ok(names)
}

/// The hooks that the object has programs for and that the running kernel has, in alphabetical order.
///
/// # Errors
/// The object can't be read.
pub(super) fn hooks(kernel: &KernelTypes) -> Result<Vec<String>, LoadError> {
    hooks_among(&names()?, kernel)
}

/// As [`hooks`], from the names of all programs of the object.
pub(super) fn hooks_among(
    programs: &[String],
    kernel: &KernelTypes,
) -> Result<Vec<String>, LoadError> {
    let exists = |hook: &str| !NEWER_HOOKS.contains(&hook) || kernel.has_hook(hook);
    let hooks = programs.iter().filter(|name| is_hook(name) && exists(name));
    let hooks: Vec<String> = hooks.cloned().collect();
    #[cfg(feature = "hole")]
    let hooks = super::hole::leave_out(hooks)?;
    Ok(hooks)
}

/// Whether a program of the object is attached to a hook, whose name it then bears.
fn is_hook(program: &str) -> bool {
    !NOT_HOOKS.contains(&program) && !program.starts_with(SHARED)
}

/// The hooks whose programs are pinned.
pub(super) fn pinned_hooks(pins: &Pins) -> Vec<String> {
    let mut names = pins::names(&pins.programs());
    names.retain(|name| is_hook(name));
    names
}

/// A program of the object, by name and type.
pub(super) fn find<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, LoadError>
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

/// The descriptor of a loaded program.
pub(super) fn descriptor<'a>(ebpf: &'a Ebpf, name: &str) -> Result<&'a ProgramFd, LoadError> {
    let failed = |reason: String| LoadError::Pin { name: name.to_owned(), reason };
    let program = ebpf.program(name).ok_or_else(|| failed("it is missing".to_owned()))?;
    program.fd().map_err(|error| failed(error.to_string()))
}

/// Runs one function on every item, in as many threads as there are processors.
pub(super) fn in_parallel<T>(
    items: impl Iterator<Item = T> + Send,
    each: impl Fn(T) -> Result<(), LoadError> + Sync,
) -> Result<(), LoadError> {
    let waiting = Mutex::new(items);
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some(item) = next() {
            each(item)?;
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
