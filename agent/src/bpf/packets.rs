//! The program that looks at what leaves sessions' sockets: on the control group that all sessions' groups are in.

use std::{fs, io, os::fd::AsFd as _, path::Path};

use aya::{Ebpf, programs::CgroupSkb};

use super::{
    attachment::NEW,
    load::{self, LoadError},
    pins::Pins,
    sys,
};

/// The program's name.
pub(super) const EGRESS: &str = "egress";

/// Has the kernel check the program.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    let program: &mut CgroupSkb = load::program(ebpf, EGRESS)?;
    program.load().map_err(|source| LoadError::Program {
        action: "load",
        program: EGRESS.to_owned(),
        source: Box::new(source),
    })
}

/// Attaches the pinned program to a control group, and pins the link, in the place of an older one. What is sent by
/// sockets that were made in other groups costs nothing more.
///
/// # Errors
/// What the kernel says.
pub fn attach(pins: &Pins, group: &Path) -> io::Result<()> {
    let program = sys::pinned(&pins.programs().join(EGRESS))?;
    let group = fs::File::open(group)?;
    let link = sys::attach_to_group(program.as_fd(), group.as_fd())?;
    let place = pins.root().join(EGRESS);
    let new = pins.root().join(format!("{EGRESS}{NEW}"));
    let _ = fs::remove_file(&new);
    sys::pin(link.as_fd(), &new)?;
    fs::rename(&new, place)
}
