//! Known faults of some kernels that bear on enforcement: one table, and how a kernel is compared with it. No kernel is
//! tried out: some of these faults would damage the host.

use super::host::Kernel;

/// A known fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// 6.1 before 6.1.54 does not run a security program on a processor where the same program was preempted: what it
    /// would have refused passes.
    SkipsPreempted,
    /// 6.1 with full preemption gives a task no storage where it preempted another program that was getting some: forks
    /// of sessions fail now and then.
    ForksFail,
    /// A fork that fails early (no user namespace, too many processes) frees the storage of the task that forked. Seen
    /// on 6.18.15, not on 6.1, 6.12 and 7.3; every release between those counts as having it.
    LosesStorage,
}

/// Whether a kernel has a fault.
type Test = fn(&Kernel) -> bool;

/// Every known fault, with the test for it.
const FAULTS: [(Fault, Test); 3] = [
    (Fault::SkipsPreempted, |kernel| {
        kernel.is_6_1() && kernel.stable_release().is_none_or(|stable| stable < FIRST_NOT_SKIPPING)
    }),
    (Fault::ForksFail, |kernel| kernel.is_6_1() && kernel.is_fully_preemptible()),
    (Fault::LosesStorage, Kernel::may_lose_storage),
];

/// The first stable release of 6.1 without [`Fault::SkipsPreempted`].
const FIRST_NOT_SKIPPING: u32 = 54;
/// The releases with [`Fault::LosesStorage`]: from the first up to, and without, the second.
const LOSING_STORAGE: [(u32, u32); 2] = [(6, 13), (7, 0)];

impl Fault {
    /// What an operator has to know and do; none for a fault that Remit works around.
    pub(super) fn advice(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::SkipsPreempted => Some((
                "before 6.1.54 a security program is skipped on a processor where it was preempted",
                "boot 6.1.54 or later",
            )),
            Self::ForksFail => Some((
                "with full preemption, 6.1 gives no storage to a task where another program was preempted at it: \
                 forks of sessions fail now and then",
                "boot with `preempt=voluntary`, or a kernel from 6.2 on",
            )),
            Self::LosesStorage => None,
        }
    }
}

/// The faults of a kernel, in the table's order.
pub(super) fn of(kernel: &Kernel) -> Vec<Fault> {
    FAULTS.into_iter().filter(|(_, has)| has(kernel)).map(|(fault, _)| fault).collect()
}

impl Kernel {
    fn is_6_1(&self) -> bool {
        series(&self.release) == Some((6, 1))
    }

    /// The number of its stable release, the third of the version.
    fn stable_release(&self) -> Option<u32> {
        let own = stable_release(&self.release).filter(|stable| *stable > 0);
        own.or_else(|| {
            let words = self.version.split_ascii_whitespace();
            words.filter(|word| series(word) == Some((6, 1))).find_map(stable_release)
        })
    }

    fn is_fully_preemptible(&self) -> bool {
        let mut built = self.version.split_ascii_whitespace();
        built.any(|word| word == "PREEMPT" || word == "PREEMPT_RT")
            || self.preemption.contains("(full)")
            || self.preemption.split_ascii_whitespace().any(|word| word == "preempt=full")
    }

    /// Whether it has, or may have, [`Fault::LosesStorage`]: trying would leave the host a task whose storage is freed
    /// memory. So a kernel without the fault is one whose number says so and whose builder is known to ship that
    /// number's code: others put later code under earlier numbers (`5.14.0-570.el9`).
    fn may_lose_storage(&self) -> bool {
        let [first, fixed] = LOSING_STORAGE;
        let Some(version) = series(&self.release) else { return true };
        (first..fixed).contains(&version)
            || (version < first && !is_unchanged(build(&self.release)))
    }
}

/// The numbers that a version begins with.
fn numbers(version: &str) -> impl Iterator<Item = Option<u32>> {
    version.split(|other: char| !other.is_ascii_digit()).map(|number| number.parse().ok())
}

/// The first two numbers of a version.
fn series(version: &str) -> Option<(u32, u32)> {
    let mut numbers = numbers(version);
    Some((numbers.next()??, numbers.next()??))
}

fn stable_release(version: &str) -> Option<u32> {
    numbers(version).nth(2)?
}

/// What follows the numbers of a release.
fn build(release: &str) -> &str {
    release.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
}

/// Whether a build has the code of its version number: upstream's, a release candidate, or of a distribution that adds
/// nothing but that version's fixes: Debian (`+deb13-amd64`, `-56-amd64`), Ubuntu's general kernels (`-45-generic`).
fn is_unchanged(build: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rest) = build.strip_prefix("+deb") {
        return digits(rest.split(['-', 'u']).next().unwrap_or_default());
    }
    let mut words = build.split('-').skip(1);
    match (build, words.next(), words.next()) {
        ("", ..) => true,
        (_, Some(rc), None) => rc.strip_prefix("rc").is_some_and(digits),
        (_, Some(number), Some("amd64" | "arm64" | "cloud" | "rt" | "generic")) => digits(number),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(release: &str, version: &str, preemption: &str) -> Kernel {
        let [release, version, preemption] = [release, version, preemption].map(str::to_owned);
        Kernel { release, version, preemption }
    }

    fn has_known_fault(release: &str, version: &str, preemption: &str) -> bool {
        of(&kernel(release, version, preemption)).into_iter().any(|fault| fault.advice().is_some())
    }

    #[test]
    fn kernel_that_skips_preempted_programs_is_named() {
        let debian = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)";
        assert!(!has_known_fault("6.1.0-56-amd64", debian, ""));
        assert!(has_known_fault("6.1.0-9-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.27-1", ""));
        assert!(has_known_fault("6.1.53", "#1 SMP", ""));
        assert!(!has_known_fault("6.1.54", "#1 SMP", ""));
        assert!(has_known_fault("6.1.0-custom", "#1 SMP", ""), "an unknown build may have it");
        assert!(!has_known_fault("6.12.3", "#1 SMP PREEMPT_RT", "none voluntary (full)"));
    }

    #[test]
    fn kernel_6_1_with_full_preemption_is_named() {
        for (version, preemption, fault) in [
            ("#1 SMP PREEMPT_DYNAMIC", "none (voluntary) full", false),
            ("#1 SMP PREEMPT_DYNAMIC", "none voluntary (full)", true),
            ("#1 SMP PREEMPT_DYNAMIC", "BOOT_IMAGE=/vmlinuz quiet preempt=full", true),
            ("#1 SMP PREEMPT_DYNAMIC", "BOOT_IMAGE=/vmlinuz quiet", false),
            ("#1 SMP PREEMPT", "", true),
            ("#1 SMP PREEMPT_RT", "", true),
        ] {
            let found = has_known_fault("6.1.158", version, preemption);
            assert_eq!(found, fault, "{version} {preemption}");
        }
    }

    #[test]
    fn storage_that_the_kernel_may_lose_is_not_trusted() {
        for (release, lost) in [
            ("6.1.0-56-amd64", false),
            ("6.12.118+deb13-amd64", false),
            ("6.13.1", true),
            ("6.18.15+deb13-amd64", true),
            ("7.3.4+deb13-amd64", false),
            ("6.1.0", false),
            ("6.12.0-rc3", false),
            ("6.8.0-45-generic", false),
            ("6.14.0-33-generic", true),
            // Later code under an earlier number.
            ("5.14.0-570.12.1.el9_6.x86_64", true),
            ("6.12.0-55.el10.x86_64", true),
            ("6.12.9-200.fc41.x86_64", true),
            ("6.1.75-android14-11-g1234", true),
            ("6.6.87.2-microsoft-standard-WSL2", true),
            ("unknown", true),
        ] {
            let faults = of(&kernel(release, "", ""));
            assert_eq!(faults.contains(&Fault::LosesStorage), lost, "{release}");
        }
    }
}
