//! What a program turns to: few objects and endpoints, so that its steps meet; and what others do meanwhile.

use fastrand::Rng;

use crate::{
    event::Event,
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
        return if rng.u8(..10) == 0 { vec![(wanted / 2, Event::Swap)] } else { Vec::new() };
    }
    let late = |rng: &mut Rng| wanted / 2 + rng.usize(..=wanted / 2);
    let mut events = match rng.u8(..20) {
        0..=3 => Vec::new(),
        4..=10 => vec![(0, Event::Grant), (late(rng), Event::Revoke)],
        11..=13 => vec![(0, Event::Grant), (late(rng), Event::Quarantine)],
        14..=15 => vec![(late(rng), Event::End)],
        16..=17 => vec![(late(rng), Event::RevokeDeadly)],
        18 => vec![(0, Event::Grant), (late(rng), Event::Quarantine), (wanted, Event::Resume)],
        _ => vec![(0, Event::GrantBriefly), (late(rng), Event::Expire)],
    };
    for (event, chance) in
        [(Event::Swap, 8), (Event::Approach, 20), (Event::Pause, 3), (Event::Grant, 8)]
    {
        if rng.u8(..100) < chance {
            events.push((rng.usize(..=wanted), event));
        }
    }
    events.sort_by_key(|(at, _)| *at);
    events
}
