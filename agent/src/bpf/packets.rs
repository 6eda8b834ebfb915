//! The program on the packets that sessions' sockets send. It is attached to the control group that all sessions'
//! groups are in.

use std::{fs, io, os::fd::AsFd as _, path::Path};

use aya::{Ebpf, programs::CgroupSkb};

use super::{
    error::LoadError,
    pins::{self, Pins},
    programs::{self, EGRESS},
    sys,
};

/// Loads the program, and the kernel verifies it.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    let program: &mut CgroupSkb = programs::find(ebpf, EGRESS)?;
    program.load().map_err(|source| LoadError::Program {
        action: "load",
        program: EGRESS.to_owned(),
        source: Box::new(source),
    })
}

/// Attaches the pinned program to a control group, and pins the link in place of an older one. Packets of sockets that
/// were made in other groups cost nothing more.
///
/// # Errors
/// What the kernel says.
pub fn attach(pins: &Pins, group: &Path) -> io::Result<()> {
    let program = sys::pinned(&pins.programs().join(EGRESS))?;
    let group = fs::File::open(group)?;
    let link = sys::attach_to_group(program.as_fd(), group.as_fd())?;
    pins::replace(link.as_fd(), &pins.root(), EGRESS)
}
