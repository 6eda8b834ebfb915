//! Whether this host can enforce, and if not, what to change.

use std::{fs, mem, path::Path, thread, time::Duration};

use super::{
    attachment,
    error::LoadError,
    faults, host,
    offsets::{KernelTypes, OffsetsError},
    pins::Pins,
    programs,
};

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether it passed.
    pub ok: bool,
    /// What was found.
    pub found: String,
    /// What to change when it failed; empty when it passed.
    pub advice: String,
}

/// Checks everything that enforcement needs, and whether it is in force.
pub fn checks(pin_dir: &Path) -> Vec<Check> {
    if !rustix::process::geteuid().is_root() {
        // The rest is for root's eyes: others would be told of faults that are none.
        return vec![root(), modules(), known_faults()];
    }
    let kernel = KernelTypes::read();
    let structures = structures(&kernel);
    vec![root(), modules(), known_faults(), structures, pins(pin_dir), links(pin_dir, kernel)]
}

fn check(name: &'static str, ok: bool, found: String, advice: &str) -> Check {
    Check { name, ok, found, advice: if ok { String::new() } else { advice.to_owned() } }
}

fn root() -> Check {
    let uid = rustix::process::geteuid();
    check("user", uid.is_root(), format!("uid {uid}"), "run it as root")
}

fn modules() -> Check {
    let modules = host::security_modules();
    let found = if modules.is_empty() {
        "`/sys/kernel/security/lsm` can't be read".to_owned()
    } else {
        modules.clone()
    };
    check(
        "kernel runs BPF security modules",
        host::has_bpf(&modules),
        found,
        "add `bpf` to the list of the kernel's boot option `lsm=` (and mount securityfs at \
         `/sys/kernel/security`), or boot a kernel with CONFIG_BPF_LSM",
    )
}

fn known_faults() -> Check {
    let kernel = host::Kernel::running();
    let fault = faults::of(&kernel).into_iter().find_map(faults::Fault::advice);
    let (ok, found, advice) = match fault {
        Some((fault, advice)) => (false, format!("{}: {fault}", kernel.release), advice),
        None => (true, kernel.release, ""),
    };
    check("kernel without known faults", ok, found, advice)
}

fn structures(kernel: &Result<KernelTypes, OffsetsError>) -> Check {
    let found = kernel.as_ref().map_err(ToString::to_string);
    match found.and_then(|kernel| kernel.offsets().map_err(|error| error.to_string())) {
        Ok(_) => check("kernel structures", true, "all members found".to_owned(), ""),
        Err(error) => check(
            "kernel structures",
            false,
            error,
            "boot a kernel from 6.1 on that has CONFIG_DEBUG_INFO_BTF, and keep \
             `kernel.kptr_restrict` below 2",
        ),
    }
}

fn pins(pin_dir: &Path) -> Check {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounted = mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        let (folder, kind) = (words.next(), words.next());
        kind == Some("bpf") && folder.is_some_and(|folder| pin_dir.starts_with(folder))
    });
    check(
        "BPF file system",
        mounted,
        format!("for `{}`", pin_dir.display()),
        "`mount -t bpf bpf /sys/fs/bpf`, or set `pin_dir` to a folder in one",
    )
}

fn links(pin_dir: &Path, kernel: Result<KernelTypes, OffsetsError>) -> Check {
    let pins = Pins::new(pin_dir);
    let hooks = kernel.map_err(LoadError::from).and_then(|kernel| programs::hooks(&kernel));
    let hooks = match hooks {
        Ok(hooks) => hooks,
        Err(error) => {
            let advice =
                "see above; a build without its programs is made anew by `cargo xtask build`";
            return check("hooks", false, error.to_string(), advice);
        }
    };
    let (links, programs) = (pins.links(), pins.programs());
    let attached = || -> Vec<bool> { hooks.iter().map(|hook| links.join(hook).exists()).collect() };
    let mut now = attached();
    let missing = loop {
        // Hooks that no session needs are loaded and not attached: all of them, or those of the data path.
        let idle = !now.contains(&true);
        let waits =
            |hook: &str| (idle || attachment::is_use_hook(hook)) && programs.join(hook).exists();
        let pairs = hooks.iter().map(String::as_str).zip(&now);
        let missing: Vec<&str> = pairs
            .filter(|(hook, attached)| !**attached && !waits(hook))
            .map(|(hook, _)| hook)
            .collect();
        if missing.is_empty() {
            break missing;
        }
        // They may be just being attached or detached.
        thread::sleep(CHANGE_TIME);
        let before = mem::replace(&mut now, attached());
        if before == now {
            break missing;
        }
    };
    let found = if !missing.is_empty() {
        format!("{} of {} not attached: {}", missing.len(), hooks.len(), missing.join(", "))
    } else {
        match now.iter().filter(|attached| !**attached).count() {
            0 => format!("all {} attached", hooks.len()),
            waiting if waiting == hooks.len() => {
                format!("all {waiting} loaded, to be attached with the next session")
            }
            waiting => format!(
                "{} attached; {waiting} loaded, to be attached when uses of open files have to be checked",
                hooks.len() - waiting
            ),
        }
    };
    check("hooks", missing.is_empty(), found, "start the daemon: `systemctl start remitd`")
}

/// More time than a hook takes to be attached or detached.
const CHANGE_TIME: Duration = Duration::from_secs(1);
