//! Makes a report from the canary's answers and the refusals that the kernel reported. Pure.

use agent_common::event::Operation;

use super::tries::{TRIES, Try, Wants};

/// The canary's answer to one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The try's index in [`TRIES`].
    pub index: usize,
    /// Zero if it was done, negative if it was not tried, else the number of the error.
    pub errno: i32,
}

/// The outcome of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Allowed, which is right.
    Done,
    /// Refused and reported, which is right.
    Refused,
    /// Not tried: this kernel has no such call, or the policy in force leaves nothing to try.
    Skipped,
    /// It should have been refused, and was not.
    Succeeded,
    /// It failed, but the kernel's report did not reach the log.
    Unreported,
    /// It should have been allowed, and was refused.
    Blocked,
    /// The canary did not answer.
    Unanswered,
    /// It failed, and the log is so far behind that the kernel's report may still come.
    Late,
}

impl Outcome {
    /// Whether the outcome is right.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Done | Self::Refused | Self::Skipped | Self::Late)
    }

    /// The name that the log and the interface use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
            Self::Succeeded => "succeeded",
            Self::Unreported => "unreported",
            Self::Blocked => "blocked",
            Self::Unanswered => "unanswered",
            Self::Late => "late",
        }
    }
}

/// A try and its outcome.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// The try.
    pub what: Try,
    /// The outcome.
    pub outcome: Outcome,
    /// The error that it got; zero for none.
    pub errno: i32,
}

/// One run of the canary.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The tries; none if the canary could not be started.
    pub tried: Vec<Tried>,
    /// Why the canary could not work.
    pub error: Option<String>,
}

impl Report {
    /// A run that failed.
    pub fn failed(error: impl Into<String>) -> Self {
        Self { tried: Vec::new(), error: Some(error.into()) }
    }

    /// Whether enforcement holds.
    pub fn is_good(&self) -> bool {
        self.error.is_none() && self.tried.iter().all(|tried| tried.outcome.is_good())
    }

    /// Whether the log is too far behind to have all reports.
    pub fn is_behind(&self) -> bool {
        self.tried.iter().any(|tried| tried.outcome == Outcome::Late)
    }

    /// The same report for a log that is behind: missing reports may still come.
    #[must_use]
    pub fn of_late_log(mut self) -> Self {
        for tried in &mut self.tried {
            if tried.outcome == Outcome::Unreported {
                tried.outcome = Outcome::Late;
            }
        }
        self
    }

    /// The tries with a wrong outcome.
    pub fn bad(&self) -> impl Iterator<Item = &Tried> {
        self.tried.iter().filter(|tried| !tried.outcome.is_good())
    }

    /// What is wrong, in one sentence.
    pub fn message(&self) -> String {
        let mut parts: Vec<String> = self.error.iter().cloned().collect();
        for (outcome, words) in [
            (Outcome::Succeeded, "not refused"),
            (Outcome::Unreported, "refused, but the log got no report"),
            (Outcome::Blocked, "refused, but allowed"),
            (Outcome::Unanswered, "without an answer"),
        ] {
            let tries: Vec<String> = self
                .bad()
                .filter(|tried| tried.outcome == outcome)
                .map(|tried| {
                    format!("{} ({})", tried.what.operation.name(), tried.what.call.name())
                })
                .collect();
            if !tries.is_empty() {
                parts.push(format!("{words}: {}", tries.join(", ")));
            }
        }
        if parts.is_empty() {
            let count =
                |outcome| self.tried.iter().filter(|tried| tried.outcome == outcome).count();
            let (refused, done) = (count(Outcome::Refused), count(Outcome::Done));
            parts.push(format!("{refused} operations refused and reported, {done} allowed"));
            if self.is_behind() {
                let late = count(Outcome::Late);
                parts.push(format!("{late} refused, their reports late: the log is behind"));
            }
        }
        parts.join("; ")
    }
}

/// Makes a report from the canary's answers and the refused operations that the kernel reported, in their order. The
/// canary makes one try after another, so the reports come in the order of the tries.
pub fn judge(answers: &[Answer], reported: &[Operation]) -> Report {
    let mut rest = reported;
    let tried = TRIES.iter().enumerate().map(|(index, what)| {
        let answer = answers.iter().find(|answer| answer.index == index);
        let errno = answer.map_or(0, |answer| answer.errno);
        let mut reported = || {
            let place = rest.iter().position(|operation| *operation == what.operation);
            rest = place.and_then(|place| rest.get(place + 1..)).unwrap_or(rest);
            place.is_some()
        };
        let outcome = match (what.wants, answer.map(|answer| answer.errno)) {
            (_, None) => Outcome::Unanswered,
            (_, Some(libc::ENOSYS | ..=-1)) => Outcome::Skipped,
            (Wants::Done, Some(0)) => Outcome::Done,
            (Wants::Done, Some(_)) => Outcome::Blocked,
            (Wants::Refused, Some(libc::EACCES | libc::EPERM)) if reported() => Outcome::Refused,
            (Wants::Refused, Some(libc::EACCES | libc::EPERM)) => Outcome::Unreported,
            (Wants::Refused, Some(_)) => Outcome::Succeeded,
        };
        Tried { what: *what, outcome, errno: errno.max(0) }
    });
    Report { tried: tried.collect(), error: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers and reports of a host where enforcement holds.
    fn sound() -> (Vec<Answer>, Vec<Operation>) {
        let errno = |what: &Try| if what.wants == Wants::Done { 0 } else { libc::EACCES };
        let answers = TRIES.iter().enumerate();
        let answers = answers.map(|(index, what)| Answer { index, errno: errno(what) }).collect();
        let refused = TRIES.iter().filter(|what| what.wants == Wants::Refused);
        (answers, refused.map(|what| what.operation).collect())
    }

    fn bad(report: &Report) -> Vec<(&str, &str, Outcome)> {
        let name =
            |tried: &Tried| (tried.what.operation.name(), tried.what.call.name(), tried.outcome);
        report.bad().map(name).collect()
    }

    fn place(call: super::super::Call) -> usize {
        TRIES.iter().position(|what| what.call == call).unwrap()
    }

    #[test]
    fn report_of_a_sound_host_is_good_with_further_refusals_too() {
        let (answers, mut reported) = sound();
        let report = judge(&answers, &reported);
        assert!(report.is_good(), "{}", report.message());
        assert!(report.message().ends_with("3 allowed"), "{}", report.message());
        reported.insert(5, Operation::PrivCapability);
        assert!(judge(&answers, &reported).is_good());
    }

    #[test]
    fn unrefused_operation_is_named() {
        let (mut answers, mut reported) = sound();
        let connect = place(super::super::Call::Connect);
        answers[connect].errno = libc::ECONNREFUSED;
        reported.retain(|operation| *operation != Operation::NetConnect);
        let report = judge(&answers, &reported);
        assert_eq!(bad(&report), [("net.connect", "connect", Outcome::Succeeded)]);
        assert_eq!(report.message(), "not refused: net.connect (connect)");
    }

    #[test]
    fn unreported_refusal_is_named() {
        let (answers, mut reported) = sound();
        let at = reported.iter().position(|operation| *operation == Operation::FileLink).unwrap();
        reported.remove(at);
        let report = judge(&answers, &reported);
        assert_eq!(bad(&report), [("file.link", "linkat", Outcome::Unreported)]);
        assert!(!judge(&answers, &[]).is_good());
    }

    #[test]
    fn missing_report_is_late_if_the_log_is_behind() {
        let (mut answers, reported) = sound();
        let half = reported.len() / 2;
        let report = judge(&answers, &reported[..half]).of_late_log();
        assert!(report.is_good() && report.is_behind(), "{}", report.message());
        assert!(report.message().contains("the log is behind"), "{}", report.message());
        answers[place(super::super::Call::Connect)].errno = 0;
        let report = judge(&answers, &reported[..half]).of_late_log();
        assert_eq!(report.message(), "not refused: net.connect (connect)");
        assert!(!judge(&sound().0, &reported).of_late_log().is_behind());
    }

    #[test]
    fn refusal_of_everything_is_bad() {
        let (mut answers, reported) = sound();
        answers[place(super::super::Call::MakeSocket)].errno = libc::EACCES;
        let report = judge(&answers, &reported);
        assert_eq!(bad(&report), [("net.socket", "socket", Outcome::Blocked)]);
    }

    #[test]
    fn missing_answer_is_bad_and_a_skipped_try_is_not() {
        let (mut answers, mut reported) = sound();
        answers.pop();
        let report = judge(&answers, &reported);
        assert_eq!(bad(&report), [("file.exec", "execve", Outcome::Unanswered)]);
        let (mut answers, _) = sound();
        answers[place(super::super::Call::Bpf)].errno = libc::ENOSYS;
        answers[place(super::super::Call::OpenAllowed)].errno = -1;
        reported.retain(|operation| *operation != Operation::PrivBpf);
        assert!(judge(&answers, &reported).is_good());
    }
}
