//! The programs that iterate over processes, open files, connections or tasks. They are pinned, and run when the daemon
//! asks for it.

use std::{fs, io, os::fd::AsFd as _};

use aya::{
    Btf, Ebpf,
    programs::{Iter, links::FdLink},
};

use super::{
    error::LoadError,
    patch::Functions,
    pins::Pins,
    programs::{self, CONNECTIONS, GIVEN, PROCESSES, TASKS},
    sys,
};

/// The iterators that are run when they are needed, each with the kind of object that it iterates over.
pub(super) fn on_demand(functions: Functions) -> Vec<(&'static str, &'static str)> {
    let mut iterators = vec![(GIVEN, "task_file"), (TASKS, "task")];
    iterators.extend(functions.reset.map(|_| (CONNECTIONS, "tcp")));
    iterators
}

/// Loads iterators, and the kernel verifies them.
pub(super) fn load(
    ebpf: &mut Ebpf,
    iterators: &[(&'static str, &str)],
    btf: &Btf,
) -> Result<(), LoadError> {
    for (name, kind) in iterators {
        let program: &mut Iter = programs::find(ebpf, name)?;
        program.load(kind, btf).map_err(|source| LoadError::Program {
            action: "load",
            program: (*name).to_owned(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// Loads the iterator over all processes and pins it as a file that runs it when it is read, in place of an older one.
pub(super) fn pin_processes(ebpf: &mut Ebpf, pins: &Pins, btf: &Btf) -> Result<(), LoadError> {
    let failed = |action| {
        move |source| LoadError::Program {
            action,
            program: PROCESSES.to_owned(),
            source: Box::new(source),
        }
    };
    let program: &mut Iter = programs::find(ebpf, PROCESSES)?;
    program.load("task", btf).map_err(failed("load"))?;
    let id = program.attach().map_err(failed("attach"))?;
    let link = program.take_link(id).map_err(failed("attach"))?;
    let pin_failed = |reason: String| LoadError::Pin { name: PROCESSES.to_owned(), reason };
    let link = FdLink::try_from(link).map_err(|error| pin_failed(error.to_string()))?;
    let place = pins.processes();
    let _ = fs::remove_file(&place);
    link.pin(&place).map(drop).map_err(|error| pin_failed(error.to_string()))
}

/// Has the kernel record the open files of a process that its session is given.
///
/// # Errors
/// What the kernel says.
pub(super) fn record_given(pins: &Pins, process: u32) -> io::Result<()> {
    let program = sys::pinned(&pins.programs().join(GIVEN))?;
    sys::iterate_files(program.as_fd(), process)
}

/// The records of all tagged tasks, as the kernel writes them.
///
/// # Errors
/// What the kernel says.
pub(super) fn read_tasks(pins: &Pins) -> io::Result<Vec<u8>> {
    sys::iterate_tasks(sys::pinned(&pins.programs().join(TASKS))?.as_fd())
}

/// Has the kernel reset the connections that sessions may not use any more, where it can.
///
/// # Errors
/// What the kernel says.
pub(super) fn reset_connections(pins: &Pins) -> io::Result<()> {
    let place = pins.programs().join(CONNECTIONS);
    if place.exists() { sys::iterate_connections(sys::pinned(&place)?.as_fd()) } else { Ok(()) }
}
