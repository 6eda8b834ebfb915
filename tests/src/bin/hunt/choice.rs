//! What a program turns to: few objects and endpoints, so that its steps meet; and what others do meanwhile.

use fastrand::Rng;

use crate::{
    event::Event,
    table::{Argument, Kind, Table},
    world::{Class, Content, ENDPOINTS, OBJECTS},
};

/// Some endpoints: of one host and kind by each class, and one that the session may serve at.
pub(crate) fn choose_endpoints(rng: &mut Rng, lawful: bool) -> Vec<usize> {
    let fits = |place: &usize| !lawful || ENDPOINTS[*place].class == Class::Held;
    let all: Vec<usize> = (0..ENDPOINTS.len()).filter(fits).collect();
    let first = all[rng.usize(..all.len())];
    let alike = |place: &&usize| {
        let (one, other) = (&ENDPOINTS[first], &ENDPOINTS[**place]);
        one.kind == other.kind && (one.family == other.family || rng.u8(..10) < 2)
    };
    all.iter().filter(alike).copied().collect::<Vec<_>>().into_iter().chain([first]).collect()
}

/// Some objects.
pub(crate) fn choose_objects(rng: &mut Rng, lawful: bool) -> Vec<usize> {
    let fits = |place: &usize| !lawful || OBJECTS[*place].class == Class::Held;
    let all: Vec<usize> = (0..OBJECTS.len()).filter(fits).collect();
    // Half of them can be opened, at least for a while.
    let is_open = |place: &usize| {
        let object = &OBJECTS[*place];
        object.class != Class::Never
            && !matches!(object.content, Content::Folder | Content::Nothing)
    };
    let open: Vec<usize> = all.iter().copied().filter(is_open).collect();
    let mut chosen = Vec::new();
    for _ in 0..2 + rng.usize(..4) {
        let from = if rng.bool() { &open } else { &all };
        chosen.push(from[rng.usize(..from.len())]);
    }
    chosen
}

/// What others do meanwhile, and when.
pub(crate) fn scenario(rng: &mut Rng, lawful: bool, wanted: usize) -> Vec<(usize, Event)> {
    if lawful {
        return if rng.u8(..40) == 0 { vec![(wanted / 2, Event::Swap)] } else { Vec::new() };
    }
    let late = |rng: &mut Rng| wanted / 2 + rng.usize(..=wanted / 2);
    let mut events = match rng.u8(..80) {
        0..=17 => Vec::new(),
        18..=45 => vec![(0, Event::Grant), (late(rng), Event::Revoke)],
        46..=57 => vec![(0, Event::Grant), (late(rng), Event::Quarantine)],
        58..=61 => vec![(late(rng), Event::End)],
        62..=71 => vec![(late(rng), Event::RevokeDeadly)],
        72..=77 => vec![(0, Event::Grant), (late(rng), Event::Quarantine), (wanted, Event::Resume)],
        // Waiting for a second takes as long as many programs.
        _ if rng.u8(..4) == 0 => vec![(0, Event::GrantBriefly), (late(rng), Event::Expire)],
        _ => Vec::new(),
    };
    for (event, chance) in
        [(Event::Swap, 2), (Event::Approach, 20), (Event::Pause, 3), (Event::Grant, 8)]
    {
        if rng.u8(..100) < chance {
            events.push((rng.usize(..=wanted), event));
        }
    }
    events.sort_by_key(|(at, _)| *at);
    events
}

/// Whether a call may be tried in a program that keeps to what is allowed.
pub(crate) fn keeps_to_itself(table: &Table, call: usize) -> bool {
    let call = &table.calls[call];
    let touches_others = |argument: &Argument| {
        matches!(
            argument.kind,
            Kind::Plain("pid" | "id" | "shm" | "sem" | "msg" | "iovvictim" | "clone")
        )
    };
    let of_others = ["queues", "processes"].contains(&table.sections[call.section].as_str());
    let changes_all =
        ["bind_any", "listen", "ring_listen", "chroot", "exit_thread", "mq_open", "mq_unlink"]
            .contains(&call.name.as_str());
    // It may be read and written, and not be mapped to be run.
    let is_memory = call.name.starts_with("memfd");
    !(call.guarded
        || of_others
        || changes_all
        || is_memory
        || call.arguments.iter().any(touches_others))
}
