//! The functions of loaded programs, and programs that replace them (`freplace`).

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use super::{LINK_CREATE, Link, descriptor, read_info};

/// The command of the `bpf` system call (`enum bpf_cmd`, include/uapi/linux/bpf.h).
const BTF_GET_FD_BY_ID: libc::c_int = 19;

/// `struct bpf_prog_info`, up to the fields on the program's functions.
#[repr(C)]
#[derive(Default)]
struct FunctionInfo {
    kind: u32,
    program: u32,
    skipped: [u64; 15],
    types: u32,
    function_len: u32,
    functions: u64,
    many: u32,
    lines: u32,
}

/// `struct bpf_func_info`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Function {
    instruction: u32,
    number: u32,
}

/// The most functions that a program can have (`BPF_MAX_SUBPROGS`).
const FUNCTIONS: usize = 256;

/// The functions of a loaded program.
pub(in crate::bpf) struct Functions {
    /// The program's id.
    pub(in crate::bpf) program: u32,
    /// The id of its type information.
    pub(in crate::bpf) types: u32,
    /// The functions' type numbers in it.
    pub(in crate::bpf) functions: Vec<u32>,
}

/// The functions of a loaded program.
///
/// # Errors
/// What the kernel says.
pub(in crate::bpf) fn functions(program: BorrowedFd<'_>) -> io::Result<Functions> {
    let mut functions = [Function::default(); FUNCTIONS];
    let mut info = FunctionInfo {
        function_len: size_of::<Function>() as u32,
        functions: functions.as_mut_ptr() as u64,
        many: FUNCTIONS as u32,
        ..FunctionInfo::default()
    };
    read_info(program, &mut info)?;
    let found = functions.iter().take(info.many as usize).map(|function| function.number);
    Ok(Functions { program: info.program, types: info.types, functions: found.collect() })
}

/// `struct bpf_btf_info`.
#[repr(C)]
#[derive(Default)]
struct TypesInfo {
    bytes: u64,
    len: u32,
    number: u32,
    name: u64,
    name_len: u32,
    of_kernel: u32,
}

/// The bytes of a type information (BTF) with this id.
///
/// # Errors
/// What the kernel says.
pub(in crate::bpf) fn types(number: u32) -> io::Result<Vec<u8>> {
    let types = descriptor(BTF_GET_FD_BY_ID, &[number, 0, 0])?;
    let mut info = TypesInfo::default();
    read_info(types.as_fd(), &mut info)?;
    let mut bytes = vec![0; info.len as usize];
    info = TypesInfo { bytes: bytes.as_mut_ptr() as u64, len: info.len, ..TypesInfo::default() };
    read_info(types.as_fd(), &mut info)?;
    Ok(bytes)
}

/// Replaces a function of a loaded program by another program. `function` is the function's type number.
///
/// # Errors
/// What the kernel says.
pub(in crate::bpf) fn replace(
    program: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    function: u32,
) -> io::Result<OwnedFd> {
    descriptor(
        LINK_CREATE,
        &Link {
            program: program.as_raw_fd().cast_unsigned(),
            target: target.as_raw_fd().cast_unsigned(),
            what: u64::from(function),
            ..Link::default()
        },
    )
}
