//! What the daemon measures of itself, for operators: how long revocations and grants take, what the log wrote, and
//! what the canary found. It decides nothing.

use std::{
    fmt::Write as _,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;

use crate::{
    canary::{Outcome, Report},
    incident::Metrics,
};

/// Upper ends of the histograms' buckets, in microseconds.
const BUCKETS: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
    5_000_000,
];

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Histogram {
    /// By bucket, how many took no longer than its end and longer than the end of the bucket before.
    buckets: [AtomicU64; BUCKETS.len()],
    longer: AtomicU64,
    nanos: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let micros = took.as_nanos().div_ceil(1_000);
        let place = BUCKETS.iter().position(|end| micros <= u128::from(*end));
        let bucket = place.and_then(|place| self.buckets.get(place)).unwrap_or(&self.longer);
        bucket.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Writes it in Prometheus' text format.
    fn write(&self, name: &str, help: &str, page: &mut String) {
        head(page, name, "histogram", help);
        let mut below = 0;
        // Writing to a string can't fail.
        for (end, bucket) in BUCKETS.iter().zip(&self.buckets) {
            below += bucket.load(Ordering::Relaxed);
            let _ = writeln!(page, "{name}_bucket{{le=\"{}\"}} {below}", *end as f64 / 1e6);
        }
        below += self.longer.load(Ordering::Relaxed);
        let _ = writeln!(page, "{name}_bucket{{le=\"+Inf\"}} {below}");
        let _ = writeln!(page, "{name}_sum {}", self.nanos.load(Ordering::Relaxed) as f64 / 1e9);
        let _ = writeln!(page, "{name}_count {below}");
    }
}

/// The canary's runs.
#[derive(Debug)]
pub struct Canary {
    /// How often it runs; `None` for never.
    pub interval: Option<Duration>,
    /// The last run.
    pub last: Option<Run>,
    /// Runs so far.
    pub runs: u64,
    /// Of these, those that found something wrong.
    pub failures: u64,
    /// Whether it does not run because no hook is attached.
    is_paused: bool,
    /// When the daemon started.
    began: Instant,
}

/// A run of the canary.
#[derive(Clone, Debug)]
pub struct Run {
    /// When it ended.
    pub at: Timestamp,
    /// The same, by a monotonic clock.
    ended: Instant,
    /// What it found.
    pub report: Report,
}

/// How long a run may take: a run that ended longer ago than two intervals and this is too old.
pub const GRACE: Duration = Duration::from_secs(10);

impl Canary {
    /// How long ago the last run ended; before the first, how long ago the daemon started.
    pub fn age(&self) -> Duration {
        self.last.as_ref().map_or(self.began, |run| run.ended).elapsed()
    }

    /// Whether no run ended for longer than two intervals, although there is something to watch.
    pub fn is_late(&self) -> bool {
        !self.is_paused
            && self.interval.is_some_and(|interval| self.age() > interval.saturating_mul(2) + GRACE)
    }

    /// `off`, `pending`, `ok`, `behind`, `failed` or `late`.
    pub fn state(&self) -> &'static str {
        match (&self.interval, &self.last) {
            (None, _) => "off",
            (_, Some(run)) if !run.report.is_good() => "failed",
            _ if self.is_late() => "late",
            (_, Some(run)) if run.report.is_behind() => "behind",
            (_, Some(_)) => "ok",
            (_, None) => "pending",
        }
    }
}

/// What the daemon measures of itself.
#[derive(Debug)]
pub struct Vitals {
    /// From an operator's request to revoke a tool until the kernel refuses.
    pub revocations: Histogram,
    /// From an operator's request to grant until the kernel allows.
    pub grants: Histogram,
    log: Mutex<Metrics>,
    canary: Mutex<Canary>,
    skipped: AtomicU64,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // Plain values, which a panic leaves whole.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Vitals {
    /// Nothing measured yet.
    pub fn new(canary_interval: Option<Duration>) -> Self {
        let canary = Canary {
            interval: canary_interval,
            last: None,
            runs: 0,
            failures: 0,
            is_paused: false,
            began: Instant::now(),
        };
        Self {
            revocations: Histogram::default(),
            grants: Histogram::default(),
            log: Mutex::default(),
            canary: Mutex::new(canary),
            skipped: AtomicU64::new(0),
        }
    }

    /// Sets the log's counts.
    pub fn set_log(&self, metrics: Metrics) {
        *lock(&self.log) = metrics;
    }

    /// Sets how often the kernel skipped programs.
    pub fn set_skipped(&self, skipped: u64) {
        self.skipped.store(skipped, Ordering::Relaxed);
    }

    /// Sets the canary's last report.
    pub fn set_canary(&self, report: Report) {
        let mut canary = lock(&self.canary);
        canary.runs += 1;
        canary.failures += u64::from(!report.is_good());
        canary.is_paused = false;
        canary.last = Some(Run { at: Timestamp::now(), ended: Instant::now(), report });
    }

    /// Notes that the canary does not run until hooks are attached.
    pub fn pause_canary(&self) {
        lock(&self.canary).is_paused = true;
    }

    /// What the canary found.
    pub fn canary(&self) -> MutexGuard<'_, Canary> {
        lock(&self.canary)
    }

    /// A page for Prometheus. `sessions` are live, `generation` is the policy's.
    pub fn page(&self, sessions: u64, generation: u32) -> String {
        let mut page = String::new();
        self.revocations.write(
            "remit_revocation_seconds",
            "From an operator's request to take a tool back until it is in force.",
            &mut page,
        );
        self.grants.write(
            "remit_grant_seconds",
            "From an operator's request to grant a tool until it is in force.",
            &mut page,
        );
        gauge(&mut page, "remit_sessions", "Live sessions.", sessions);
        gauge(&mut page, "remit_policy_generation", "Number of the policy in force.", generation);
        let log = *lock(&self.log);
        for (name, help, value) in [
            ("remit_refusals_total", "Refusals that the log has, repeats counted.", log.events),
            ("remit_lost_refusals_total", "Refusals known to be lost.", log.lost),
            ("remit_log_lines_total", "Lines written to the log.", log.lines),
            ("remit_log_failures_total", "Times the log could not be written.", log.failures),
            (
                "remit_log_dropped_acts_total",
                "Acts of control that found no room in memory while the log could not be written.",
                log.dropped,
            ),
        ] {
            counter(&mut page, name, help, value);
        }
        let help = "Acts of control that wait in memory until the log can be written.";
        gauge(&mut page, "remit_log_waiting_acts", help, log.waiting);
        let help = "Times the kernel left out a program because it was running on the same processor already.";
        counter(
            &mut page,
            "remit_programs_skipped_total",
            help,
            self.skipped.load(Ordering::Relaxed),
        );
        canary(&self.canary(), &mut page);
        page
    }
}

fn canary(canary: &Canary, page: &mut String) {
    let ok = u8::from(matches!(canary.state(), "ok" | "pending" | "behind"));
    if canary.interval.is_some() {
        let help = "Whether the canary's last run found the log behind with its refusals.";
        gauge(page, "remit_canary_behind", help, u8::from(canary.state() == "behind"));
        let help = "Whether the canary's last run found enforcement to hold, and is not too old.";
        gauge(page, "remit_canary_ok", help, ok);
    }
    counter(page, "remit_canary_runs_total", "Runs of the canary.", canary.runs);
    let help = "Runs of the canary that found something wrong.";
    counter(page, "remit_canary_failures_total", help, canary.failures);
    let Some(run) = &canary.last else { return };
    let help = "When the canary's last run ended, in seconds since 1970.";
    let seconds = run.at.as_millisecond() as f64 / 1e3;
    gauge(page, "remit_canary_last_run_seconds", help, seconds);
    let name = "remit_canary_try_ok";
    head(page, name, "gauge", "Whether each of the canary's tries came out as it must.");
    for tried in run.report.tried.iter().filter(|tried| tried.outcome != Outcome::Skipped) {
        let (operation, call) = (tried.what.operation.name(), tried.what.call.name());
        let wants = match tried.what.wants {
            crate::canary::Wants::Done => "done",
            crate::canary::Wants::Refused => "refused",
        };
        let ok = u8::from(tried.outcome.is_good());
        let labels = format!("operation=\"{operation}\",call=\"{call}\",wants=\"{wants}\"");
        let _ = writeln!(page, "{name}{{{labels}}} {ok}");
    }
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn gauge(page: &mut String, name: &str, help: &str, value: impl std::fmt::Display) {
    head(page, name, "gauge", help);
    let _ = writeln!(page, "{name} {value}");
}

fn counter(page: &mut String, name: &str, help: &str, value: u64) {
    head(page, name, "counter", help);
    let _ = writeln!(page, "{name} {value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_counts_durations_up_to_each_end() {
        let histogram = Histogram::default();
        for micros in [50, 51, 900, 30_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut page = String::new();
        histogram.write("x", "what", &mut page);
        for line in [
            "# TYPE x histogram",
            "x_bucket{le=\"0.00005\"} 1",
            "x_bucket{le=\"0.0001\"} 2",
            "x_bucket{le=\"0.0005\"} 2",
            "x_bucket{le=\"0.001\"} 3",
            "x_bucket{le=\"5\"} 3",
            "x_bucket{le=\"+Inf\"} 4",
            "x_sum 30.001001",
            "x_count 4",
        ] {
            assert!(page.lines().any(|found| found == line), "{line}:\n{page}");
        }
    }

    #[test]
    fn canary_state_follows_its_last_run_and_its_age() {
        let vitals = Vitals::new(Some(Duration::from_secs(60)));
        assert_eq!(vitals.canary().state(), "pending");
        vitals.set_canary(Report::default());
        assert_eq!(vitals.canary().state(), "ok");
        vitals.set_canary(Report::failed("no"));
        assert_eq!(vitals.canary().state(), "failed");
        assert!(vitals.page(1, 2).contains("\nremit_canary_ok 0\n"));
        assert!(vitals.page(1, 2).contains("\nremit_canary_failures_total 1\n"));
        vitals.set_canary(Report::default());
        assert!(vitals.page(1, 2).contains("\nremit_canary_ok 1\n"));
        let old = Instant::now().checked_sub(Duration::from_secs(131)).unwrap();
        vitals.canary().last.as_mut().unwrap().ended = old;
        assert_eq!(vitals.canary().state(), "late");
        assert!(vitals.page(1, 2).contains("\nremit_canary_ok 0\n"));
        assert_eq!(Vitals::new(None).canary().state(), "off");
        assert!(!Vitals::new(None).page(0, 0).contains("remit_canary_ok"));
    }
}
