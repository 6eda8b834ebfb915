//! A hook without its program, for a while: its pinned link is taken away, and made anew.

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use crate::layout;

/// Commands (`enum bpf_cmd`, include/uapi/linux/bpf.h).
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;

/// A hook that is not in force until this is dropped.
pub struct Hole {
    pin: PathBuf,
    program: OwnedFd,
}

/// Where the daemon pins a hook's link.
fn pin(hook: &str) -> PathBuf {
    Path::new(layout::PINS).join("v1/links").join(hook)
}

impl Hole {
    /// Takes a hook's program away; none where it is not attached now.
    ///
    /// # Panics
    /// When the kernel refuses it.
    pub fn make(hook: &str) -> Option<Self> {
        let pin = pin(hook);
        if !pin.exists() {
            return None;
        }
        let link = open(&pin).expect("the link is pinned");
        let program = program(&link).expect("the link has a program");
        fs::remove_file(&pin).expect("root may remove pins");
        // The last that held it: it is off when this returns.
        drop(link);
        Some(Self { pin, program })
    }

    fn mend(&self) -> io::Result<()> {
        // `name`, `prog_fd` of `BPF_RAW_TRACEPOINT_OPEN`: a program of LSM has its hook in itself.
        let program = self.program.as_raw_fd().cast_unsigned();
        let link = made(RAW_TRACEPOINT_OPEN, &[0, u64::from(program)])?;
        let path = text(&self.pin)?;
        let link = u64::from(link.as_raw_fd().cast_unsigned());
        bpf(OBJ_PIN, &[path.as_ptr() as u64, link]).map(drop)
    }
}

impl Drop for Hole {
    fn drop(&mut self) {
        if let Err(error) = self.mend() {
            // The next daemon attaches it anew.
            eprintln!("`{}` is not attached again: {error}", self.pin.display());
        }
    }
}

/// `pathname`, `bpf_fd` of `BPF_OBJ_GET`.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = text(path)?;
    made(OBJ_GET, &[path.as_ptr() as u64, 0])
}

/// The program of a link: `struct bpf_link_info` is type, id and program.
fn program(link: &OwnedFd) -> io::Result<OwnedFd> {
    let mut info = [0_u32; 4];
    let size = size_of_val(&info) as u64;
    let object = u64::from(link.as_raw_fd().cast_unsigned());
    bpf(OBJ_GET_INFO_BY_FD, &[object | size << 32, (&raw mut info) as u64])?;
    made(PROG_GET_FD_BY_ID, &[u64::from(info[2]), 0])
}

fn text(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// The system call, with the first two words of its attributes.
fn bpf(command: libc::c_int, attributes: &[u64; 2]) -> io::Result<i32> {
    let size = size_of_val(attributes);
    // SAFETY: the attributes are those that the command reads; what they point to is valid, by the callers.
    match unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value as i32),
    }
}

/// The same, of a command that makes a descriptor.
fn made(command: libc::c_int, attributes: &[u64; 2]) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the command made the descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
