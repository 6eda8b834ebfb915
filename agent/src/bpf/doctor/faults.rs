//! Faults of some kernels that bear on enforcement, known by version and settings.

use std::fs;

use super::Check;

/// Of 6.1, the first release that runs a security program also where the same one was preempted on the processor: those
/// before skip it, and what it would refuse passes.
const RUNS_ALWAYS: u32 = 54;

/// What is known of the running kernel.
struct Kernel {
    /// `uname -r`.
    release: String,
    /// `uname -v`: distributions whose release does not count say there what they are built from.
    version: String,
    /// How the kernel preempts, as the scheduler tells, the one in force in parentheses; else its command line.
    preemption: String,
}

/// Looks whether the running kernel has one of them.
pub(super) fn check() -> Check {
    let name = rustix::system::uname();
    let read = |path| fs::read_to_string(path).ok();
    let kernel = Kernel {
        release: name.release().to_string_lossy().into_owned(),
        version: name.version().to_string_lossy().into_owned(),
        preemption: read("/sys/kernel/debug/sched/preempt")
            .or_else(|| read("/proc/cmdline"))
            .unwrap_or_default(),
    };
    let (ok, found, advice) = match kernel.fault() {
        Some((fault, advice)) => (false, format!("{}: {fault}", kernel.release), advice),
        None => (true, kernel.release, ""),
    };
    super::check("kernel without known faults", ok, found, advice)
}

impl Kernel {
    /// What is wrong with it, and what to do.
    fn fault(&self) -> Option<(&'static str, &'static str)> {
        if series(&self.release) != Some((6, 1)) {
            return None;
        }
        if self.patch().is_none_or(|patch| patch < RUNS_ALWAYS) {
            return Some((
                "before 6.1.54 a security program is skipped on a processor where it was preempted",
                "boot 6.1.54 or later",
            ));
        }
        self.is_fully_preemptible().then_some((
            "with full preemption, 6.1 gives no storage to a task where another program was preempted at it: forks of \
             sessions fail now and then",
            "boot with `preempt=voluntary`, or a kernel from 6.2 on",
        ))
    }

    /// The number of its stable release.
    fn patch(&self) -> Option<u32> {
        let own = patch(&self.release).filter(|patch| *patch > 0);
        own.or_else(|| {
            let words = self.version.split_ascii_whitespace();
            words.filter(|word| series(word) == Some((6, 1))).find_map(patch)
        })
    }

    fn is_fully_preemptible(&self) -> bool {
        let mut built = self.version.split_ascii_whitespace();
        built.any(|word| word == "PREEMPT" || word == "PREEMPT_RT")
            || self.preemption.contains("(full)")
            || self.preemption.split_ascii_whitespace().any(|word| word == "preempt=full")
    }
}

/// The numbers that a version begins with.
fn numbers(version: &str) -> impl Iterator<Item = Option<u32>> {
    version.split(|other: char| !other.is_ascii_digit()).map(|number| number.parse().ok())
}

fn series(version: &str) -> Option<(u32, u32)> {
    let mut numbers = numbers(version);
    Some((numbers.next()??, numbers.next()??))
}

fn patch(version: &str) -> Option<u32> {
    numbers(version).nth(2)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_fault(release: &str, version: &str, preemption: &str) -> bool {
        let [release, version, preemption] = [release, version, preemption].map(str::to_owned);
        Kernel { release, version, preemption }.fault().is_some()
    }

    #[test]
    fn kernel_that_skips_programs_is_named() {
        let debian = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)";
        assert!(!has_fault("6.1.0-56-amd64", debian, ""));
        assert!(has_fault("6.1.0-9-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.27-1", ""));
        assert!(has_fault("6.1.53", "#1 SMP", ""));
        assert!(!has_fault("6.1.54", "#1 SMP", ""));
        assert!(has_fault("6.1.0-custom", "#1 SMP", ""), "what is not known may have it");
        assert!(!has_fault("6.12.3", "#1 SMP PREEMPT_RT", "none voluntary (full)"));
    }

    #[test]
    fn full_preemption_of_the_oldest_kernel_is_named() {
        for (version, preemption, fault) in [
            ("#1 SMP PREEMPT_DYNAMIC", "none (voluntary) full", false),
            ("#1 SMP PREEMPT_DYNAMIC", "none voluntary (full)", true),
            ("#1 SMP PREEMPT_DYNAMIC", "BOOT_IMAGE=/vmlinuz quiet preempt=full", true),
            ("#1 SMP PREEMPT_DYNAMIC", "BOOT_IMAGE=/vmlinuz quiet", false),
            ("#1 SMP PREEMPT", "", true),
            ("#1 SMP PREEMPT_RT", "", true),
        ] {
            assert_eq!(has_fault("6.1.158", version, preemption), fault, "{version} {preemption}");
        }
    }
}
