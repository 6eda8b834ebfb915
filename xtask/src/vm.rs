//! `cargo xtask vm`: a command run as root on a kernel of Debian's, over this machine's own root.
//! Knows what a guest is given; must not know why it is booted.

mod cpio;
mod initramfs;
pub(crate) mod kept;
pub(crate) mod kernel;
mod modules;
pub(crate) mod programs;
mod qemu;

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{build::Build, project::cache, say};
use kernel::{Kernel, Series};

/// The exit status of a guest that gave none, as `timeout` and `env` do for their own failures.
pub(crate) const NO_STATUS: u8 = 125;

/// Boots a Debian kernel in QEMU and runs a command in it as root.
///
/// The guest sees this machine's files read-only; `/etc`, `/var`, `/root` and `/opt` can be
/// changed in memory, and `/tmp`, `/run`, `/srv`, `/mnt` and `/home` are empty and in memory.
/// It has no network but loopback. The built binaries are first in its PATH.
#[derive(clap::Args)]
pub(crate) struct Vm {
    /// The kernel's series.
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Series,

    /// How many processors the guest has.
    #[arg(long, default_value_t = 2)]
    cpus: u32,

    /// How much memory the guest has, as QEMU takes it.
    #[arg(long, default_value = "2G")]
    memory: String,

    /// Let time pass by one nanosecond an instruction, on one processor: the same in each run.
    #[arg(long)]
    icount: bool,

    /// Share a folder with the guest's changes, at the same path.
    #[arg(long, value_name = "DIR")]
    rw: Vec<PathBuf>,

    /// Give the kernel a parameter more, as `lsm=landlock,bpf`.
    #[arg(long, value_name = "PARAMETER", allow_hyphen_values = true)]
    parameter: Vec<String>,

    /// Stop the guest after so many seconds.
    #[arg(long, value_name = "SECS", default_value_t = 300)]
    timeout: u64,

    /// Take the binaries as they are.
    #[arg(long)]
    no_build: bool,

    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Vm {
    /// Builds, boots and returns the command's exit status.
    ///
    /// # Errors
    /// When something can't be built, had or started; a guest without a status is [`NO_STATUS`].
    pub(crate) fn run(self) -> Result<u8> {
        let build = Build::default();
        if !self.no_build {
            build.run()?;
        }
        let mut guest = Guest::new(&build.folder(), self.command)?;
        guest.cpus = self.cpus;
        guest.memory = self.memory;
        guest.icount = self.icount;
        guest.shared = self.rw;
        guest.parameters = self.parameter;
        guest.timeout = Duration::from_secs(self.timeout);
        Ok(guest.run(self.kernel).unwrap_or_else(|error| {
            say::error(&error);
            NO_STATUS
        }))
    }
}

/// What a guest is given.
pub(crate) struct Guest {
    /// The number of processors.
    pub(crate) cpus: u32,
    /// The memory, as QEMU takes it.
    pub(crate) memory: String,
    /// Whether time is the number of instructions.
    pub(crate) icount: bool,
    /// The folders shared with the guest's changes.
    pub(crate) shared: Vec<PathBuf>,
    /// What the kernel is told beside what every guest's is.
    pub(crate) parameters: Vec<String>,
    /// How long it may run.
    pub(crate) timeout: Duration,
    /// The command's environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The command's current folder.
    pub(crate) folder: PathBuf,
    /// The command and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Where the command's output goes.
    pub(crate) stdout: Box<dyn Write + Send>,
}

impl Guest {
    /// A guest of two processors that runs `command` with the programs of `binaries` first.
    ///
    /// # Errors
    /// When the current folder is gone.
    pub(crate) fn new(binaries: &Path, command: Vec<OsString>) -> Result<Self> {
        let folder = env::current_dir().context("the current folder is gone")?;
        Ok(Self {
            cpus: 2,
            memory: "2G".to_owned(),
            icount: false,
            shared: Vec::new(),
            parameters: Vec::new(),
            timeout: Duration::from_secs(300),
            environment: environment(binaries)?,
            folder,
            command,
            stdout: Box::new(io::stdout()),
        })
    }

    /// Boots the newest kernel of a series and returns the command's exit status.
    ///
    /// # Errors
    /// When the kernel or QEMU can't be had, or the guest ends without a status or not in time.
    pub(crate) fn run(self, series: Series) -> Result<u8> {
        kernel::check_machine()?;
        let kernel = Kernel::newest(series)?;
        qemu::boot(self, &kernel, &cache()?)
    }
}

/// Downloads what booting these kernels takes and the cache doesn't hold: a guest then begins at once.
///
/// # Errors
/// When something can't be had.
pub(crate) fn fetch(kernels: &[Series]) -> Result<()> {
    kernel::check_machine()?;
    programs::fetch()?;
    for series in kernels {
        Kernel::newest(*series)?;
    }
    Ok(())
}

/// The folders of programs that every system has.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where `root.sh` puts the tools for modules.
const GUEST_PATH: &str = "/run/xtask/bin";

/// What the command finds in its environment: a root's, and what is meant for Remit.
fn environment(binaries: &Path) -> Result<Vec<(OsString, OsString)>> {
    let host_path = env::var_os("PATH").unwrap_or_default();
    let mut path = vec![binaries.to_owned()];
    // The guest's `modprobe` finds the modules also where the host has no `/lib/modules`.
    let guest = env::split_paths(GUEST_PATH).chain(env::split_paths(SYSTEM_PATH));
    for folder in guest.chain(env::split_paths(&host_path)) {
        if folder.is_absolute() && !path.contains(&folder) {
            path.push(folder);
        }
    }
    let path = env::join_paths(path).context("a folder of PATH holds a colon")?;
    let passed = |name: &str, default: &str| env::var_os(name).unwrap_or_else(|| default.into());
    let mut environment = vec![
        ("PATH".into(), path),
        ("HOME".into(), "/root".into()),
        ("USER".into(), "root".into()),
        ("SHELL".into(), "/bin/sh".into()),
        ("TERM".into(), passed("TERM", "dumb")),
        ("LANG".into(), passed("LANG", "C.UTF-8")),
    ];
    environment.extend(env::vars_os().filter(|(name, _)| is_for_remit(name)));
    Ok(environment)
}

fn is_for_remit(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"REMIT_") && name != "REMIT_CACHE"
}
