//! Judges what came of a program. The judge knows no call: it knows what no session may have read, what arrived where,
//! what was changed, and what was refused without a reason.

use std::fs;

use crate::{
    files,
    outside::Outside,
    program::{Act, Program, Value},
    shared::Shared,
    table::Table,
    world::{Class, ENDPOINTS, SECRETS},
};

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Find {
    /// What kind it is of: finds of one kind are taken for the same.
    pub(crate) kind: String,
    /// What was seen.
    pub(crate) text: String,
}

impl Find {
    pub(crate) fn new(kind: impl Into<String>, text: impl Into<String>) -> Self {
        Self { kind: kind.into(), text: text.into() }
    }
}

/// Whether a call returned that it was refused.
pub(crate) fn is_refusal(value: i64) -> bool {
    value == -i64::from(libc::EACCES) || value == -i64::from(libc::EPERM)
}

/// What is judged: a program, and what it met.
pub(crate) struct Judge<'a> {
    pub(crate) table: &'a Table,
    pub(crate) shared: &'static Shared,
    pub(crate) outside: &'a mut Outside,
    pub(crate) program: &'a Program,
}

impl Judge<'_> {
    /// What has to be seen while the session's processes live.
    pub(crate) fn before_the_end(&self, child: i32) -> Vec<Find> {
        let mut finds = Vec::new();
        finds.extend(files::lock_in_the_way().map(|text| Find::new("lock", text)));
        finds.extend(files::set_id_program().map(|text| Find::new("set-id", text)));
        let group = |pid: i64| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok();
        let own = group(child.into());
        for (step, value) in
            (0..self.program.steps.len()).map(|step| (step, self.shared.value(step)))
        {
            if !self.program.name(step, self.table).starts_with("clone") {
                continue;
            }
            if let (Some(own), Some(other)) =
                (&own, value.filter(|value| *value > 0).and_then(group))
                && *own != other
            {
                finds.push(Find::new(
                    "control group",
                    format!("a process of the session's is in `{}`", other.trim()),
                ));
            }
        }
        finds
    }

    pub(crate) fn all(
        &mut self,
        before: &[(&'static str, String)],
        spare: &[(&'static str, String)],
    ) -> Vec<Find> {
        let mut finds = Vec::new();
        self.judge_secrets(&mut finds);
        self.judge_arrivals(&mut finds);
        let mut see =
            |kind: &str, text: Option<String>| finds.extend(text.map(|text| Find::new(kind, text)));
        see(
            "changed",
            files::changed(before, |class| matches!(class, Class::Never | Class::ReadOnly)),
        );
        let keeps = self.keeps();
        if !self.outside.standings.iter().any(|standing| standing.spare) {
            see("changed", files::changed(spare, |class| class == Class::Spare));
        }
        let last = self.outside.standing();
        for (class, state) in &self.outside.after_loss {
            let is_lost = match class {
                Class::Spare => !last.spare && !keeps,
                _ => !last.deadly,
            };
            if is_lost {
                see("changed after its loss", files::changed(state, |other| other == *class));
            }
        }
        see("object", self.outside.harm_to_objects());
        see("kernel", self.outside.warnings());
        let harm = self.outside.victim(self.program.user).harm();
        if harm.is_some() {
            self.outside.victim(self.program.user).replace();
        }
        see("process", harm);
        let harm = self.outside.harm_to_terminal(self.program.user);
        finds.extend(harm.map(|(kind, text)| Find::new(kind, text)));
        finds
    }

    /// Whether a call was done after which files can be reached without their descriptors.
    fn keeps(&self) -> bool {
        self.program.steps.iter().enumerate().any(|(number, step)| match step.act {
            Act::Call(call, _) => {
                self.table.calls[call].keeps && self.shared.begun(number).is_some()
            }
            Act::Event(_) => false,
        })
    }

    /// Whether something was sent to an address, or would have been if the kernel had not failed it.
    fn sends(&self) -> bool {
        self.program.steps.iter().enumerate().any(|(number, step)| {
            let Act::Call(call, values) = &step.act else { return false };
            let is_addressed =
                |value: &Value| matches!(value, Value::Address(_) | Value::Message(Some(_), _));
            self.table.calls[*call].name.contains("send")
                && values.iter().any(is_addressed)
                && self.shared.value(number).is_some_and(|value| !is_refusal(value))
        })
    }

    /// What was read that may not be.
    fn judge_secrets(&self, finds: &mut Vec<Find>) {
        let keeps = self.keeps();
        let standings = &self.outside.standings;
        for step in 0..self.program.steps.len() {
            let seen = self.shared.secrets(step);
            let Some(begun) = self.shared.begun(step).filter(|_| seen != 0) else { continue };
            let later = standings.get(begun as usize..).unwrap_or_default();
            for (number, what) in
                SECRETS.iter().enumerate().filter(|(number, _)| seen >> number & 1 == 1)
            {
                let is_allowed = match number {
                    3 => keeps || later.iter().any(|standing| standing.has(Class::Spare)),
                    13 => later.iter().any(|standing| standing.has(Class::Spare)),
                    // Who sent something hears everybody, as the threat model says.
                    14 => self.sends(),
                    15 => later.iter().any(|standing| standing.active),
                    18 => keeps || later.iter().any(|standing| standing.active),
                    _ => false,
                };
                if !is_allowed {
                    let name = self.program.name(step, self.table);
                    finds.push(Find::new(
                        format!("secret {number}"),
                        format!("step {step}, `{name}`, read {what}"),
                    ));
                }
            }
        }
    }

    /// What arrived that may not have.
    fn judge_arrivals(&self, finds: &mut Vec<Find>) {
        let standings = &self.outside.standings;
        for arrival in &self.outside.servers.arrivals {
            let class = arrival.endpoint.map_or(Class::Held, |place| ENDPOINTS[place].class);
            let name = arrival
                .endpoint
                .map_or("a connection to the session", |place| ENDPOINTS[place].name);
            let may = match arrival.mark {
                // Others may have given or taken something while the step was at work.
                Some((epoch, _)) => standings
                    .iter()
                    .skip(epoch as usize)
                    .take(2)
                    .any(|standing| standing.has(class)),
                None => standings.iter().any(|standing| standing.has(class)),
            };
            if !may {
                let by = match arrival.mark {
                    Some((_, step)) if step < self.program.steps.len() => {
                        format!(
                            "what step {step}, `{}`, wrote",
                            self.program.name(step, self.table)
                        )
                    }
                    _ => "a connection or an empty message".to_owned(),
                };
                finds.push(Find::new(
                    format!("arrival {name}"),
                    format!("{by} arrived at `{name}`"),
                ));
            }
        }
    }
}
