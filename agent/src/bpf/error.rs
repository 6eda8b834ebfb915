//! What can go wrong on the kernel side: loading the programs, and each operation afterwards.

use std::{io, path::PathBuf};

use aya::programs::ProgramError;

use super::offsets::OffsetsError;

/// Why the programs are not in force.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The binary was built without the kernel programs.
    #[error("this build has no kernel programs in it\nhelp: build it with `cargo xtask build`")]
    NoObject,
    /// The kernel lacks a structure member or symbol that the programs read.
    #[error(transparent)]
    Offsets(#[from] OffsetsError),
    /// The object can't be adapted to the running kernel: it is not the one that this build knows.
    #[error("can't adapt the kernel programs to this kernel: {0}")]
    Patch(String),
    /// The kernel does not run BPF programs as a security module.
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
    /// The object could not be parsed, or its maps could not be made.
    #[error("can't load the kernel programs: {0}")]
    Object(#[source] Box<aya::EbpfError>),
    /// The kernel refused a program.
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
    /// A test asks for a build without a hook that does not exist.
    #[cfg(feature = "hole")]
    #[error("no hook `{0}` that could be left out")]
    NoSuchHook(String),
    /// The probe program read another task than the one that ran it.
    #[error("the kernel's structures are not where its type information says")]
    Probe,
}

/// What the kernel refused, and why.
#[derive(Debug, thiserror::Error)]
#[error("can't {action}: {source}")]
pub struct KernelError {
    /// The operation, as a verb phrase.
    pub action: String,
    /// The kernel's error.
    #[source]
    pub source: io::Error,
}

impl KernelError {
    /// Whether the process does not exist any more.
    pub fn is_gone(&self) -> bool {
        self.source.raw_os_error() == Some(libc::ESRCH)
    }
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
