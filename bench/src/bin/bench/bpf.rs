//! The `bpf` system call: empty programs on hooks, and what a program cost the verifier.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use anyhow::{Context as _, Result};
use btf_rs::{Btf, Type};

/// Commands (`enum bpf_cmd`, include/uapi/linux/bpf.h).
const PROG_LOAD: libc::c_int = 5;
const OBJ_GET: libc::c_int = 7;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;

/// `BPF_PROG_TYPE_LSM`.
const TYPE_LSM: u32 = 29;
/// `BPF_LSM_MAC`.
const ATTACH_LSM: u32 = 27;

/// `return 0`: a move to the register of the result, and the exit.
const EMPTY: [u64; 2] = [0xb7, 0x95];

/// The member of `union bpf_attr` that loads a program, as far as one of LSM needs it.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    expected_attach_type: u32,
    btf: u32,
    function_size: u32,
    functions: u64,
    function_count: u32,
    line_size: u32,
    lines: u64,
    line_count: u32,
    attach_btf_id: u32,
    attach_target: u32,
    padding: u32,
}

/// The member that attaches a program of LSM.
#[repr(C)]
#[derive(Default)]
struct Attach {
    name: u64,
    program: u32,
    padding: u32,
}

/// The member that opens a pin.
#[repr(C)]
#[derive(Default)]
struct Get {
    path: u64,
    object: u32,
    flags: u32,
}

/// The member that asks what an object is.
#[repr(C)]
#[derive(Default)]
struct Info {
    object: u32,
    size: u32,
    info: u64,
}

/// `struct bpf_link_info`, as far as it is the same for all links.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
}

/// `struct bpf_prog_info`, whose member `run_time_ns` lies at byte 192.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    before: [u64; 24],
    nanoseconds: u64,
    runs: u64,
    missed: u64,
    verified: u32,
    padding: u32,
}

/// The system call, with attributes that are those of the command.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    // SAFETY: the attributes are those that the command reads; what they point to is valid, by the callers.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value as i32),
    }
}

/// The same, of a command that makes a descriptor.
fn made<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the command made the descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Programs that do nothing, one on each of some hooks, until this is dropped.
pub(crate) struct Floor {
    _links: Vec<OwnedFd>,
}

impl Floor {
    /// Attaches them.
    ///
    /// # Errors
    /// When the kernel has no such hook or refuses a program.
    pub(crate) fn attach<'a>(hooks: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let btf = Btf::from_file("/sys/kernel/btf/vmlinux")?;
        let links = hooks
            .into_iter()
            .map(|hook| empty(&btf, hook).with_context(|| format!("no empty program on `{hook}`")));
        Ok(Self { _links: links.collect::<Result<_>>()? })
    }
}

/// Attaches an empty program and returns its link.
fn empty(btf: &Btf, hook: &str) -> Result<OwnedFd> {
    let ids = btf.resolve_ids_by_name(&format!("bpf_lsm_{hook}"))?;
    let is_function = |id: &u32| matches!(btf.resolve_type_by_id(*id), Ok(Type::Func(_)));
    let id = ids.into_iter().find(is_function).context("the kernel has no such hook")?;
    let license = c"GPL";
    let load = Load {
        kind: TYPE_LSM,
        instruction_count: EMPTY.len() as u32,
        instructions: EMPTY.as_ptr() as u64,
        license: license.as_ptr() as u64,
        expected_attach_type: ATTACH_LSM,
        attach_btf_id: id,
        ..Load::default()
    };
    let program = made(PROG_LOAD, &load).context("cannot load it")?;
    let attach = Attach { program: program.as_raw_fd().cast_unsigned(), ..Attach::default() };
    made(RAW_TRACEPOINT_OPEN, &attach).context("cannot attach it")
}

/// A program that is attached.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    /// How many instructions the verifier went through.
    pub(crate) verified: u32,
    /// How often it ran while runs were counted.
    pub(crate) runs: u64,
    /// How long those runs took.
    pub(crate) nanoseconds: u64,
}

/// Asks the kernel about the program behind a pinned link.
///
/// # Errors
/// When the link or its program can't be asked.
pub(crate) fn program(link: &Path) -> Result<Program> {
    let path = CString::new(link.as_os_str().as_bytes())?;
    let link = made(OBJ_GET, &Get { path: path.as_ptr() as u64, ..Get::default() })
        .with_context(|| format!("cannot open `{}`", link.display()))?;
    let mut found = LinkInfo::default();
    info(&link, &mut found)?;
    let program = made(PROG_GET_FD_BY_ID, &[found.program, 0, 0]).context("no such program")?;
    let mut found = ProgramInfo::default();
    info(&program, &mut found)?;
    let ProgramInfo { verified, runs, nanoseconds, .. } = found;
    Ok(Program { verified, runs, nanoseconds })
}

fn info<T>(object: &OwnedFd, into: &mut T) -> Result<()> {
    let attributes = Info {
        object: object.as_raw_fd().cast_unsigned(),
        size: size_of::<T>() as u32,
        info: (&raw mut *into) as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &attributes).context("cannot ask the kernel about a program")?;
    Ok(())
}
