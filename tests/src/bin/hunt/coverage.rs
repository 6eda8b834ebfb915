//! What was tried: calls, objects, forms and states, crossed with each other; and what never was.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    event::EVENTS,
    program::{ADDRESS_FORMS, Act, FORMS, Program, Value},
    run::Report,
    table::Table,
    world::{ENDPOINTS, OBJECTS},
};

/// What was tried so far.
#[derive(Default)]
pub(crate) struct Coverage {
    programs: u64,
    /// How often each call was tried, and how often done.
    calls: BTreeMap<usize, (u64, u64)>,
    /// Calls by the objects that they were given.
    objects: BTreeSet<(usize, usize)>,
    /// Calls by the endpoints.
    endpoints: BTreeSet<(usize, usize)>,
    /// Calls by the forms of names and addresses.
    forms: BTreeSet<(usize, usize, bool)>,
    /// Calls by where the session stood.
    states: BTreeSet<(usize, (bool, bool, bool))>,
    events: BTreeSet<&'static str>,
}

impl Coverage {
    /// Adds what a program did.
    pub(crate) fn add(&mut self, program: &Program, report: &Report) {
        self.programs += 1;
        for (number, step) in program.steps.iter().enumerate() {
            let (call, values) = match &step.act {
                Act::Event(event) => {
                    self.events.insert(event.name());
                    continue;
                }
                Act::Call(call, values) => (*call, values),
            };
            let Some(epoch) = report.begun[number] else { continue };
            let count = self.calls.entry(call).or_default();
            count.0 += 1;
            count.1 += u64::from(report.values[number].is_some_and(|value| value >= 0));
            if let Some(standing) = report.standings.get(epoch as usize) {
                self.states.insert((call, (standing.active, standing.spare, standing.ended)));
            }
            for value in values {
                match value {
                    Value::Path(object, form) => {
                        self.objects.insert((call, *object));
                        self.forms.insert((call, *form as usize, false));
                    }
                    Value::Address(address) | Value::Message(Some(address), _) => {
                        self.endpoints.insert((call, address.endpoint));
                        self.forms.insert((call, address.form as usize, true));
                    }
                    _ => {}
                }
            }
        }
    }

    pub(crate) fn programs(&self) -> u64 {
        self.programs
    }

    /// As text.
    pub(crate) fn text(&self, table: &Table) -> String {
        let names = |wanted: &dyn Fn(usize) -> bool| {
            let all = (0..table.calls.len()).filter(|call| wanted(*call));
            all.map(|call| table.calls[call].name.as_str()).collect::<Vec<_>>().join(" ")
        };
        let tried: u64 = self.calls.values().map(|count| count.0).sum();
        let done: u64 = self.calls.values().map(|count| count.1).sum();
        let mut text = format!(
            "tried: {} programs, {tried} calls, {done} of them done\n\
             calls: {} of {}\n\
             calls × objects: {} (of {} objects)\n\
             calls × endpoints: {} (of {} endpoints)\n\
             calls × forms of names and addresses: {} (of {} forms)\n\
             calls × states: {}\n\
             what others do: {} of {}\n",
            self.programs,
            self.calls.len(),
            table.calls.len(),
            self.objects.len(),
            OBJECTS.len(),
            self.endpoints.len(),
            ENDPOINTS.len(),
            self.forms.len(),
            FORMS.len() + ADDRESS_FORMS.len(),
            self.states.len(),
            self.events.len(),
            EVENTS.len(),
        );
        let never = names(&|call| !self.calls.contains_key(&call));
        let failed = names(&|call| {
            self.calls.get(&call).is_some_and(|count| count.1 == 0) && !table.calls[call].guarded
        });
        for (what, names) in [("never tried", never), ("never done", failed)] {
            if !names.is_empty() {
                text.push_str(&format!("{what}: {names}\n"));
            }
        }
        text
    }
}
