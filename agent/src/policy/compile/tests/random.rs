//! Random patterns and paths that are made to collide, judged by the tables and by the text alone.
//! The folder of process 7 is an own one at times; no pattern but `*` and `/proc/self` means it then.

use super::*;

const LONG: &str = "abababababababababababababababababababab";

fn name(random: &mut Random) -> String {
    match random.below(12) {
        0 => LONG[..20 + random.below(20)].to_owned(),
        1 => format!("{LONG}{}", random.pick(&["", "a", "b"])),
        2 => "proc".to_owned(),
        _ => (0..=random.below(4)).map(|_| *random.pick(&['a', 'b'])).collect(),
    }
}

fn affix(random: &mut Random) -> String {
    if random.below(10) == 0 {
        return LONG[..20 + random.below(12)].to_owned();
    }
    (0..random.below(4)).map(|_| *random.pick(&['a', 'b'])).collect()
}

fn pattern(random: &mut Random) -> String {
    let mut text = String::new();
    if random.below(6) == 0 {
        text.push_str("/proc/self");
    } else if random.below(5) == 0 {
        text.push_str("/proc");
    }
    for _ in 0..random.below(4) {
        text.push('/');
        if random.below(2) == 0 {
            text.push_str(&name(random));
        } else {
            text.push_str(&affix(random));
            text.push('*');
            text.push_str(&affix(random));
        }
    }
    // `**` would be everything below, where it stands last.
    let text = text.replace("**", "*");
    if text.is_empty() || random.below(3) == 0 { format!("{text}/**") } else { text }
}

fn path(random: &mut Random) -> String {
    let start = *random.pick(&["", "", "/proc", "/proc/7"]);
    let mut end = String::new();
    for _ in 0..random.below(4) {
        end = if random.below(12) == 0 { end + "/7" } else { end + "/" + &name(random) };
    }
    let path = format!("{start}{end}");
    if path.is_empty() { "/".to_owned() } else { path }
}

/// No key is there twice: a map would keep one of the two.
pub(super) fn keys_differ(rules: &Rules) {
    let edges: std::collections::HashSet<_> = rules.edges.iter().map(|(key, _)| key).collect();
    assert_eq!(edges.len(), rules.edges.len());
    let affixes: std::collections::HashSet<_> =
        rules.affixes.iter().map(|(key, bits, _)| (key, bits)).collect();
    assert_eq!(affixes.len(), rules.affixes.len());
}

fn round(seed: u64) {
    let mut random = Random(seed);
    let mut patterns: Vec<String> = (0..=random.below(8)).map(|_| pattern(&mut random)).collect();
    patterns.sort();
    patterns.dedup();
    // Some of them wait for the session's folder.
    let folder = path(&mut random).replace('7', "b");
    let written: Vec<String> = patterns
        .iter_mut()
        .map(|pattern| {
            let plain = folder != "/" && !folder.starts_with("/proc");
            if plain && random.below(3) == 0 && !pattern.starts_with("/proc/self") {
                let written = format!("{{workdir}}{pattern}");
                *pattern = format!("{folder}{pattern}");
                written
            } else {
                pattern.clone()
            }
        })
        .collect();
    let mut compiled = compile(&readers(&written));
    let own = compiled.instantiate(SLOT, &variables(&[("workdir", &folder)])).unwrap();
    keys_differ(&compiled.tables(&[&own]).rules);
    for _ in 0..200 {
        let path = path(&mut random);
        let own_process = (path.clone() + "/").starts_with("/proc/7/") && random.below(2) == 0;
        let expected: Vec<u16> = (0..)
            .zip(&patterns)
            .filter(|(_, pattern)| covers(pattern, &path, own_process))
            .map(|(number, _)| number)
            .collect();
        let found = tools_reading(&compiled, &path, own_process);
        assert_eq!(found, expected, "seed {seed}: {path} {own_process} by {written:?} in {folder}");
        let explanation = compiled.explain_path(&path, READ, own_process, Some(SLOT));
        assert_eq!(explanation.rules.len(), expected.len(), "seed {seed}: {path}");
    }
}

#[test]
fn random_paths_by_tables_and_by_text_agree() {
    let rounds = if cfg!(debug_assertions) { 300 } else { 20_000 };
    (0..rounds).for_each(round);
}

/// Few names, many patterns in one folder: prefixes and suffixes that contain and overlap each other.
#[test]
fn random_patterns_of_one_folder_agree() {
    for seed in 0..300 {
        let mut random = Random(seed ^ 0xfeed);
        let mut patterns: Vec<String> = (0..2 + random.below(20))
            .map(|_| format!("/{}*{}", affix(&mut random), affix(&mut random)))
            .filter(|pattern| !pattern.contains("**"))
            .collect();
        patterns.extend((0..random.below(4)).map(|_| format!("/{}", name(&mut random))));
        patterns.sort();
        patterns.dedup();
        let compiled = compile(&readers(&patterns));
        keys_differ(&compiled.tables(&[]).rules);
        for _ in 0..200 {
            let path = format!("/{}", name(&mut random));
            let expected: Vec<u16> = (0..)
                .zip(&patterns)
                .filter(|(_, pattern)| covers(pattern, &path, false))
                .map(|(number, _)| number)
                .collect();
            let found = tools_reading(&compiled, &path, false);
            assert_eq!(found, expected, "seed {seed}: {path} by {patterns:?}");
        }
    }
}
