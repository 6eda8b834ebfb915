//! What a program turns to: few objects and endpoints, so that its steps meet.

use fastrand::Rng;

use crate::world::{Class, Content, ENDPOINTS, OBJECTS};

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
