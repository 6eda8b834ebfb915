//! Tries the attacks of a group, and compares what comes of them with the catalogue.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tests::{Answer, Incident, incident, layout};

use crate::{
    catalogue::{Attack, Expected},
    record::{self, Record},
    scene::{Scene, User},
};

/// What came of an attack and its control.
struct Outcome {
    control: Answer,
    answer: Answer,
    /// The paths that an incident may name.
    paths: Vec<String>,
    /// The process that it may name.
    victim: Option<u32>,
}

/// Tries a group's attacks in a session of the user's, and judges.
///
/// # Panics
/// When an attack comes out otherwise than the catalogue says; tells of all that do.
pub(crate) fn confined(group: &str, attacks: &[Attack], user: User) {
    let (outcomes, mut scenes) = perform(group, attacks, user, true);
    let incidents: Vec<Incident> = scenes.iter_mut().flat_map(Scene::incidents).collect();
    let mut faults = Vec::new();
    let mut records = Vec::new();
    for (attack, outcome) in attacks.iter().zip(&outcomes) {
        let (record, found) = judge(attack, outcome, &incidents, user);
        records.push(record);
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", attack.name)));
    }
    record::keep(group, user, attacks, &records);
    let list = incident::list(&incidents);
    assert!(faults.is_empty(), "{}\n--- incidents\n{list}", faults.join("\n"));
}

/// Tries a group's attacks outside of every session, as root and as an ordinary user: nothing is refused
/// there but by the kernel itself.
///
/// # Panics
/// When something is.
pub(crate) fn unconfined(group: &str, attacks: &[Attack]) {
    let mut faults = Vec::new();
    for user in [User::Root, User::Ordinary] {
        let (outcomes, _scenes) = perform(group, attacks, user, false);
        for (attack, outcome) in attacks.iter().zip(&outcomes) {
            let name = format!("{} as {}", attack.name, user.name());
            let wanted = plain_error(attack, user);
            let error = outcome.answer.error();
            if !matches(wanted, error) {
                faults.push(format!("{name}: {}, should be {}", said(error), said(wanted)));
            }
            if !outcome.control.error().is_empty() {
                faults.push(format!("{name}: the control: {}", outcome.control.error()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What an error is to be where the kernel refuses a privileged act to an ordinary user.
const UNPRIVILEGED: &str = "EPERM or EACCES";

/// The error that the kernel itself has for an attack.
fn plain_error(attack: &Attack, user: User) -> &'static str {
    match attack.expected(&layout::kernel()) {
        Expected::Absent(error, _) => error,
        _ if is_beyond(attack, user) => UNPRIVILEGED,
        _ => attack.plain,
    }
}

/// Whether the user lacks a privilege that the attack needs.
fn is_beyond(attack: &Attack, user: User) -> bool {
    let privileged = attack.privileged || attack.privileged_on.contains(&layout::kernel().as_str());
    privileged && user == User::Ordinary
}

/// Whether the kernel refuses the attack by itself.
fn is_of_no_use(attack: &Attack, user: User) -> bool {
    is_beyond(attack, user) || matches!(attack.expected(&layout::kernel()), Expected::Absent(..))
}

fn matches(wanted: &str, error: &str) -> bool {
    match wanted {
        UNPRIVILEGED => error == "EPERM" || error == "EACCES",
        wanted => wanted == error,
    }
}

fn said(error: &str) -> &str {
    if error.is_empty() { "done" } else { error }
}

/// Tries all attacks, each in its place, and gives the scenes that were used: more than one where an
/// attack ended the process that tried it.
fn perform(
    group: &str,
    attacks: &[Attack],
    user: User,
    tagged: bool,
) -> (Vec<Outcome>, Vec<Scene>) {
    let mut scenes = vec![Scene::new(group, user, tagged)];
    let mut outcomes = Vec::new();
    for attack in attacks {
        let scene = scenes.last_mut().expect("there is one from the start");
        let tried = catch_unwind(AssertUnwindSafe(|| one(scene, attack, user)));
        outcomes.push(tried.unwrap_or_else(|_| {
            scenes.push(Scene::new(group, user, tagged));
            let gone = || Answer::Failed("no answer".to_owned());
            Outcome { control: gone(), answer: gone(), paths: Vec::new(), victim: None }
        }));
    }
    (outcomes, scenes)
}

fn one(scene: &mut Scene, attack: &Attack, user: User) -> Outcome {
    scene.lay_out(attack.name);
    if let Some(before) = attack.before {
        let answer = if attack.by_root { scene.operator(before) } else { scene.outside(before) };
        let failed = !answer.error().is_empty() && !is_beyond(attack, user);
        assert!(!failed, "{}: before: {answer:?}", attack.name);
        if let Answer::Done(made) = answer {
            scene.made = made;
        }
    }
    if let Some(words) = attack.lent {
        scene.lend();
        let answer = scene.ask(words);
        assert_eq!(answer.error(), "", "{}: while lent", attack.name);
    }
    let mut control = scene.act(attack.control);
    if !control.error().is_empty() && is_of_no_use(attack, user) {
        // Neither may it, for the same reason; something else that is allowed shows that the rest works.
        control = scene.ask("open-read @rw/file");
    }
    if attack.lent.is_some() {
        scene.take_back();
    }
    let answer = scene.act(attack.act);
    Outcome { control, answer, paths: scene.paths(attack.act), victim: scene.victim }
}

/// Whether an attack does what it does outside of every session, or its control no longer does what it
/// should; none where the user could not do it anyway.
pub(crate) fn got_through(scene: &mut Scene, attack: &Attack, user: User) -> Option<bool> {
    if is_of_no_use(attack, user) {
        return None;
    }
    let outcome = one(scene, attack, user);
    let is_done = matches(attack.plain, outcome.answer.error());
    let control_fails = !outcome.control.error().is_empty();
    // Else something else is wrong.
    let works = scene.ask("open-read @rw/file").error().is_empty();
    Some(works && (is_done || control_fails))
}

/// The record of an attack, and what is wrong with it.
fn judge(
    attack: &Attack,
    outcome: &Outcome,
    incidents: &[Incident],
    user: User,
) -> (Record, Vec<String>) {
    let error = outcome.answer.error();
    let incident = incidents.iter().find(|incident| tells(incident, attack, outcome));
    let mut record = Record {
        stopped: !error.is_empty(),
        control_passed: outcome.control.error().is_empty(),
        hook: None,
        reason: String::new(),
    };
    let mut faults = Vec::new();
    let expected = attack.expected(&layout::kernel());
    let wanted = match expected {
        _ if is_beyond(attack, user) => {
            record.reason = "the kernel refuses it to an ordinary user".to_owned();
            UNPRIVILEGED
        }
        Expected::Stopped | Expected::StoppedBy(_) => {
            record.hook = Some(match expected {
                Expected::StoppedBy(hook) => hook.to_owned(),
                _ => attack.hook.to_owned(),
            });
            match incident {
                _ if attack.unrecorded => {}
                Some(incident) => record.reason.clone_from(&incident.reason),
                None => faults.push(format!("no incident `{}`", attack.operation)),
            }
            attack.error
        }
        Expected::NotStopped(reason) => {
            record.reason = reason.to_owned();
            attack.plain
        }
        Expected::Absent(error, reason) => {
            record.reason = reason.to_owned();
            match incident {
                // The hook came before the kernel's own answer.
                Some(_) => {
                    record.hook = Some(attack.hook.to_owned());
                    attack.error
                }
                None => error,
            }
        }
    };
    if !matches(wanted, error) {
        faults.push(format!("{}, should be {}", said(error), said(wanted)));
    }
    if !record.control_passed {
        faults.push(format!("the control: {}", outcome.control.error()));
    }
    (record, faults)
}

/// Whether an incident is of the attack.
fn tells(incident: &Incident, attack: &Attack, outcome: &Outcome) -> bool {
    let named = |path: &str| {
        path.is_empty()
            || attack.anywhere
            || outcome.paths.iter().any(|part| path.contains(part.as_str()))
    };
    let pid = incident.object.get("pid").and_then(serde_json::Value::as_u64);
    let of_victim = pid.is_none_or(|pid| outcome.victim.map(u64::from) == Some(pid));
    incident.operation == attack.operation
        && of_victim
        && incident.verdict == "denied"
        && (named(incident.path()) || (!incident.to().is_empty() && named(incident.to())))
}
