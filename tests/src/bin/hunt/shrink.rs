//! From a program with a find to the shortest that still has it.

use std::time::{Duration, Instant};

use crate::{
    judge::Find,
    program::{Act, Form, Program, Value},
    run::Runner,
};

/// Programs that are tried, at most, and for how long.
const TRIES: usize = 200;
const LONGEST: Duration = Duration::from_secs(90);

/// Whether a program has a find of a kind, in one of so many runs.
pub(crate) fn has(runner: &mut Runner<'_>, program: &Program, kind: &str, runs: usize) -> bool {
    (0..runs).any(|_| runner.run(program).finds.iter().any(|find| find.kind == kind))
}

/// The shortest program with the same find. `None` if the find does not come again.
pub(crate) fn shrink(runner: &mut Runner<'_>, program: &Program, find: &Find) -> Option<Program> {
    let kind = find.kind.as_str();
    if !has(runner, program, kind, 5) {
        return None;
    }
    let mut best = program.clone();
    let (mut tries, begin) = (0, Instant::now());
    let mut try_this = |runner: &mut Runner<'_>, best: &mut Program, candidate: Program| {
        if tries >= TRIES || begin.elapsed() > LONGEST || candidate == *best {
            return;
        }
        tries += 1;
        if has(runner, &candidate, kind, 2) {
            *best = candidate;
        }
    };
    loop {
        let before = best.clone();
        for step in (0..before.steps.len()).rev() {
            if step < best.steps.len() && best.steps.len() > 1 {
                let candidate = best.without(step);
                try_this(runner, &mut best, candidate);
            }
        }
        if best == before {
            break;
        }
    }
    let mut one_thread = best.clone();
    for step in &mut one_thread.steps {
        step.lane = 0;
    }
    try_this(runner, &mut best, one_thread);
    for step in 0..best.steps.len() {
        let Act::Call(_, values) = &best.steps[step].act else { continue };
        for place in 0..values.len() {
            let mut candidate = best.clone();
            if let Act::Call(_, values) = &mut candidate.steps[step].act
                && let Value::Path(_, form) = &mut values[place]
            {
                *form = Form::Absolute;
            }
            try_this(runner, &mut best, candidate);
        }
    }
    Some(best)
}
