//! What the running kernel says of itself: its release, how it preempts, which security modules it runs.

use std::fs;

/// The running kernel, as far as its known faults go by it.
pub(super) struct Kernel {
    /// `uname -r`.
    pub(super) release: String,
    /// `uname -v`. Some distributions keep one release for all their builds and name the version that they built from
    /// here.
    pub(super) version: String,
    /// The preemption models, the active one in parentheses, as the scheduler's debug file has them; where that can't
    /// be read, the kernel's command line.
    pub(super) preemption: String,
}

impl Kernel {
    /// The running one.
    pub(super) fn running() -> Self {
        let name = rustix::system::uname();
        let read = |path| fs::read_to_string(path).ok();
        Self {
            release: name.release().to_string_lossy().into_owned(),
            version: name.version().to_string_lossy().into_owned(),
            preemption: read("/sys/kernel/debug/sched/preempt")
                .or_else(|| read("/proc/cmdline"))
                .unwrap_or_default(),
        }
    }
}

/// The kernel's security modules, comma-separated, in their order; empty when they can't be read.
pub(super) fn security_modules() -> String {
    fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default().trim().to_owned()
}

/// Whether a list of security modules has BPF.
pub(super) fn has_bpf(modules: &str) -> bool {
    modules.split(',').any(|module| module == "bpf")
}
